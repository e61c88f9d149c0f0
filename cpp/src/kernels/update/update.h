#pragma once

#include "piste/index.h"

namespace piste {

/// Hyperparameters of one array's step; `first_step` starts the momentum buffer at the gradient.
template <class T>
struct SgdOptions {
  T lr, momentum, dampening, weight_decay;
  bool nesterov, maximize, first_step;
};

namespace kernels {

template <class T>
struct UpdateKernels {
  /// g' = (maximize ? -g : g) + weight_decay * p
  /// buffer = first_step ? g' : momentum * buffer + (1 - dampening) * g'     (momentum != 0)
  /// p -= lr * (nesterov ? g' + momentum * buffer : buffer)
  void (*sgd)(T* p, const T* g, T* buffer, Index n, const SgdOptions<T>& options);
  /// Not finite where any value is not, or where a square overflows.
  double (*sum_squares)(const T* x, Index n);
  bool (*all_finite)(const T* x, Index n);
};

}  // namespace kernels
}  // namespace piste

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::UpdateKernels<float> update_f32;
extern const kernels::UpdateKernels<double> update_f64;
}  // namespace piste::PISTE_ISA
#endif
