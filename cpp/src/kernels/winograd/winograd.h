#pragma once
// Winograd's minimal filtering F(m x m, 3 x 3) for m = 2 or 4 (Lavin and Gray 2016): with tiles of
// a = m + 2 values a side,
//   y = A^T [sum over channels of (G g G^T) * (B^T d B)] A,
// so that the sum over channels is one matrix product for each of the a * a frequencies. The
// points are 0, 1, -1 for m = 2 and 0, 3/4, -3/4, 3/2, -3/2 for m = 4, which halve the error of
// the textbook's 0, 1, -1, 2, -2.
//
// Functions take `channels` values at a time, a multiple of the vector's lanes; what belongs to
// frequency f = i * a + j stands f * frequency values after the first.

#include "piste/index.h"

namespace piste::kernels {

template <class T>
struct WinogradKernels {
  int tile_vectors;  // vectors of a full panel; multiply() takes 1 to tile_vectors

  /// v = B^T d B with d[i][j] = x[i * line + j * pixel].
  void (*data)(int m, const T* x, Index line, Index pixel, Index channels, T* v, Index frequency);

  /// y[i * line + j * pixel] = bias + A^T s A for i < height and j < width (at most m), then
  /// max(., 0) with relu, NaN kept. bias may be null. False where a value is not finite.
  bool (*result)(int m, const T* s, Index frequency, Index channels, const T* bias, bool relu, T* y,
                 Index line, Index pixel, int height, int width);

  /// z = A dy A^T with dy[i][j] = dy[i * line + j * pixel], 0 from height and width on: the
  /// gradient of `result`.
  void (*result_gradient)(int m, const T* dy, Index line, Index pixel, Index channels, int height,
                          int width, T* z, Index frequency);

  /// u = G g G^T with g[t] = weight[t * tap], t = 0 ... 8.
  void (*weight)(int m, const T* weight, Index tap, Index channels, T* u, Index frequency);

  /// gradient[t * tap] = (G^T u G)[t]: the gradient of `weight`.
  void (*weight_gradient)(int m, const T* u, Index frequency, Index channels, T* gradient,
                          Index tap);

  /// s[t * s_tile + k] = sum over c < channels of v[t * v_tile + c] * u[c][k], for one frequency
  /// and k < vectors * lanes.
  void (*multiply)(int vectors, const T* v, Index v_tile, const T* u, T* s, Index s_tile,
                   Index tiles, Index channels);

  /// u[c * u_stride + k] (+)= sum over tiles t of v[t * v_tile + c] * z[t * z_tile + k], for one
  /// frequency; `filters` is a multiple of the lanes, `channels` need not be.
  void (*multiply_gradient)(const T* v, Index v_tile, Index channels, const T* z, Index z_tile,
                            Index filters, T* u, Index u_stride, Index tiles, bool accumulate);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::WinogradKernels<float> winograd_f32;
extern const kernels::WinogradKernels<double> winograd_f64;
}  // namespace piste::PISTE_ISA
#endif
