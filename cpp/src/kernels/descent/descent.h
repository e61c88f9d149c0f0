#pragma once

#include "piste/index.h"

namespace piste::kernels {

template <class T>
struct DescentKernels {
  /// A step of a linear layer by one sample, and the outputs for the next one, in one pass over
  /// the weights. For r < rows, with w of shape (rows, features):
  ///   w[r] = decay * w[r] + steps[r] * x     (unless steps is null)
  ///   out[r] = w[r] . next
  /// out has the same bits whether the weights were changed in this call or before.
  void (*linear_step)(T* w, Index rows, Index features, T decay, const T* steps, const T* x,
                      const T* next, T* out);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::DescentKernels<float> descent_f32;
extern const kernels::DescentKernels<double> descent_f64;
}  // namespace piste::PISTE_ISA
#endif
