#pragma once
// Matrix products C (+)= A B, in three manners: register tiles over packed panels of B where there
// is reuse, dot products where both sides run along the depth, and streams over the rows of an
// unpacked B where A has few rows or little depth.

#include "piste/index.h"

namespace piste::kernels {

/// For i < rows, j < columns:
///   c(i, j) = f(start(i, j) + sum over k < depth of a(i, k) * b[k][j])
///   a(i, k) = a[i / tile_rows * a_tile + i % tile_rows * a_row + k * a_step], where either a_step
///   is 1, or a_row is 1 and a_step tile_rows: packed
///   c(i, j) = c[i * c_stride + j]
///   start = c itself to accumulate, else bias[j] + row_bias[i], of which null ones are zero
///   f = max(., 0) for relu (NaN kept), else nothing
template <class T>
struct MatmulPanel {
  Index rows, depth;
  int columns;  // at most vectors * lanes
  const T* a;
  Index a_tile, a_row, a_step;
  const T* b;  // [depth][vectors * lanes]
  T* c;
  Index c_stride;
  const T *bias, *row_bias;
  bool accumulate, relu;
};

/// For i < rows, j < columns: c(i, j) = f(bias + sum over k < depth of
/// a[i * a_stride + k] * b[j * b_stride + k]), where c(i, j) = c[i * c_row + j * c_column] and the
/// bias is bias[i * bias_row + j * bias_column] (null: zero).
template <class T>
struct MatmulDot {
  Index rows, columns, depth;
  const T* a;
  Index a_stride;
  const T* b;
  Index b_stride;
  T* c;
  Index c_row, c_column;
  const T* bias;
  Index bias_row, bias_column;
  bool relu;
};

/// For i < rows, j < columns: c[i * c_stride + j] = f(start + sum over k < depth of
/// a[i * a_row + k * a_step] * b[k * b_stride + j]), start and f as in MatmulPanel.
template <class T>
struct MatmulStream {
  Index rows, columns, depth;
  const T* a;
  Index a_row, a_step;
  const T* b;
  Index b_stride;
  T* c;
  Index c_stride;
  const T *bias, *row_bias;
  bool accumulate, relu;
};

template <class T>
struct MatmulKernels {
  int tile_rows;     // rows of a register tile
  int tile_vectors;  // vectors of a full panel; panel() takes 1 to tile_vectors
  void (*panel)(int vectors, const MatmulPanel<T>& panel);
  void (*dot)(const MatmulDot<T>& product);
  void (*stream)(const MatmulStream<T>& product);
  /// y[j / width * y_panel + k * width + j % width] = x[k * x_stride + j] for k < depth, j < n;
  /// the last panel's columns from n on are zero.
  void (*pack)(const T* x, Index x_stride, Index depth, Index n, int width, T* y, Index y_panel);
  /// y[i / tile_rows * tile_rows * depth + k * tile_rows + i % tile_rows] = x[i * x_stride + k] for
  /// i < rows, k < depth; of a last tile with fewer rows the others hold anything finite or not.
  void (*pack_rows)(const T* x, Index x_stride, Index rows, Index depth, T* y);
  /// sums[j] = sum over rows of x[row * stride + j] for j < n.
  void (*column_sums)(const T* x, Index rows, Index stride, T* sums, Index n);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::MatmulKernels<float> matmul_f32;
extern const kernels::MatmulKernels<double> matmul_f64;
}  // namespace piste::PISTE_ISA
#endif
