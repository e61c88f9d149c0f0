#pragma once

#include "ops/conv_nhwc.h"

namespace piste {

/// Depthwise convolutions with strides, forward, on the planes as they stand: of what other ways
/// copy first, most is never used.
bool takes_strided_planes(const ConvGeometry& g, Index lanes);

/// y (n, channels, out...) = x (n, channels, in...) * weight + bias; bias may be null.
template <class T>
void conv_strided_planes(const ConvGeometry& g, Index n, const T* x, const T* weight, const T* bias,
                         T* y);

}  // namespace piste
