#include "kernels/depthwise/depthwise.h"

#include "simd/strided.h"

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
      if (a.relu) sum[p][v] = Vec<T>::select(sum[p][v] < Vec<T>::zero(), Vec<T>::zero(), sum[p][v]);
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

/// Calls row(x, w) for each row of the kernel and the row of x that it meets for outputs (d, h,
/// ...), which is null in the padding: there too a weight that is not finite shows.
template <class T, class Row>
inline __attribute__((always_inline)) void for_each_row(const kernels::DepthwisePlane<T>& a,
                                                        Index d, Index h, Row row) {
  for (Index i = 0; i < a.kernel[0]; ++i) {
    const Index z = d * a.stride[0] - a.pad[0] + i * a.dilation[0];
    for (Index j = 0; j < a.kernel[1]; ++j) {
      const Index y = h * a.stride[1] - a.pad[1] + j * a.dilation[1];
      const bool inside = z >= 0 && z < a.in[0] && y >= 0 && y < a.in[1];
      row(inside ? a.x + (z * a.in[1] + y) * a.in[2] : nullptr,
          a.weights + (i * a.kernel[1] + j) * a.kernel[2]);
    }
  }
}

/// Vectors of outputs (d, h, at...); `stride` is that of the row, 0 for any above 2.
template <class T, int stride, int Vectors>
inline __attribute__((always_inline)) void plane_vectors(const kernels::DepthwisePlane<T>& a,
                                                         Index d, Index h, Index at, T* y) {
  constexpr int lanes = Vec<T>::lanes;
  const Index step = stride ? stride : a.stride[2];
  Vec<T> sum[Vectors];
  for (int v = 0; v < Vectors; ++v) sum[v] = Vec<T>(a.bias);
  for_each_row(a, d, h, [&](const T* row, const T* w) {
    for (Index k = 0; k < a.kernel[2]; ++k) {
      const Vec<T> weight(w[k]);
      const T* x = row + (row ? at * step - a.pad[2] + k * a.dilation[2] : 0);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v)
        sum[v] = fma(row ? strided<T, stride>(x + v * lanes * step, step) : Vec<T>::zero(), weight,
                     sum[v]);
    }
  });
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) sum[v].store(y + at + v * lanes);
}

template <class T>
T plane_value(const kernels::DepthwisePlane<T>& a, Index d, Index h, Index w) {
  T sum = a.bias;
  for_each_row(a, d, h, [&](const T* row, const T* weight) {
    for (Index k = 0; k < a.kernel[2]; ++k) {
      const Index from = w * a.stride[2] - a.pad[2] + k * a.dilation[2];
      sum += (row && from >= 0 && from < a.in[2] ? row[from] : T(0)) * weight[k];
    }
  });
  return sum;
}

template <class T, int stride>
void plane_by(const kernels::DepthwisePlane<T>& a) {
  constexpr int lanes = Vec<T>::lanes, most = 4;
  T* y = a.y;
  for (Index d = 0; d < a.out[0]; ++d)
    for (Index h = 0; h < a.out[1]; ++h, y += a.out[2]) {
      Index w = 0;
      for (; w < a.first; ++w) y[w] = plane_value(a, d, h, w);
      for (; w + most * lanes <= a.end; w += most * lanes)
        plane_vectors<T, stride, most>(a, d, h, w, y);
      for (; w + lanes <= a.end; w += lanes) plane_vectors<T, stride, 1>(a, d, h, w, y);
      // The last vector begins earlier rather than end behind the last of these outputs.
      if (w < a.end && a.end - a.first >= lanes) {
        plane_vectors<T, stride, 1>(a, d, h, a.end - lanes, y);
        w = a.end;
      }
      for (; w < a.out[2]; ++w) y[w] = plane_value(a, d, h, w);
    }
}

template <class T>
void plane(const kernels::DepthwisePlane<T>& a) {
  if (a.stride[2] == 1) return plane_by<T, 1>(a);
  a.stride[2] == 2 ? plane_by<T, 2>(a) : plane_by<T, 0>(a);
}

}  // namespace

extern const kernels::DepthwiseKernels<float> depthwise_f32{tile<float>, outer<float>,
                                                            plane<float>};
extern const kernels::DepthwiseKernels<double> depthwise_f64{tile<double>, outer<double>,
                                                             plane<double>};

}  // namespace piste::PISTE_ISA
