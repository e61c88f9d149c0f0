#include "kernels/depthwise/depthwise.h"

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

// Pixels that share a load of the weights: 4 x 2 accumulators, and neighbours share cache lines.
constexpr int tile_pixels = 4, tile_vectors = 2;
// Pixels whose products are summed in a register before the gradient is touched.
constexpr int outer_pixels = 8;

template <class T, int Pixels, int Vectors>
[[gnu::always_inline]] inline void tile_of(const kernels::DepthwiseTile<T>& a, Index first,
                                           Index channel, const T* weights, Index width) {
  constexpr int lanes = Vec<T>::lanes;
  const T* row[Pixels];
  Vec<T> sum[Pixels][Vectors];
#pragma GCC unroll 4
  for (int p = 0; p < Pixels; ++p) {
    row[p] = a.rows[first + p] + channel;
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v)
      sum[p][v] = a.bias ? Vec<T>::load(a.bias + channel + v * lanes) : Vec<T>::zero();
  }
  for (Index t = 0; t < a.taps; ++t) {
    const Index offset = a.offsets[t];
    Vec<T> w[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v)
      w[v] = Vec<T>::load(weights + a.tap_ids[t] * width + v * lanes);
#pragma GCC unroll 4
    for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v)
        sum[p][v] = fma(Vec<T>::load(row[p] + offset + v * lanes), w[v], sum[p][v]);
  }
#pragma GCC unroll 4
  for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      if (a.relu) sum[p][v] = at_least_zero(sum[p][v]);
      sum[p][v].store(a.out[first + p] + channel + v * lanes);
    }
}

/// All channels of some pixels, before the next pixels: their rows are still near.
template <class T, int Pixels>
void pixels_of(const kernels::DepthwiseTile<T>& a, Index first) {
  constexpr int lanes = Vec<T>::lanes;
  for (Index block = 0; block < a.channels; block += a.panel) {
    const T* weights = a.weights + block * a.all_taps;
    const Index left = a.channels - block, width = left < a.panel ? left : a.panel;
    Index c = 0;
    for (; c + tile_vectors * lanes <= width; c += tile_vectors * lanes)
      tile_of<T, Pixels, tile_vectors>(a, first, block + c, weights + c, width);
    for (; c < width; c += lanes) tile_of<T, Pixels, 1>(a, first, block + c, weights + c, width);
  }
}

template <class T>
void tile(const kernels::DepthwiseTile<T>& a) {
  Index p = 0;
  for (; p + tile_pixels <= a.pixels; p += tile_pixels) pixels_of<T, tile_pixels>(a, p);
  for (; p < a.pixels; ++p) pixels_of<T, 1>(a, p);
}

template <class T, int Pixels>
void outer_of(const kernels::DepthwiseOuter<T>& a, Index first) {
  constexpr int lanes = Vec<T>::lanes;
  for (Index c = 0; c < a.channels; c += lanes) {
    const T* row[Pixels];
    Vec<T> dy[Pixels];
#pragma GCC unroll 8
    for (int p = 0; p < Pixels; ++p) {
      row[p] = a.x[first + p] + c;
      dy[p] = Vec<T>::load(a.dy + (first + p) * a.dy_stride + c);
    }
    for (Index t = 0; t < a.taps; ++t) {
      const Index offset = a.offsets[t];
      Vec<T> sum = Vec<T>::zero();
#pragma GCC unroll 8
      for (int p = 0; p < Pixels; ++p) sum = fma(Vec<T>::load(row[p] + offset), dy[p], sum);
      T* to = a.gradient + a.tap_ids[t] * a.gradient_stride + c;
      (Vec<T>::load(to) + sum).store(to);
    }
  }
}

template <class T>
void outer(const kernels::DepthwiseOuter<T>& a) {
  Index p = 0;
  for (; p + outer_pixels <= a.pixels; p += outer_pixels) outer_of<T, outer_pixels>(a, p);
  for (; p < a.pixels; ++p) outer_of<T, 1>(a, p);
}

}  // namespace

extern const kernels::DepthwiseKernels<float> depthwise_f32{tile<float>, outer<float>};
extern const kernels::DepthwiseKernels<double> depthwise_f64{tile<double>, outer<double>};

}  // namespace piste::PISTE_ISA
