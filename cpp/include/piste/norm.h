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

/// y = (x - mean) / sqrt(var + eps) * weight + bias over each row; x and y (rows, values), weight
/// and bias (values) or null.
template <class T>
void layer_norm(View<const T> x, View<const T> weight, View<const T> bias, double eps, View<T> y);

/// Gradients of layer_norm; dweight and dbias may be null.
template <class T>
void layer_norm_backward(View<const T> dy, View<const T> x, View<const T> weight, double eps,
                         View<T> dx, View<T> dweight, View<T> dbias);

/// The same over the channels of each of `groups` groups, with a weight and a bias per channel; x
/// and y (n, channels, pixels). mean and var (n, groups) become the groups' statistics, the
/// variance biased, unless null.
template <class T>
void group_norm(View<const T> x, Index groups, View<const T> weight, View<const T> bias, double eps,
                View<T> y, View<T> mean, View<T> var);

/// Gradients of group_norm; dweight and dbias may be null.
template <class T>
void group_norm_backward(View<const T> dy, View<const T> x, Index groups, View<const T> weight,
                         double eps, View<T> dx, View<T> dweight, View<T> dbias);

struct ResponseNormOptions {
  Index size = 5;  // channels of a window: size / 2 before its own, the rest from it on
  double alpha = 1e-4, beta = 0.75, k = 1;
};

/// y = x / (k + alpha / size * (sum of x^2 over the channel's window))^beta; x and y (n, channels,
/// pixels) (Krizhevsky et al. 2012).
template <class T>
void local_response_norm(View<const T> x, const ResponseNormOptions& options, View<T> y);
template <class T>
void local_response_norm_backward(View<const T> dy, View<const T> x,
                                  const ResponseNormOptions& options, View<T> dx);

}  // namespace piste
