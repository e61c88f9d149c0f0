#pragma once

#include "ops/conv_nhwc.h"
#include "piste/conv.h"

namespace piste {

/// Whether a convolution reads single pixels with strides, and no padding.
bool is_sampled(const ConvGeometry& g);

/// Such a convolution is one without strides of the pixels that it reads: the others are neither
/// copied nor multiplied.
template <class T>
void conv_sampled(const ConvGeometry& g, View<const T> x, View<const T> weight, View<const T> bias,
                  const ConvOptions& options, View<T> y);
template <class T>
void conv_sampled_backward(const ConvGeometry& g, View<const T> dy, View<const T> x,
                           View<const T> weight, const ConvOptions& options, View<T> dx,
                           View<T> dweight, View<T> dbias);

}  // namespace piste
