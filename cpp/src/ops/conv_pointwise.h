#pragma once

#include "ops/conv_nhwc.h"

namespace piste {

/// Whether every output reads its own position alone: a sample's planes are then a matrix, and the
/// convolution is a product of matrices as they stand.
bool conv_pointwise_takes(const ConvGeometry& g);

/// y (n, filters, pixels) = weight (filters, channels / groups) x (n, channels, pixels) + bias, in
/// each group; bias may be null.
template <class T>
void conv_pointwise(const ConvGeometry& g, Index n, const T* x, const T* weight, const T* bias,
                    T* y);

/// Its gradients by x and weight; each may be null.
template <class T>
void conv_pointwise_backward(const ConvGeometry& g, Index n, const T* dy, const T* x,
                             const T* weight, T* dx, T* dweight);

}  // namespace piste
