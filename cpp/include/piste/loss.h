#pragma once

#include "piste/kinds.h"
#include "piste/tensor.h"

namespace piste {

/// Sum over all values of weight * f(input, target), in double and in an order that the shape
/// alone fixes; each value's loss goes to `losses` where given. weight may be null.
template <class T>
double pointwise_loss(PointwiseLoss kind, View<const T> input, View<const T> target,
                      View<const T> weight, View<T> losses);

/// dx = grad * weight * f'(input, target); grad has one value or as many as the input.
template <class T>
void pointwise_loss_backward(PointwiseLoss kind, View<const T> grad, View<const T> input,
                             View<const T> target, View<const T> weight, View<T> dx, T scale);

/// Cross-entropy of rows of logits (rows, classes) with labels (rows,): each row's weighted loss
/// to `losses` (rows,); 0 for ignored rows.
template <class T>
void cross_entropy(View<const T> logits, View<const std::int64_t> labels, View<const T> weight,
                   Index ignore_index, T label_smoothing, View<T> losses);
template <class T>
void cross_entropy_backward(View<const T> grad, View<const T> logits,
                            View<const std::int64_t> labels, View<const T> weight,
                            Index ignore_index, T label_smoothing, View<T> dx);
/// The same with targets (rows, classes) of probabilities.
template <class T>
void cross_entropy_probabilities(View<const T> logits, View<const T> target, View<const T> weight,
                                 T label_smoothing, View<T> losses);
template <class T>
void cross_entropy_probabilities_backward(View<const T> grad, View<const T> logits,
                                          View<const T> target, View<const T> weight,
                                          T label_smoothing, View<T> dx);

}  // namespace piste
