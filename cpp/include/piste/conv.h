#pragma once

#include <array>
#include <optional>

#include "piste/algorithm.h"
#include "piste/tensor.h"

namespace piste {

/// Per spatial axis (depth, height, width); axes that an operation lacks keep the defaults.
struct ConvOptions {
  std::array<Index, 3> stride{1, 1, 1}, dilation{1, 1, 1};
  std::array<Index, 3> pad_low{0, 0, 0}, pad_high{0, 0, 0};
  Index groups = 1;
  std::optional<Algorithm> algorithm{};  // without one, the default
};

/// x (n, channels, depth, height, width), weight (filters, channels / groups, kernel...), bias
/// (filters) or null, y (n, filters, out depth, out height, out width).
template <class T>
void conv(View<const T> x, View<const T> weight, View<const T> bias, const ConvOptions& options,
          View<T> y);

/// Gradients of conv; any of dx, dweight, dbias may be null.
template <class T>
void conv_backward(View<const T> dy, View<const T> x, View<const T> weight,
                   const ConvOptions& options, View<T> dx, View<T> dweight, View<T> dbias);

/// The transpose of conv, with a bias of its own: what conv_backward makes of dy. x (n, channels,
/// depth, height, width), weight (channels, filters / groups, kernel...), bias (filters) or null, y
/// (n, filters, out...) with out = (in - 1) * stride + dilation * (kernel - 1) + 1 - pad_low -
/// pad_high on each axis, where pad_high may be negative.
template <class T>
void conv_transpose(View<const T> x, View<const T> weight, View<const T> bias,
                    const ConvOptions& options, View<T> y);

/// Gradients of conv_transpose; any of dx, dweight, dbias may be null.
template <class T>
void conv_transpose_backward(View<const T> dy, View<const T> x, View<const T> weight,
                             const ConvOptions& options, View<T> dx, View<T> dweight,
                             View<T> dbias);

}  // namespace piste
