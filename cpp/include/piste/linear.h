#pragma once

#include "piste/tensor.h"

namespace piste {

/// y = x weight^T + bias. x (..., in), weight (out, in) or (in), bias (out) or (), or null,
/// y (..., out) or (...).
template <class T>
void linear(View<const T> x, View<const T> weight, View<const T> bias, View<T> y);

/// Gradients of linear; any of dx, dweight, dbias may be null.
template <class T>
void linear_backward(View<const T> dy, View<const T> x, View<const T> weight, View<T> dx,
                     View<T> dweight, View<T> dbias);

}  // namespace piste
