#include "kernels/layout/layout.h"

#include "simd/map.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

// One block of lanes x lanes values, of which `valid` rows are read and `written` columns stored.
template <class T>
void transpose_at(const T* __restrict x, Index x_stride, T* __restrict y, Index y_stride, int valid,
                  int written) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> block[lanes];
  for (int i = 0; i < lanes; ++i)
    block[i] = i < valid ? Vec<T>::load(x + i * x_stride) : Vec<T>::zero();
  transpose_blocks(block);
  if (written == lanes)
    for (int i = 0; i < lanes; ++i) block[i].store(y + i * y_stride);
  else
    for (int i = 0; i < lanes; ++i) block[i].store_partial(y + i * y_stride, written);
}

template <class T>
void transpose(const T* __restrict x, Index x_stride, T* __restrict y, Index y_stride, Index rows,
               Index columns, Index padded_rows) {
  constexpr int lanes = Vec<T>::lanes;
  for (Index next = 0; next < padded_rows; next += lanes) {
    // The last block lies over the one before rather than be a partial one.
    const bool over = rows == padded_rows && rows >= lanes && next + lanes > rows;
    const Index r = over ? rows - lanes : next;
    const int valid = static_cast<int>(rows - r < lanes ? (rows > r ? rows - r : 0) : lanes);
    const int written = static_cast<int>(padded_rows - r < lanes ? padded_rows - r : lanes);
    Index c = 0;
    for (; c + lanes <= columns; c += lanes)
      transpose_at(x + r * x_stride + c, x_stride, y + c * y_stride + r, y_stride, valid, written);
    if (c == columns) continue;
    if (columns >= lanes) {
      c = columns - lanes;
      transpose_at(x + r * x_stride + c, x_stride, y + c * y_stride + r, y_stride, valid, written);
      continue;
    }
    for (; c < columns; ++c)
      for (int i = 0; i < written; ++i)
        y[c * y_stride + r + i] = i < valid ? x[(r + i) * x_stride + c] : T(0);
  }
}

template <class T>
void from_bytes(const unsigned char* __restrict x, T* __restrict y, Index n, T scale, T shift) {
  for (Index i = 0; i < n; ++i) y[i] = scale * static_cast<T>(x[i]) + shift;
}

template <class T>
void row(const T* __restrict x, T* __restrict y, Index n, T scale, T shift, bool mirrored) {
  if (mirrored)
    for (Index i = 0; i < n; ++i) y[i] = scale * x[n - 1 - i] + shift;
  else
    for (Index i = 0; i < n; ++i) y[i] = scale * x[i] + shift;
}

template <class T>
void fill(T* y, Index n, T value, kernels::Stores stores) {
  map_to(stores == kernels::Stores::streamed, [=] { return Vec<T>(value); }, y, n);
}

}  // namespace

extern const kernels::LayoutKernels<float> layout_f32{transpose<float>, from_bytes<float>,
                                                      row<float>, fill<float>};
extern const kernels::LayoutKernels<double> layout_f64{transpose<double>, from_bytes<double>,
                                                       row<double>, fill<double>};

}  // namespace piste::PISTE_ISA
