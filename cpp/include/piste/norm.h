#pragma once

#include "piste/tensor.h"

namespace piste {

struct BatchNormOptions {
  bool training = false;  // the batch's statistics in place of the running ones
  double momentum = 0.1, eps = 1e-5;
};

/// x and y (n, channels, pixels); the others (channels). weight and bias may be null, and in
/// training the running statistics, which are updated then and only read otherwise.
template <class T>
void batch_norm(View<const T> x, View<T> running_mean, View<T> running_var, View<const T> weight,
                View<const T> bias, const BatchNormOptions& options, View<T> y);

/// Gradients of batch_norm; dweight and dbias may be null. Updates no statistics.
template <class T>
void batch_norm_backward(View<const T> dy, View<const T> x, View<const T> running_mean,
                         View<const T> running_var, View<const T> weight,
                         const BatchNormOptions& options, View<T> dx, View<T> dweight,
                         View<T> dbias);

}  // namespace piste
