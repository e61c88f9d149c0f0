#include "engine/weighted_op.h"
#include "ops/winograd.h"

namespace piste {
namespace {

/// The convolution from x to y. Both may be turned round: a transposed one's is that from y to x.
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

/// A convolution of ops/, which a transposed layer runs the other way round.
template <class T>
class DirectOp : public ConvolutionOp<T> {
 public:
  DirectOp(Plan<T>& plan, const ConvGeometry& geometry, bool transposed, const Site<T>& site)
      : ConvolutionOp<T>(plan, site), conv_(geometry), transposed_(transposed) {
    packed_ = plan.fixed_tensor(packed_size(transposed));
  }

  void link(Plan<T>& plan, int dy, const std::vector<int>& dx) override {
    this->link_convolution(plan, dy, dx[0], packed_size(!transposed_), conv_.gradient_size());
  }

  // The last task copies the bias.
  Index prepare_tasks() const override {
    return conv_.pack_tasks() * (packed_for_dx_ >= 0 ? 2 : 1) + 1;
  }

  void prepare(const Memory<T>& memory, Index task) override {
    const Index tasks = conv_.pack_tasks();
    if (task < tasks) return pack(transposed_, memory.fixed(packed_), task);
    if (packed_for_dx_ >= 0 && task < 2 * tasks)
      return pack(!transposed_, memory.fixed(packed_for_dx_), task - tasks);
    this->copy_bias(memory);
  }

  Index finish_tasks(int phase) const override {
    return phase > 0 || !this->linked() ? 0 : conv_.pack_tasks() + 1;
  }

  void finish(const Memory<T>& memory, Index groups, int, Index task, void*) override {
    if (task == conv_.pack_tasks()) return this->sum_bias_gradient(memory, groups);
    const GroupSums<T> parts(memory.fixed(gradients_), conv_.gradient_size(), groups);
    conv_.unpack_gradient(parts.data, groups, weight_.gradient, task);
  }

  void lay_out() override { conv_.lay_out(both_ways()); }
  Index layout_bytes() const override { return conv_.layout_bytes(both_ways()); }
  Index scratch_bytes(Index) const override { return conv_.scratch_bytes(); }

 protected:
  T* gradient(const Memory<T>& memory, const Chunk& chunk) const {
    return memory.fixed(gradients_) + chunk.group * conv_.gradient_size();
  }

  using WeightedOp<T>::weight_, ConvolutionOp<T>::packed_, ConvolutionOp<T>::packed_for_dx_,
      ConvolutionOp<T>::gradients_;
  Conv<T> conv_;

 private:
  Index packed_size(bool backward) const {
    return backward ? conv_.packed_backward_size() : conv_.packed_forward_size();
  }
  bool both_ways() const { return transposed_ || packed_for_dx_ >= 0; }
  void pack(bool backward, T* packed, Index task) const {
    const T* weight = weight_.value.data;
    backward ? conv_.pack_backward(weight, packed, task) : conv_.pack_forward(weight, packed, task);
  }

  bool transposed_;
};

/// Convolution, bias and ReLU included.
template <class T>
class ConvOp final : public DirectOp<T> {
 public:
  ConvOp(Plan<T>& plan, const ConvGeometry& geometry, const Site<T>& site)
      : DirectOp<T>(plan, geometry, false, site) {}

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    conv_.forward(memory.at(this->x_.tensor, chunk), memory.fixed(this->packed_),
                  this->bias(memory), this->relu_, memory.at(y_.tensor, chunk), chunk.count(),
                  conv_.all_lines(), memory.worker_scratch(chunk));
  }

  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const T* dy = this->gradient_.read(memory, chunk);
    void* scratch = memory.worker_scratch(chunk);
    conv_.backward_weight(memory.at(this->x_.tensor, chunk), dy, this->gradient(memory, chunk),
                          this->bias_gradient(memory, chunk), chunk.count(), !chunk.first_of_group,
                          scratch);
    if (dx_ >= 0)
      conv_.backward_data(dy, memory.fixed(this->packed_for_dx_), memory.at(dx_, chunk), 0,
                          chunk.count(), scratch);
  }

  const char* algorithm() const override { return "direct"; }

 private:
  using DirectOp<T>::conv_, WeightedOp<T>::y_, WeightedOp<T>::dx_;
};

/// Transposed convolution, bias and ReLU included: the convolution from y to x, whose backward
/// pass is this layer's forward pass and the other way round.
template <class T>
class ConvTransposeOp final : public DirectOp<T> {
 public:
  ConvTransposeOp(Plan<T>& plan, const Node& node, const Site<T>& site)
      : DirectOp<T>(plan, conv_geometry(node, site.y, site.x), true, site),
        ones_(plan.fixed_tensor(site.y.width)) {}

  void prepare(const Memory<T>& memory, Index task) override {
    if (task == this->prepare_tasks() - 1) std::fill_n(memory.fixed(ones_), y_.width, T(1));
    DirectOp<T>::prepare(memory, task);
  }

  void forward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Index n = chunk.count();
    T* y = memory.at(y_.tensor, chunk);
    conv_.backward_data(memory.at(x_.tensor, chunk), memory.fixed(this->packed_), y, 0, n,
                        memory.worker_scratch(chunk));
    if (this->bias_.value || this->relu_)
      kernel_table<T>().norm->scale_shift(y, {}, y, n * y_.shape.pixels(), y_.width,
                                          memory.fixed(ones_), memory.fixed(this->padded_bias_),
                                          this->relu_);
  }

  void backward(int, const Run<T>&, const Memory<T>& memory, const Chunk& chunk) override {
    const Index n = chunk.count();
    const T* dy = this->gradient_.read(memory, chunk);
    void* scratch = memory.worker_scratch(chunk);
    conv_.backward_weight(dy, memory.at(x_.tensor, chunk), this->gradient(memory, chunk), nullptr,
                          n, !chunk.first_of_group, scratch);
    this->add_bias_gradient(memory, chunk, dy);
    if (dx_ >= 0)
      conv_.forward(dy, memory.fixed(this->packed_for_dx_), nullptr, false, memory.at(dx_, chunk),
                    n, conv_.all_lines(), scratch);
  }

 private:
  using DirectOp<T>::conv_, WeightedOp<T>::x_, WeightedOp<T>::y_, WeightedOp<T>::dx_;
  int ones_;
};

}  // namespace

template <class T>
OpPtr<T> make_conv(Plan<T>& plan, const Node& node, const Site<T>& site) {
  if (node.kind == NodeKind::conv_transpose)
    return std::make_unique<ConvTransposeOp<T>>(plan, node, site);
  const ConvGeometry g = conv_geometry(node, site.x, site.y);
  if (Winograd<T>::chosen(g, node.algorithm.value_or(default_algorithm())) && !site.x.shape.dense)
    return make_winograd(plan, g, site);
  if (planes_suit(g, site)) return make_conv_planes(plan, g, site);
  return std::make_unique<ConvOp<T>>(plan, g, site);
}

template OpPtr<float> make_conv(Plan<float>&, const Node&, const Site<float>&);
template OpPtr<double> make_conv(Plan<double>&, const Node&, const Site<double>&);

}  // namespace piste
