#pragma once

#include "piste/index.h"

namespace piste::kernels {

/// Over the first `channels` values of each of `rows` rows, row_stride apart; what stands behind
/// them is neither read nor written.
template <class T>
struct SoftmaxKernels {
  /// y = e^(x - max) / sum
  void (*softmax)(const T* x, T* y, Index rows, Index row_stride, Index channels);
  /// y = x - max - ln(sum)
  void (*log_softmax)(const T* x, T* y, Index rows, Index row_stride, Index channels);
  /// dx = y * (dy - sum(dy * y)), with y the softmax
  void (*softmax_backward)(const T* dy, const T* y, T* dx, Index rows, Index row_stride,
                           Index channels);
  /// dx = dy - e^y * sum(dy), with y the log softmax
  void (*log_softmax_backward)(const T* dy, const T* y, T* dx, Index rows, Index row_stride,
                               Index channels);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::SoftmaxKernels<float> softmax_f32;
extern const kernels::SoftmaxKernels<double> softmax_f64;
}  // namespace piste::PISTE_ISA
#endif
