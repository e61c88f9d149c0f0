#pragma once

#include "piste/tensor.h"

namespace piste {

/// y = max(x, 0), elementwise; x and y have one shape and may be the same memory.
template <class T>
void relu(View<const T> x, View<T> y);

/// dx = dy where x > 0 (or x is NaN), else 0.
template <class T>
void relu_backward(View<const T> dy, View<const T> x, View<T> dx);

}  // namespace piste
