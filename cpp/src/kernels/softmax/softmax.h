#pragma once

#include "piste/index.h"

namespace piste::kernels {

inline constexpr Index softmax_columns = 512;

/// Over the first `channels` values of each of `rows` rows, row_stride apart; what stands behind
/// them is neither read nor written. y and dx may be the memory of x and of y.
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
  /// The backward passes from x, without y: less than a softmax and its backward one after the
  /// other.
  void (*softmax_gradient)(const T* dy, const T* x, T* dx, Index rows, Index row_stride,
                           Index channels);
  void (*log_softmax_gradient)(const T* dy, const T* x, T* dx, Index rows, Index row_stride,
                               Index channels);

  // The same over the `channels` values, `stride` apart, of each of `columns` <= softmax_columns
  // columns side by side.
  void (*columns)(const T* x, T* y, Index channels, Index stride, Index columns, bool log);
  void (*columns_backward)(const T* dy, const T* y, T* dx, Index channels, Index stride,
                           Index columns, bool log);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::SoftmaxKernels<float> softmax_f32;
extern const kernels::SoftmaxKernels<double> softmax_f64;
}  // namespace piste::PISTE_ISA
#endif
