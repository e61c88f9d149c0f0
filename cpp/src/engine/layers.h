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

template <class T>
struct Value {
  int tensor = -1;
  MapShape shape;
  Index width = 0;
  Index sample_values() const { return shape.pixels() * width; }
};

/// The chunk's gradient before a ReLU that gave y, in the tensor `masked`: dy where y is above 0,
/// else 0.
template <class T>
const T* relu_gradient(const Memory<T>& memory, const Chunk& chunk, int dy, const Value<T>& y,
                       int masked) {
  T* const to = memory.at(masked, chunk);
  kernel_table<T>().pointwise->backward(
      Activation::relu, memory.at(dy, chunk), memory.at(y.tensor, chunk), to,
      chunk.count() * y.sample_values(), T(0), T(0), kernels::Stores::cached);
  return to;
}

template <class T>
using OpPtr = std::unique_ptr<Op<T>>;

/// A trainable array and where the sum of its gradient goes.
template <class T>
struct Trainable {
  View<T> value;
  T* gradient = nullptr;
};

/// Between its input and its output, a layer with weights; relu: of the layer that follows.
template <class T>
struct Site {
  Value<T> x, y;
  Trainable<T> weight, bias;
  bool relu;
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
OpPtr<T> make_add(Plan<T>& plan, const Value<T>& x, const Value<T>& z, const Value<T>& y);
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
