#include <algorithm>

#include "dispatch/dispatch.h"
#include "engine/layers.h"

namespace piste {
namespace {

/// Transposed convolution, bias and ReLU included: the convolution from y to x, whose backward
/// pass is this layer's forward pass and the other way round.
template <class T>
class ConvTransposeOp final : public Op<T> {
 public:
  ConvTransposeOp(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y,
                  Trainable<T> weight, Trainable<T> bias, bool relu)
      : conv_(conv_geometry(node, y, x)),
        x_(x),
        y_(y),
        weight_(weight),
        bias_(bias),
        relu_(relu),
        packed_(plan.fixed_tensor(conv_.packed_backward_size())),
        padded_bias_(plan.fixed_tensor(y.width)),
        ones_(plan.fixed_tensor(y.width)) {
    this->use_forward(x.tensor);
    this->use_forward(y.tensor);
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    dy_ = dy;
    dx_ = dx[0];
    masked_ = relu_ ? plan.tensor(y_.sample_values()) : dy;
    if (dx_ >= 0) packed_for_dx_ = plan.fixed_tensor(conv_.packed_forward_size());
    gradients_ = plan.fixed_tensor(conv_.gradient_size() * plan.groups());
    bias_gradients_ = plan.fixed_tensor(y_.width * plan.groups());
    for (int tensor : {x_.tensor, dy_, masked_, dx_}) this->use_backward(tensor);
    if (relu_) this->use_backward(y_.tensor);
  }

  // The last task copies the bias.
  Index prepare_tasks() const override {
    return conv_.pack_tasks() * (packed_for_dx_ >= 0 ? 2 : 1) + 1;
  }
  void prepare(const Memory<T>& memory, Index task) override {
    const Index tasks = conv_.pack_tasks();
    if (task < tasks) return conv_.pack_backward(weight_.value.data, memory.fixed(packed_), task);
    if (packed_for_dx_ >= 0 && task < 2 * tasks)
      return conv_.pack_forward(weight_.value.data, memory.fixed(packed_for_dx_), task - tasks);
    std::fill_n(memory.fixed(ones_), y_.width, T(1));
    if (bias_.value) std::copy_n(bias_.value.data, y_.shape.channels, memory.fixed(padded_bias_));
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Index n = chunk.count();
    T* y = memory.at(y_.tensor, chunk);
    conv_.backward_data(memory.at(x_.tensor, chunk), memory.fixed(packed_), y, 0, n,
                        memory.worker_scratch(chunk));
    if (bias_.value || relu_)
      kernel_table<T>().norm->scale_shift(y, y, n * y_.shape.pixels(), y_.width,
                                          memory.fixed(ones_), memory.fixed(padded_bias_), relu_);
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
    conv_.backward_weight(dy, memory.at(x_.tensor, chunk),
                          memory.fixed(gradients_) + chunk.group * conv_.gradient_size(), nullptr,
                          n, !chunk.first_of_group, scratch);
    if (bias_.value)
      kernel_table<T>().gemm->column_sums(dy, n * y_.shape.pixels(), y_.width,
                                          memory.fixed(bias_gradients_) + chunk.group * y_.width,
                                          y_.shape.channels, !chunk.first_of_group);
    if (dx_ >= 0)
      conv_.forward(dy, memory.fixed(packed_for_dx_), nullptr, false, memory.at(dx_, chunk), n, 0,
                    n * x_.shape.pixels(), scratch);
  }

  Index finish_tasks() const override { return dy_ < 0 ? 0 : conv_.pack_tasks() + 1; }
  void finish(const Memory<T>& memory, Index groups, Index task, void*) override {
    const bool is_bias = task == conv_.pack_tasks();
    const T* parts[max_groups];
    for (Index g = 0; g < groups; ++g)
      parts[g] = is_bias ? memory.fixed(bias_gradients_) + g * y_.width
                         : memory.fixed(gradients_) + g * conv_.gradient_size();
    if (!is_bias) return conv_.unpack_gradient(parts, groups, weight_.gradient, task);
    if (bias_.value)
      kernel_table<T>().gemm->sum(parts, groups, 0, bias_.gradient, y_.shape.channels);
  }

  Index scratch_bytes() const override { return conv_.scratch_bytes(); }

 private:
  static constexpr Index max_groups = 64;

  Conv<T> conv_;
  Value<T> x_, y_;
  Trainable<T> weight_, bias_;
  bool relu_;
  int packed_, padded_bias_, ones_, packed_for_dx_ = -1, gradients_ = -1, bias_gradients_ = -1;
  int dy_ = -1, dx_ = -1, masked_ = -1;
};

}  // namespace

template <class T>
OpPtr<T> make_conv_transpose(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y,
                             Trainable<T> weight, Trainable<T> bias, bool relu) {
  return std::make_unique<ConvTransposeOp<T>>(plan, node, x, y, weight, bias, relu);
}

template OpPtr<float> make_conv_transpose(Plan<float>&, const Node&, const Value<float>&,
                                          const Value<float>&, Trainable<float>, Trainable<float>,
                                          bool);
template OpPtr<double> make_conv_transpose(Plan<double>&, const Node&, const Value<double>&,
                                           const Value<double>&, Trainable<double>,
                                           Trainable<double>, bool);

}  // namespace piste
