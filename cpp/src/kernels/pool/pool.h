#pragma once

#include <cstdint>

#include "piste/index.h"

namespace piste::kernels {

/// What one output coordinate takes of one axis: the input's pixels first + k * step, k < count.
struct PoolSpan {
  Index first, count, step;
  Index divisor;  // the axis' factor of an average's divisor
};

/// Pooling windows over one NHWC sample of up to three axes (depth, height, width; absent ones
/// have extent 1): all combinations of one span per axis.
struct PoolGeometry {
  Index channels;
  Index row_stride;  // channels padded to a multiple of the vector width, the same for x and y
  Index in[3], out[3];
  const PoolSpan* spans[3];  // out[axis] of them
};

/// Windows over one row of pixels, the same everywhere but at its ends: outputs [first, end), at
/// least a vector of them, take `kernel` pixels side by side, `stride` (1 or 2) from one to the
/// next.
struct PoolRow {
  const PoolSpan* spans;  // of `out` outputs; step 1
  Index out, kernel, stride, first, end;
  Index divisor;  // the other axes' factor of an average's
};

/// One sample per call: x and dx are [input pixels][row_stride], y and dy [output
/// pixels][row_stride], and so is argmax. Channels between `channels` and `row_stride` may hold
/// anything when read, and anything may be written to them.
template <class T>
struct PoolKernels {
  /// y = the largest value of each window; argmax (may be null) = its input pixel, counted row by
  /// row. Of equal values the first counts; a NaN is larger than any number, and the last NaN
  /// counts. Where a span is empty y = -infinity and argmax = -1.
  void (*max_forward)(const PoolGeometry& g, const T* x, T* y, std::int32_t* argmax);
  /// As max_forward without argmax, of one channel's only row.
  void (*max_row)(const PoolRow& row, const T* x, T* y);
  /// dx[argmax] += dy over all windows, from dx = 0.
  void (*max_backward)(const PoolGeometry& g, const T* dy, const std::int32_t* argmax, T* dx);

  /// y = sum of the window / divisor: divisor_override, or unless that is given (not 0) the product
  /// of the spans' divisors.
  void (*avg_forward)(const PoolGeometry& g, const T* x, T* y, Index divisor_override);
  /// As avg_forward, of one channel's only row.
  void (*avg_row)(const PoolRow& row, const T* x, T* y, Index divisor_override);
  void (*avg_backward)(const PoolGeometry& g, const T* dy, T* dx, Index divisor_override);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::PoolKernels<float> pool_f32;
extern const kernels::PoolKernels<double> pool_f64;
}  // namespace piste::PISTE_ISA
#endif
