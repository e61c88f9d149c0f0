#pragma once

#include "piste/kinds.h"
#include "piste/tensor.h"

namespace piste {

/// y = f(x; a, b), elementwise; x and y have one shape and may be the same memory. a and b are the
/// activation's parameters in PyTorch's order (negative_slope; alpha; beta, threshold; min, max).
template <class T>
void activation(Activation kind, View<const T> x, View<T> y, T a, T b);

/// dx = dy * f'(x; a, b).
template <class T>
void activation_backward(Activation kind, View<const T> dy, View<const T> x, View<T> dx, T a, T b);

/// y = x where that is positive, else weight * x; x is (outer, channels, inner), weight (channels).
template <class T>
void prelu(View<const T> x, View<const T> weight, View<T> y);
template <class T>
void prelu_backward(View<const T> dy, View<const T> x, View<const T> weight, View<T> dx,
                    View<T> dweight);

/// Softmax (or its logarithm) over the middle axis of x and y (outer, channels, inner).
template <class T>
void softmax(View<const T> x, View<T> y, bool log);
template <class T>
void softmax_backward(View<const T> dy, View<const T> x, View<T> dx, bool log);

/// y = x / (1 - p) where a value is kept, else 0; which are kept depends on (key, place) alone.
template <class T>
void dropout(View<const T> x, View<T> y, T p, std::uint64_t key);

}  // namespace piste
