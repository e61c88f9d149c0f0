#pragma once

#include "ops/conv_nhwc.h"
#include "ops/plane_gradient.h"
#include "ops/plane_products.h"

namespace piste {

/// Any convolution on the planes as they stand, not as NHWC rows.

/// y (n, filters, out...) = x (n, channels, in...) * weight + bias; bias may be null.
template <class T>
void conv_planes(const ConvGeometry& g, Index n, const T* x, const T* weight, const T* bias, T* y);

/// Its gradients, n >= 1; each of the three may be null.
template <class T>
void conv_planes_backward(const ConvGeometry& g, Index n, const T* dy, const T* x, const T* weight,
                          T* dx, T* dweight, T* dbias);

/// What those are made of, for callers that share out the work themselves: of n samples, and a
/// geometry as with_long_rows() leaves it; the gradient in at most so many partial sums.
template <class T>
PlaneProduct<T> forward_product(const ConvGeometry& g, Index n);
template <class T>
PlaneGradient<T> weight_gradient(const ConvGeometry& g, Index n,
                                 Index most_parts = PlaneGradient<T>::max_parts);

}  // namespace piste
