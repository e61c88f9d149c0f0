#pragma once

#include "piste/index.h"

namespace piste::kernels {

/// Local response normalisation over the channels of NCHW planes, `plane` values apart. Works on
/// the first `pixels` <= response_block values of each plane.
struct ResponseGeometry {
  Index channels, plane, pixels;
  Index before, after;  // neighbours of a channel in its window
};

inline constexpr Index response_block = 64;

template <class T>
struct ResponseKernels {
  /// y = x * d^-beta with d = k + alpha * (sum of x^2 over the channel's window).
  void (*forward)(const ResponseGeometry& g, T alpha, T beta, T k, const T* x, T* y);
  /// dx, with scratch of 2 * channels * response_block values.
  void (*backward)(const ResponseGeometry& g, T alpha, T beta, T k, const T* dy, const T* x, T* dx,
                   T* scratch);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::ResponseKernels<float> response_f32;
extern const kernels::ResponseKernels<double> response_f64;
}  // namespace piste::PISTE_ISA
#endif
