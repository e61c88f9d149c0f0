#pragma once

#include "kernels/gradient.h"
#include "kernels/stores.h"
#include "piste/index.h"

namespace piste::kernels {

/// What is added to a norm's result: x, or x * scale + shift of another norm where scale is not
/// null; nothing where x is null.
template <class T>
struct NormAddend {
  const T* x = nullptr;
  const T *scale = nullptr, *shift = nullptr;
};

/// Per channel over rows of NHWC pixels. row_stride is a multiple of the vector width; all of a
/// row's values are worked on, those behind the channels harmlessly.
template <class T>
struct NormKernels {
  /// Mean and sum of squared deviations from it, in two passes: exact where |mean| >> deviation.
  void (*moments)(const T* x, Index rows, Index row_stride, T* mean, T* m2);
  /// y = x * scale + shift + addend, then max(., 0) where relu (NaN kept).
  void (*scale_shift)(const T* x, const NormAddend<T>& addend, T* y, Index rows, Index row_stride,
                      const T* scale, const T* shift, bool relu);
  /// sum_dy += sum of dy, sum_dy_x += sum of dy * (x - mean). Stores dy.whole unless it is null.
  void (*backward_sums)(const OutputGradient<T>& dy, const T* x, const T* mean, Index rows,
                        Index row_stride, T* sum_dy, T* sum_dy_x);
  /// dx = a * dy + b * x + c.
  void (*backward_apply)(const T* dy, const T* x, T* dx, Index rows, Index row_stride, const T* a,
                         const T* b, const T* c);

  // The same for one channel's plane of NCHW values: `count` of them, contiguous.
  void (*plane_moments)(const T* x, Index count, T* mean, T* m2);
  /// y = (x - mean) * scale + shift. The subtraction comes first: exact where |mean| >> deviation.
  void (*plane_scale_shift)(const T* x, T* y, Index count, T mean, T scale, T shift, Stores stores);
  /// sum_dy += sum of dy, sum_dy_x += sum of dy * (x - mean).
  void (*plane_backward_sums)(const T* dy, const T* x, Index count, T mean, T* sum_dy, T* sum_dy_x);
  /// dx = a * dy + b * (x - mean) + c.
  void (*plane_backward_apply)(const T* dy, const T* x, T* dx, Index count, T mean, T a, T b, T c,
                               Stores stores);

  // And for `count` contiguous values that have a weight and a bias each.
  /// y = (x - mean) * inverse * weight + bias.
  void (*row_scale_shift)(const T* x, T* y, Index count, T mean, T inverse, const T* weight,
                          const T* bias);
  /// sum_dy += sum of dy * weight, sum_dy_x += sum of dy * weight * (x - mean).
  void (*row_backward_sums)(const T* dy, const T* x, const T* weight, Index count, T mean,
                            T* sum_dy, T* sum_dy_x);
  /// dx = a * dy * weight + b * (x - mean) + c.
  void (*row_backward_apply)(const T* dy, const T* x, const T* weight, T* dx, Index count, T mean,
                             T a, T b, T c);
  /// dweight += dy * (x - mean) * inverse, dbias += dy, value by value.
  void (*row_gradients)(const T* dy, const T* x, Index count, T mean, T inverse, T* dweight,
                        T* dbias);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::NormKernels<float> norm_f32;
extern const kernels::NormKernels<double> norm_f64;
}  // namespace piste::PISTE_ISA
#endif
