#include "dispatch/dispatch.h"
#include "engine/layers.h"
#include "ops/pool_spans.h"

namespace piste {
namespace {

template <class T>
class PoolOp final : public Op<T> {
 public:
  PoolOp(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y, bool masks)
      : node_(node), x_(x), y_(y), masks_(masks) {
    geometry_.channels = x.shape.channels;
    geometry_.row_stride = x.width;
    max_ = node.kind == NodeKind::max_pool || node.kind == NodeKind::adaptive_max_pool;
    const bool windows = node.kind == NodeKind::max_pool || node.kind == NodeKind::avg_pool;
    for (int axis = 0; axis < 3; ++axis) {
      const Index in = x.shape.extents()[axis], out = y.shape.extents()[axis];
      geometry_.in[axis] = in;
      geometry_.out[axis] = out;
      spans_[axis] =
          windows ? window_spans(in, out, node.kernel[axis], node.stride[axis],
                                 node.padding[axis][0], node.dilation[axis], node.count_include_pad)
                  : adaptive_spans(in, out);
      geometry_.spans[axis] = spans_[axis].data();
    }
    this->use_forward(x.tensor);
    this->use_forward(y.tensor);
    // Where each maximum came from; only a backward pass asks for it.
    const bool trains = plan.mode() == PlanMode::train || plan.mode() == PlanMode::manual;
    if (max_ && trains) {
      indices_ = plan.index_tensor(y.sample_values());
      this->use_forward(indices_);
    }
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    gradient_.link(plan, dy, y_, masks_);
    dx_ = dx[0];
    for (int tensor : {dx_, indices_}) this->use_backward(tensor);
    for (int tensor : gradient_.uses()) this->use_backward(tensor);
  }

  bool link_second(int dy) override {
    gradient_.link_second(dy);
    return true;
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const auto& kernels = *kernel_table<T>().pool;
    const T* x = memory.at(x_.tensor, chunk);
    T* y = memory.at(y_.tensor, chunk);
    std::int32_t* indices =
        indices_ < 0 ? nullptr : memory.template at<std::int32_t>(indices_, chunk);
    for (Index i = 0; i < chunk.count(); ++i) {
      if (max_)
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
    const T* dy = gradient_.read(memory, chunk);
    T* dx = memory.at(dx_, chunk);
    const std::int32_t* indices =
        indices_ < 0 ? nullptr : memory.template at<std::int32_t>(indices_, chunk);
    for (Index i = 0; i < chunk.count(); ++i) {
      if (max_)
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
  bool max_;
  bool masks_;  // the backward pass begins with the gradient of the ReLU before the maxima
  OutputGradient<T> gradient_;
  int indices_ = -1, dx_ = -1;
};

}  // namespace

template <class T>
OpPtr<T> make_pool(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y,
                   bool masks) {
  return std::make_unique<PoolOp<T>>(plan, node, x, y, masks);
}

template OpPtr<float> make_pool(Plan<float>&, const Node&, const Value<float>&, const Value<float>&,
                                bool);
template OpPtr<double> make_pool(Plan<double>&, const Node&, const Value<double>&,
                                 const Value<double>&, bool);

}  // namespace piste
