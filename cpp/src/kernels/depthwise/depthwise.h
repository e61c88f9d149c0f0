#pragma once
// Convolutions of each channel with its own kernel over NHWC rows: vectors run along channels.

#include "piste/index.h"

namespace piste::kernels {

/// out[p][c] = f(bias[c] + sum over taps t of rows[p][offsets[t] + c] * w(tap_ids[t], c)) for
/// p < pixels and c < channels, f = max(., 0) for relu (NaN kept). Channels are whole vectors.
/// w(tap, c) = weights[block * panel * all_taps + tap * width + c % panel], where a block is
/// `panel` channels, the last one as wide as are left.
template <class T>
struct DepthwiseTile {
  const T* const* rows;
  T* const* out;
  Index pixels;
  const Index *offsets, *tap_ids;
  Index taps, all_taps;
  const T* weights;
  Index channels, panel;
  const T* bias;  // or null
  bool relu;
};

/// gradient[tap_ids[t] * gradient_stride + c] += sum over pixels of x[p][offsets[t] + c] *
/// dy[p * dy_stride + c] for c < channels, which are whole vectors.
template <class T>
struct DepthwiseOuter {
  const T* const* x;
  const T* dy;
  Index dy_stride, pixels;
  const Index *offsets, *tap_ids;
  Index taps;
  T* gradient;
  Index gradient_stride, channels;
};

template <class T>
struct DepthwiseKernels {
  void (*tile)(const DepthwiseTile<T>& tile);
  void (*outer)(const DepthwiseOuter<T>& tile);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::DepthwiseKernels<float> depthwise_f32;
extern const kernels::DepthwiseKernels<double> depthwise_f64;
}  // namespace piste::PISTE_ISA
#endif
