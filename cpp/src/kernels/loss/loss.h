#pragma once

#include <cstdint>

#include "piste/index.h"
#include "piste/kinds.h"

namespace piste {

/// One call of a pointwise loss f(x, t, extra; a, b); kinds.h says what extra, a and b are. Null
/// pointers: extra and weight are 1 and grad is 1 everywhere; an output is not wanted.
template <class T>
struct PointwiseLossCall {
  PointwiseLoss kind;
  T a, b;
  const T *x, *t, *extra, *weight;
  const T* grad;
  T scale;
  double* sum;          // of weight * f, in double and in a fixed order
  T* loss;              // weight * f of each value
  T *dx, *dt, *dextra;  // scale * grad * weight * the derivative of f
  Index n;
};

namespace kernels {

template <class T>
struct LossKernels {
  void (*pointwise)(const PointwiseLossCall<T>& call);
  /// One row: loss = sum over classes of class_weight * q * -log_softmax(logits) with
  /// q = (1 - smoothing) * onehot(label) + smoothing / classes; dx = scale * its gradient.
  double (*cross_entropy)(const T* logits, Index classes, Index label, const T* class_weight,
                          T smoothing, T* dx, T scale);
  /// The same with q = (1 - smoothing) * target + smoothing / classes; dt = scale * the gradient
  /// by target. dx and dt may be null.
  double (*cross_entropy_probabilities)(const T* logits, Index classes, const T* target,
                                        const T* class_weight, T smoothing, T* dx, T* dt, T scale);
  /// One row: loss = sum over classes c but the label's of max(0, margin - x[label] + x[c])^p
  /// / classes, p being 1 or 2; dx (unless null) = scale * its gradient.
  double (*multi_margin)(const T* x, Index classes, Index label, int p, T margin, T* dx, T scale);
  /// How many of n labels are `ignored`, and how many are not in [0, classes).
  void (*count_labels)(const std::int64_t* labels, Index n, Index classes, Index ignored,
                       Index* ignored_count, Index* outside_count);
};

}  // namespace kernels
}  // namespace piste

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::LossKernels<float> loss_f32;
extern const kernels::LossKernels<double> loss_f64;
}  // namespace piste::PISTE_ISA
#endif
