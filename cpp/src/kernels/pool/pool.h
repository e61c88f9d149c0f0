#pragma once

#include <cstdint>

#include "piste/index.h"

namespace piste::kernels {

/// Pooling windows over one NHWC sample; pairs are (height, width). Output pixel o of an axis takes
/// the input pixels o * stride - pad + k * dilation, k < kernel, that lie within the input.
/// Adaptive pooling reads channels, row_stride, in and out only.
struct PoolGeometry {
  Index channels;
  Index row_stride;  // channels padded to a multiple of the vector width, the same for x and y
  Index in[2];
  Index out[2];
  Index kernel[2];
  Index stride[2];
  Index pad[2];  // before the first row and the first column
  Index dilation[2];
};

/// One sample per call: x and dx are [in[0] * in[1]][row_stride], y and dy are
/// [out[0] * out[1]][row_stride], and so is argmax. Channels between `channels` and `row_stride`
/// may hold anything when read, and anything may be written to them.
template <class T>
struct PoolKernels {
  /// y = the largest value of each window; argmax (may be null) = its input pixel, counted row by
  /// row. Of equal values the first counts; a NaN is larger than any number, and the last NaN
  /// counts. Where no tap lies within the input y = -infinity and argmax = -1.
  void (*max_forward)(const PoolGeometry& g, const T* x, T* y, std::int32_t* argmax);
  /// dx[argmax] += dy over all windows, from dx = 0.
  void (*max_backward)(const PoolGeometry& g, const T* dy, const std::int32_t* argmax, T* dx);

  /// y = sum of the window / divisor. The divisor is divisor_override, unless that is 0; else the
  /// taps within the input and, with count_include_pad, its padding (`pad` on all four sides;
  /// what a window of ceil mode has beyond that never counts). dilation must be 1.
  void (*avg_forward)(const PoolGeometry& g, const T* x, T* y, bool count_include_pad,
                      Index divisor_override);
  void (*avg_backward)(const PoolGeometry& g, const T* dy, T* dx, bool count_include_pad,
                       Index divisor_override);

  /// y[o] = mean of x over [floor(o * in / out), ceil((o + 1) * in / out)) in both axes.
  void (*adaptive_avg_forward)(const PoolGeometry& g, const T* x, T* y);
  void (*adaptive_avg_backward)(const PoolGeometry& g, const T* dy, T* dx);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::PoolKernels<float> pool_f32;
extern const kernels::PoolKernels<double> pool_f64;
}  // namespace piste::PISTE_ISA
#endif
