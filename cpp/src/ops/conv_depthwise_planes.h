#pragma once

#include "ops/conv_nhwc.h"

namespace piste {

/// Depthwise convolutions on single planes as they stand, each of which is copied with a border at
/// most once. Not for planes that are too large to stay near.
bool takes_depthwise_planes(const ConvGeometry& g);

/// y (n, channels, out...) = x (n, channels, in...) * weight + bias; bias may be null.
template <class T>
void conv_depthwise_planes(const ConvGeometry& g, Index n, const T* x, const T* weight,
                           const T* bias, T* y);

/// Its gradients, n >= 1; each of the three may be null.
template <class T>
void conv_depthwise_planes_backward(const ConvGeometry& g, Index n, const T* dy, const T* x,
                                    const T* weight, T* dx, T* dweight, T* dbias);

}  // namespace piste
