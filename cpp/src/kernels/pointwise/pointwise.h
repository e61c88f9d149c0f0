#pragma once

#include "piste/index.h"

namespace piste::kernels {

template <class T>
struct PointwiseKernels {
  /// y[i] = max(x[i], 0); NaN stays NaN in every lane.
  void (*relu)(const T* x, T* y, Index n);
  /// dx[i] = x[i] <= 0 ? 0 : dy[i] (a NaN passes its gradient on). x may also be relu's output.
  void (*relu_backward)(const T* dy, const T* x, T* dx, Index n);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::PointwiseKernels<float> pointwise_f32;
extern const kernels::PointwiseKernels<double> pointwise_f64;
}  // namespace piste::PISTE_ISA
#endif
