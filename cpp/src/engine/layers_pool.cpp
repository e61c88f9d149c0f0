#include "dispatch/dispatch.h"
#include "engine/layers.h"
#include "ops/pool_spans.h"

namespace piste {
namespace {

template <class T>
class PoolOp final : public Op<T> {
 public:
  PoolOp(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y)
      : node_(node), x_(x), y_(y) {
    geometry_.channels = x.shape.channels;
    geometry_.row_stride = x.width;
    const Index in[3] = {1, x.shape.height, x.shape.width};
    const Index out[3] = {1, y.shape.height, y.shape.width};
    for (int axis = 0; axis < 3; ++axis) {
      geometry_.in[axis] = in[axis];
      geometry_.out[axis] = out[axis];
      const bool spatial = axis > 0 && node.kind != NodeKind::adaptive_avg_pool;
      spans_[axis] = spatial ? window_spans(in[axis], out[axis], node.kernel[axis - 1],
                                            node.stride[axis - 1], node.padding[axis - 1][0],
                                            node.dilation[axis - 1], node.count_include_pad)
                             : adaptive_spans(in[axis], out[axis]);
      geometry_.spans[axis] = spans_[axis].data();
    }
    this->use_forward(x.tensor);
    this->use_forward(y.tensor);
    // Where each maximum came from; only a backward pass asks for it.
    const bool trains = plan.mode() == PlanMode::train || plan.mode() == PlanMode::manual;
    if (node.kind == NodeKind::max_pool && trains) {
      indices_ = plan.index_tensor(y.sample_values());
      this->use_forward(indices_);
    }
  }

  void link(Plan<T>&, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    for (int tensor : {dy_, dx_, indices_}) this->use_backward(tensor);
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const auto& kernels = *kernel_table<T>().pool;
    const T* x = memory.at(x_.tensor, chunk);
    T* y = memory.at(y_.tensor, chunk);
    std::int32_t* indices =
        indices_ < 0 ? nullptr : memory.template at<std::int32_t>(indices_, chunk);
    for (Index i = 0; i < chunk.count(); ++i) {
      if (node_.kind == NodeKind::max_pool)
        kernels.max_forward(geometry_, x, y, indices);
      else
        kernels.avg_forward(geometry_, x, y, node_.divisor_override);
      x += x_.sample_values();
      y += y_.sample_values();
      if (indices) indices += y_.sample_values();
    }
  }

  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    if (dx_ < 0) return;
    const auto& kernels = *kernel_table<T>().pool;
    const T* dy = memory.at(dy_, chunk);
    T* dx = memory.at(dx_, chunk);
    const std::int32_t* indices =
        indices_ < 0 ? nullptr : memory.template at<std::int32_t>(indices_, chunk);
    for (Index i = 0; i < chunk.count(); ++i) {
      if (node_.kind == NodeKind::max_pool)
        kernels.max_backward(geometry_, dy, indices, dx);
      else
        kernels.avg_backward(geometry_, dy, dx, node_.divisor_override);
      dx += x_.sample_values();
      dy += y_.sample_values();
      if (indices) indices += y_.sample_values();
    }
  }

 private:
  Node node_;
  Value<T> x_, y_;
  kernels::PoolGeometry geometry_{};
  PoolSpans spans_;
  int indices_ = -1, dy_ = -1, dx_ = -1;
};

}  // namespace

template <class T>
OpPtr<T> make_pool(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y) {
  return std::make_unique<PoolOp<T>>(plan, node, x, y);
}

template OpPtr<float> make_pool(Plan<float>&, const Node&, const Value<float>&,
                                const Value<float>&);
template OpPtr<double> make_pool(Plan<double>&, const Node&, const Value<double>&,
                                 const Value<double>&);

}  // namespace piste
