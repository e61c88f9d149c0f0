#pragma once
// Convolution on planes as NCHW stores them, no channel beside another: vectors lie along the
// pixels of a row, weights are broadcast. A tap of a channel is one offset for all pixels, so the
// planes are read where they stand or from a copy with a zero border.

#include "piste/index.h"

namespace piste::kernels {

/// y[f * y_stride + y_at[v] + i] = bias[f] + sum over k < depth of
///     weights[k * filters + f] * x[offsets[k] + x_at[v] + i]    for v < vectors, i < lanes,
/// or the maximum of that and 0 (NaN kept) for relu.
/// y_at ascends; vectors may overlap, and the later one stays. Nothing is stored at y_end or behind
/// (positions like y_at), but x is read for whole vectors.
template <class T>
struct PlaneProducts {
  const T* x;
  const Index* offsets;
  Index depth;  // at least 1
  const T* weights;
  const T* bias;
  const Index *x_at, *y_at;
  Index vectors;
  T* y;
  Index y_stride, y_end;
  bool relu;
};

/// gradient[k * gradient_stride + j] (+)= sum over pixels p = r * columns + i of
///     x[offsets[k] + x_at[r] + i] * dy[p * dy_stride + j]       for j < vectors * lanes,
/// r < rows, i < columns. dy has been transposed: a vector holds one pixel of several filters.
template <class T>
struct PlaneOuter {
  const T* x;
  const Index* offsets;
  Index depth;
  const Index* x_at;
  Index rows, columns;
  const T* dy;
  Index dy_stride;
  T* gradient;
  Index gradient_stride;
  bool accumulate;
};

/// gradient[f * depth + k] (+)= sum over r < rows, i < columns of
///     x[offsets[k] + x_at[r] + i] * dy[f * dy_stride + dy_at[r] + i]      for f < filters.
/// Both are read for whole vectors; values behind `columns` don't count.
template <class T>
struct PlaneDots {
  const T* x;
  const Index* offsets;
  Index depth;
  const Index *x_at, *dy_at;
  Index rows, columns;
  const T* dy;
  Index dy_stride;
  T* gradient;
  bool accumulate;
};

/// Rows of several planes into planes with a zero border: row above + r of plane p in `to` holds
/// `left` zeros, from[p * from_plane + r * from_row + j * step] for j < columns, and zeros to its
/// end. `above` rows before those and `below` rows behind them are zeros. Nothing else is read or
/// written.
template <class T>
struct PlaneCopy {
  const T* from;
  Index from_plane, from_row, step;
  T* to;
  Index to_plane, to_row;
  Index planes, above, rows, below, left, columns;
};

template <class T>
struct PlanesKernels {
  int filters;  // products() and dots() take 1 to `filters`
  int vectors;  // outer() takes 1 to `vectors`
  void (*products)(int filters, const PlaneProducts<T>& a);
  void (*outer)(int vectors, const PlaneOuter<T>& a);
  void (*dots)(int filters, const PlaneDots<T>& a);
  void (*copy)(const PlaneCopy<T>& a);
  /// to[j * step] = from[j] for j < n.
  void (*spread)(const T* from, T* to, Index step, Index n);
  /// The sum of n values, in an order that n fixes.
  T (*sum)(const T* x, Index n);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::PlanesKernels<float> planes_f32;
extern const kernels::PlanesKernels<double> planes_f64;
}  // namespace piste::PISTE_ISA
#endif
