#pragma once
// What layers with weights have in common.

#include <algorithm>

#include "dispatch/dispatch.h"
#include "engine/layers.h"

namespace piste {

/// A layer with a weight, a bias and ReLU behind it where `relu` says so.
template <class T>
class WeightedOp : public Op<T> {
 protected:
  explicit WeightedOp(const Site<T>& site)
      : x_(site.x),
        y_(site.y),
        weight_(site.weight),
        bias_(site.bias),
        relu_(site.relu),
        masks_(site.masks) {}

  /// Keeps the names of the gradients, and declares what reading dy and sums over x take.
  void link_ends(Plan<T>& plan, int dy, int dx) {
    gradient_.link(plan, dy, y_, masks_);
    dx_ = dx;
    this->use_backward(x_.tensor);
    for (int tensor : gradient_.uses()) this->use_backward(tensor);
  }
  bool link_second(int dy) final {
    gradient_.link_second(dy);
    return true;
  }
  bool linked() const { return gradient_.tensor() >= 0; }

  Value<T> x_, y_;
  Trainable<T> weight_, bias_;
  bool relu_, masks_;
  OutputGradient<T> gradient_;
  int dx_ = -1;
};

/// A convolution of some kind: its weight is packed once a step, for the forward pass and for dx,
/// and its gradients are summed per group of samples.
template <class T>
class ConvolutionOp : public WeightedOp<T> {
 protected:
  ConvolutionOp(Plan<T>& plan, const Site<T>& site)
      : WeightedOp<T>(site), padded_bias_(plan.fixed_tensor(site.y.width)) {
    this->use_forward(site.x.tensor);
    this->use_forward(site.y.tensor);
  }

  void link_convolution(Plan<T>& plan, int dy, int dx, Index packed_size, Index gradient_size) {
    this->link_ends(plan, dy, dx);
    this->use_backward(dx);
    if (dx >= 0) packed_for_dx_ = plan.fixed_tensor(packed_size);
    gradients_ = plan.fixed_tensor(gradient_size * plan.groups());
    bias_gradients_ = plan.fixed_tensor(y_.width * plan.groups());
  }

  void copy_bias(const Memory<T>& memory) const {
    if (bias_.value) std::copy_n(bias_.value.data, y_.shape.channels, memory.fixed(padded_bias_));
  }
  const T* bias(const Memory<T>& memory) const {
    return bias_.value ? memory.fixed(padded_bias_) : nullptr;
  }

  // A group's sums, and those of all groups in order.
  T* bias_gradient(const Memory<T>& memory, const Chunk& chunk) const {
    return bias_.value ? memory.fixed(bias_gradients_) + chunk.group * y_.width : nullptr;
  }
  void add_bias_gradient(const Memory<T>& memory, const Chunk& chunk, const T* dy) const {
    if (bias_.value)
      kernel_table<T>().gemm->column_sums(dy, chunk.count() * y_.shape.pixels(), y_.width,
                                          bias_gradient(memory, chunk), y_.shape.channels,
                                          !chunk.first_of_group);
  }
  void sum_bias_gradient(const Memory<T>& memory, Index groups) const {
    if (!bias_.value) return;
    const GroupSums<T> parts(memory.fixed(bias_gradients_), y_.width, groups);
    kernel_table<T>().gemm->sum(parts.data, groups, 0, bias_.gradient, y_.shape.channels);
  }

  using WeightedOp<T>::y_;
  using WeightedOp<T>::bias_;
  int packed_ = -1, packed_for_dx_ = -1, padded_bias_, gradients_ = -1, bias_gradients_ = -1;
};

}  // namespace piste
