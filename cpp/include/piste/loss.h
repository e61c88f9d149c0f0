#pragma once

#include <cstdint>
#include <optional>

#include "piste/kinds.h"
#include "piste/tensor.h"

namespace piste {

/// Arrays of one shape. `extra` is the third array of those kinds that have one (kinds.h), `weight`
/// a factor of each value's loss; null stands for 1 everywhere.
template <class T>
struct PointwiseLossInput {
  PointwiseLoss kind;
  T a, b;
  View<const T> input, target, extra, weight;
};

/// Sum over all values of weight * f(input, target, extra), in double and in an order that the
/// shape alone fixes. Each value's loss goes to `losses` unless that is null.
template <class T>
double pointwise_loss(const PointwiseLossInput<T>& loss, View<T> losses);

/// dx = scale * grad * weight * df/dinput, and alike for target and extra; null gradients are not
/// wanted. grad has the input's shape, or is null for 1 everywhere.
template <class T>
void pointwise_loss_backward(const PointwiseLossInput<T>& loss, View<const T> grad, T scale,
                             View<T> dinput, View<T> dtarget, View<T> dextra);

/// Of all labels: the place of the first one that is neither in [0, classes) nor ignored (or -1),
/// how many are not ignored, and the sum of their classes' weights. Without an ignore_index all
/// count: any number that stood for "none" would be a label that passes unseen.
struct LabelCount {
  Index first_wrong = -1, counted = 0;
  double weight = 0;
};
template <class T>
LabelCount count_labels(View<const std::int64_t> labels, Index classes, View<const T> weight,
                        std::optional<Index> ignore_index);

/// What losses with one target per row have in common: input (samples, classes, pixels), labels
/// (samples, pixels), weight (classes) or null.
template <class T>
struct LabelLossInput {
  View<const T> input;
  View<const std::int64_t> labels;
  View<const T> weight;
  std::optional<Index> ignore_index;
};

/// Cross-entropy of logits with labels: the sum over all rows, 0 for ignored ones, in double and in
/// an order that the shape alone fixes. Each row's loss goes to `losses` (samples, pixels) unless
/// that is null.
template <class T>
double cross_entropy(const LabelLossInput<T>& loss, T label_smoothing, View<T> losses);
/// dx = scale * grad * dloss/dinput; grad (samples, pixels) or null for 1 everywhere.
template <class T>
void cross_entropy_backward(const LabelLossInput<T>& loss, T label_smoothing, View<const T> grad,
                            T scale, View<T> dx);

/// The same with targets (samples, classes, pixels) of probabilities.
template <class T>
double cross_entropy_probabilities(View<const T> input, View<const T> target, View<const T> weight,
                                   T label_smoothing, View<T> losses);
template <class T>
void cross_entropy_probabilities_backward(View<const T> input, View<const T> target,
                                          View<const T> weight, T label_smoothing,
                                          View<const T> grad, T scale, View<T> dx, View<T> dtarget);

/// Minus the input at each row's label, times the label's weight.
template <class T>
double nll_loss(const LabelLossInput<T>& loss, View<T> losses);
template <class T>
void nll_loss_backward(const LabelLossInput<T>& loss, View<const T> grad, T scale, View<T> dx);

/// weight[label] * sum over classes c but the label's of max(0, margin - x[label] + x[c])^p
/// / classes; p is 1 or 2 and no label is ignored.
template <class T>
double multi_margin_loss(const LabelLossInput<T>& loss, int p, T margin, View<T> losses);
template <class T>
void multi_margin_loss_backward(const LabelLossInput<T>& loss, int p, T margin, View<const T> grad,
                                T scale, View<T> dx);

}  // namespace piste
