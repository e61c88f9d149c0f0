#pragma once

#include "kernels/stores.h"
#include "piste/index.h"

namespace piste::kernels {

template <class T>
struct LayoutKernels {
  /// y[c * y_stride + r] = x[r * x_stride + c] for r < rows, c < columns: with rows = channels and
  /// columns = pixels one sample goes from NCHW to NHWC, and back with the two exchanged.
  /// Values of y between `rows` and `padded_rows` (padded_rows <= y_stride) are set to zero.
  void (*transpose)(const T* x, Index x_stride, T* y, Index y_stride, Index rows, Index columns,
                    Index padded_rows);

  /// y[i] = scale * x[i] + shift for i < n: images of bytes to numbers.
  void (*from_bytes)(const unsigned char* x, T* y, Index n, T scale, T shift);

  /// y[i] = scale * x[i] + shift for i < n, or x[n - 1 - i] where mirrored: a row of an image.
  void (*row)(const T* x, T* y, Index n, T scale, T shift, bool mirrored);

  /// y[i] = value for i < n.
  void (*fill)(T* y, Index n, T value, Stores stores);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::LayoutKernels<float> layout_f32;
extern const kernels::LayoutKernels<double> layout_f64;
}  // namespace piste::PISTE_ISA
#endif
