#pragma once

#include "piste/index.h"
#include "piste/kinds.h"

namespace piste::kernels {

template <class T>
struct LossKernels {
  /// Sum of weight[i] * f(x[i], t[i]) in double, in a fixed order. loss[i] (unless null) gets each
  /// value's part, dx[i] (unless null) scale * weight[i] * f'(x[i], t[i]). weight may be null.
  double (*pointwise)(PointwiseLoss kind, const T* x, const T* t, const T* weight, T* loss, T* dx,
                      T scale, Index n);
  /// One row: loss = sum over classes of class_weight * q * -log_softmax(logits) with
  /// q = (1 - smoothing) * onehot(label) + smoothing / classes; dx = scale * its gradient.
  double (*cross_entropy)(const T* logits, Index classes, Index label, const T* class_weight,
                          T smoothing, T* dx, T scale);
  /// The same with q = (1 - smoothing) * target + smoothing / classes.
  double (*cross_entropy_probabilities)(const T* logits, Index classes, const T* target,
                                        const T* class_weight, T smoothing, T* dx, T scale);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::LossKernels<float> loss_f32;
extern const kernels::LossKernels<double> loss_f64;
}  // namespace piste::PISTE_ISA
#endif
