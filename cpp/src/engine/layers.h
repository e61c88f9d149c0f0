#pragma once
// How each kind of layer is lowered. A tensor id names memory of the plan; `MapShape` and `width`
// (values from pixel to pixel: the channels, padded unless the value is dense) say how it is laid
// out. The parts that are shared by all of a layer's constructors come as one Site.

#include <memory>

#include "dispatch/dispatch.h"
#include "engine/op.h"
#include "engine/plan.h"
#include "ops/conv_nhwc.h"

namespace piste {

/// The values are those of `tensor`, or what scale and shift, two more tensors, make of them per
/// channel: a batch norm's that its only reader applies.
template <class T>
struct Value {
  int tensor = -1;
  MapShape shape;
  Index width = 0;
  int scale = -1, shift = -1;
  Index sample_values() const { return shape.pixels() * width; }
  /// Whether a sample's values lie in the order of (channel, pixel), as the user's do.
  bool is_row() const { return shape.pixels() == 1 || width == 1; }
};

/// The gradient of an op's output y as its readers left it: one part or two, which are added up,
/// and what is left of the sum before a ReLU that gave y.
template <class T>
class OutputGradient {
 public:
  void link_second(int dy) { second_ = dy; }
  void link(Plan<T>& plan, int dy, const Value<T>& y, bool masks) {
    first_ = dy;
    values_ = y.sample_values();
    if (masks) y_ = y.tensor;
    if (!passes()) return;
    whole_ = plan.is_spare(first_)    ? first_
             : plan.is_spare(second_) ? second_
                                      : plan.tensor(values_);
  }

  /// Is there something to be done before it is read?
  bool passes() const { return second_ >= 0 || y_ >= 0; }
  /// Where it stands once that has been done.
  int tensor() const { return passes() ? whole_ : first_; }
  /// All tensors that are read or written for it, or -1.
  std::array<int, 4> uses() const { return {first_, second_, y_, whole_}; }

  kernels::OutputGradient<T> at(const Memory<T>& memory, const Chunk& chunk) const {
    const auto place = [&](int tensor) { return tensor < 0 ? nullptr : memory.at(tensor, chunk); };
    return {place(first_), place(second_), place(y_), place(whole_)};
  }
  const T* read(const Memory<T>& memory, const Chunk& chunk) const {
    if (passes())
      kernel_table<T>().pointwise->output_gradient(at(memory, chunk), chunk.count() * values_);
    return memory.at(tensor(), chunk);
  }

 private:
  int first_ = -1, second_ = -1, y_ = -1, whole_ = -1;
  Index values_ = 0;
};

template <class T>
using OpPtr = std::unique_ptr<Op<T>>;

/// A trainable array and where the sum of its gradient goes.
template <class T>
struct Trainable {
  View<T> value;
  T* gradient = nullptr;
};

/// Between its input and its output, a layer with weights; relu: of the layer that follows, after
/// the addition of `addend` where that has a tensor.
template <class T>
struct Site {
  Value<T> x, y;
  Trainable<T> weight, bias;
  Value<T> addend;
  bool relu;
  bool wants_dx;  // somebody wants the gradient by x
  bool masks;  // its backward pass applies ReLU's gradient; else the pooling behind it has done so
};

/// Where the sums of each group of samples begin, `size` values from one to the next.
template <class T>
struct GroupSums {
  GroupSums(const T* first, Index size, Index groups) {
    for (Index g = 0; g < groups; ++g) data[g] = first + g * size;
  }
  const T* data[64];  // more than a plan has groups
};

/// One sample from NCHW to a value's layout, and back.
template <class T>
void pack_sample(const T* nchw, const Value<T>& value, T* rows);
template <class T>
void unpack_sample(const T* rows, const Value<T>& value, T* nchw);

template <class T>
OpPtr<T> make_input(Plan<T>& plan, const Value<T>& y);
/// A convolution or a transposed one.
template <class T>
OpPtr<T> make_conv(Plan<T>& plan, const Node& node, const Site<T>& site);
template <class T>
OpPtr<T> make_pad(const Node& node, const Value<T>& x, const Value<T>& y);
template <class T>
OpPtr<T> make_linear(Plan<T>& plan, const Site<T>& site);
/// A convolution whose geometry is one that Winograd<T>::chosen() takes.
template <class T>
OpPtr<T> make_winograd(Plan<T>& plan, const ConvGeometry& geometry, const Site<T>& site);
/// One that planes suit, whose layers have few filters.
template <class T>
bool planes_suit(const ConvGeometry& geometry, const Site<T>& site);
template <class T>
OpPtr<T> make_conv_planes(Plan<T>& plan, const ConvGeometry& geometry, const Site<T>& site);
template <class T>
OpPtr<T> make_batch_norm(Plan<T>& plan, const Node& node, const Site<T>& site);
template <class T>
OpPtr<T> make_pool(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y,
                   bool masks);
template <class T>
OpPtr<T> make_activation(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y);
template <class T>
OpPtr<T> make_dropout(Plan<T>& plan, const Node& node, int layer, const Value<T>& x,
                      const Value<T>& y);
template <class T>
OpPtr<T> make_add(const Site<T>& site);
/// Values of the same extents, channel after channel.
template <class T>
OpPtr<T> make_concat(Plan<T>& plan, const std::vector<Value<T>>& x, const Value<T>& y);
/// The same values in NCHW order, as another shape.
template <class T>
OpPtr<T> make_reshape(Plan<T>& plan, const Value<T>& x, const Value<T>& y);
/// Layers that are an operation of ops/ on each sample in NCHW order.
template <class T>
OpPtr<T> make_sample_op(Plan<T>& plan, const Node& node, const Site<T>& site);
template <class T>
OpPtr<T> make_softmax(Plan<T>& plan, const Node& node, const Value<T>& x, const Value<T>& y);

/// dy = sum of the gradients that several consumers of one value gave.
template <class T>
OpPtr<T> make_gradient_sum(Plan<T>& plan, const Value<T>& y, const std::vector<int>& parts, int dy);
/// y to the user's array, in NCHW order.
template <class T>
OpPtr<T> make_output(Plan<T>& plan, const Value<T>& y);
/// The user's grad_output to dy.
template <class T>
OpPtr<T> make_grad_output(Plan<T>& plan, const Value<T>& y, int dy);
/// dx to the user's grad_input.
template <class T>
OpPtr<T> make_grad_input(Plan<T>& plan, const Value<T>& x, int dx);
/// Loss of y against the targets; writes dy unless it is -1.
template <class T>
OpPtr<T> make_loss(Plan<T>& plan, const Value<T>& y, int dy);

}  // namespace piste
