#include <algorithm>

#include "dispatch/dispatch.h"
#include "engine/layers.h"
#include "ops/winograd.h"

namespace piste {
namespace {

/// Convolution, bias and ReLU included.
template <class T>
class ConvOp final : public Op<T> {
 public:
  ConvOp(Plan<T>& plan, const ConvGeometry& geometry, const Value<T>& x, const Value<T>& y,
         Trainable<T> weight, Trainable<T> bias, bool relu)
      : geometry_(geometry),
        conv_(geometry),
        x_(x),
        y_(y),
        weight_(weight),
        bias_(bias),
        relu_(relu),
        pixels_(y.shape.pixels()),
        packed_(plan.fixed_tensor(conv_.packed_forward_size())),
        padded_bias_(plan.fixed_tensor(y.width)) {
    this->use_forward(x.tensor);
    this->use_forward(y.tensor);
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    masked_ = relu_ ? plan.tensor(y_.sample_values()) : dy;
    if (dx_ >= 0) packed_backward_ = plan.fixed_tensor(conv_.packed_backward_size());
    gradients_ = plan.fixed_tensor(conv_.gradient_size() * plan.groups());
    bias_gradients_ = plan.fixed_tensor(y_.width * plan.groups());
    for (int tensor : {x_.tensor, dy_, masked_, dx_}) this->use_backward(tensor);
    if (relu_) this->use_backward(y_.tensor);
  }

  // The last task copies the bias.
  Index prepare_tasks() const override {
    return conv_.pack_tasks() * (packed_backward_ >= 0 ? 2 : 1) + 1;
  }

  void prepare(const Memory<T>& memory, Index task) override {
    const Index tasks = conv_.pack_tasks();
    if (task < tasks) return conv_.pack_forward(weight_.value.data, memory.fixed(packed_), task);
    if (packed_backward_ >= 0 && task < 2 * tasks)
      return conv_.pack_backward(weight_.value.data, memory.fixed(packed_backward_), task - tasks);
    if (bias_.value) std::copy_n(bias_.value.data, geometry_.filters, memory.fixed(padded_bias_));
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    conv_.forward(memory.at(x_.tensor, chunk), memory.fixed(packed_),
                  bias_.value ? memory.fixed(padded_bias_) : nullptr, relu_,
                  memory.at(y_.tensor, chunk), chunk.count(), 0, chunk.count() * pixels_,
                  memory.worker_scratch(chunk));
  }

  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Index n = chunk.count();
    const T* dy = memory.at(dy_, chunk);
    if (relu_) {
      T* masked = memory.at(masked_, chunk);
      mask_by_relu(dy, memory.at(y_.tensor, chunk), masked, n * y_.sample_values());
      dy = masked;
    }
    void* scratch = memory.worker_scratch(chunk);
    conv_.backward_weight(
        memory.at(x_.tensor, chunk), dy,
        memory.fixed(gradients_) + chunk.group * conv_.gradient_size(),
        bias_.value ? memory.fixed(bias_gradients_) + chunk.group * y_.width : nullptr, n,
        !chunk.first_of_group, scratch);
    if (dx_ >= 0)
      conv_.backward_data(dy, memory.fixed(packed_backward_), memory.at(dx_, chunk), n, 0, n,
                          scratch);
  }

  Index finish_tasks() const override { return dy_ < 0 ? 0 : conv_.pack_tasks() + 1; }

  void finish(const Memory<T>& memory, Index groups, Index task, void*) override {
    const T* parts[max_groups];
    const bool is_bias = task == conv_.pack_tasks();
    for (Index g = 0; g < groups; ++g)
      parts[g] = is_bias ? memory.fixed(bias_gradients_) + g * y_.width
                         : memory.fixed(gradients_) + g * conv_.gradient_size();
    if (!is_bias) return conv_.unpack_gradient(parts, groups, weight_.gradient, task);
    if (bias_.value)
      kernel_table<T>().gemm->sum(parts, groups, 0, bias_.gradient, geometry_.filters);
  }

  Index scratch_bytes() const override { return conv_.scratch_bytes(); }
  const char* algorithm() const override { return "direct"; }

 private:
  static constexpr Index max_groups = 64;

  ConvGeometry geometry_;
  Conv<T> conv_;
  Value<T> x_, y_;
  Trainable<T> weight_, bias_;
  bool relu_;
  Index pixels_;
  int packed_, padded_bias_, packed_backward_ = -1, gradients_ = -1, bias_gradients_ = -1;
  int dy_ = -1, dx_ = -1, masked_ = -1;
};

}  // namespace

template <class T>
ConvGeometry conv_geometry(const Node& node, const Value<T>& x, const Value<T>& y) {
  ConvGeometry g{};
  g.channels = x.shape.channels;
  g.filters = y.shape.channels;
  g.groups = node.groups;
  for (int axis = 0; axis < 3; ++axis) {
    g.in[axis] = x.shape.extents()[axis];
    g.out[axis] = y.shape.extents()[axis];
    g.kernel[axis] = node.kernel[axis];
    g.stride[axis] = node.stride[axis];
    g.dilation[axis] = node.dilation[axis];
    g.pad[axis] = node.padding[axis][0];
  }
  g.x_stride = x.width;
  g.y_stride = y.width;
  return g;
}

template <class T>
OpPtr<T> make_conv(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y,
                   Trainable<T> weight, Trainable<T> bias, bool relu) {
  if (node.kind == NodeKind::linear) return make_linear(plan, x, y, weight, bias, relu);
  const ConvGeometry g = conv_geometry(node, x, y);
  if (Winograd<T>::chosen(g, node.algorithm.value_or(default_algorithm())) && !x.shape.dense)
    return make_winograd(plan, g, x, y, weight, bias, relu);
  return std::make_unique<ConvOp<T>>(plan, g, x, y, weight, bias, relu);
}

template ConvGeometry conv_geometry(const Node&, const Value<float>&, const Value<float>&);
template ConvGeometry conv_geometry(const Node&, const Value<double>&, const Value<double>&);
template OpPtr<float> make_conv(Plan<float>&, const Node&, const Value<float>&, const Value<float>&,
                                Trainable<float>, Trainable<float>, bool);
template OpPtr<double> make_conv(Plan<double>&, const Node&, const Value<double>&,
                                 const Value<double>&, Trainable<double>, Trainable<double>, bool);

}  // namespace piste
