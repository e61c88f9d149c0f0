#pragma once
// Convolutions of each channel with its own kernel on a plane as NCHW stores it: vectors lie along
// rows of outputs. All read a copy of the plane with a border of zeros in which the columns of each
// residue of the stride stand side by side, so that every load is a whole vector.

#include "piste/index.h"

namespace piste::kernels {

/// Row y of a plane into row y of its copy, for y < rows: from[y * columns_in_row + x] goes to
/// to[y * to_row + at[x % stride] + x / stride] for x < columns, unless `at` is negative there.
/// Behind the last value of a residue zeros may follow, up to the end of its vector. Only rows with
/// used[(y + first_use) % uses] are copied. Nothing at `from_end` or behind is read.
template <class T>
struct DepthwiseCopy {
  const T *from, *from_end;
  Index from_row, rows, columns, stride;
  const Index* at;
  const unsigned char* used;
  Index first_use, uses;
  T* to;
  Index to_row;
};

/// y[h * y_row + w] = bias + sum over taps t of weights[t] * x[h * x_row + w + offsets[t]] for
/// h < rows, w < columns. Row h + 1 reads for tap t what row h reads for tap t + `shared`:
/// offsets[t + shared] = offsets[t] + x_row (shared = taps: nothing). Whole vectors are read; where
/// columns fill none, more is stored too, to be overwritten by the next row, but nothing at y_size.
template <class T>
struct DepthwiseSums {
  const T* x;
  Index x_row;
  const Index* offsets;
  const T* weights;
  Index taps, shared;  // at least 1
  T bias;
  T* y;
  Index y_row, y_size, rows, columns;
};

/// gradient[t] (+)= sum over h < rows, w < columns of x[h * x_row + w + offsets[t]] *
/// dy[h * dy_row + w]. Whole vectors are read; values behind `columns` don't count.
template <class T>
struct DepthwiseDots {
  const T* x;
  Index x_row;
  const Index* offsets;
  Index taps;
  const T* dy;
  Index dy_row, rows, columns;
  T* gradient;
  bool accumulate;
};

/// to[h * columns + w] = from[h * from_row + w % stride * part + w / stride] for h < rows,
/// w < columns. Whole vectors are read.
template <class T>
struct DepthwiseMerge {
  const T* from;
  Index from_row, part, stride;
  T* to;
  Index rows, columns;
};

template <class T>
struct DepthwisePlanesKernels {
  void (*copy)(const DepthwiseCopy<T>& a);
  void (*sums)(const DepthwiseSums<T>& a);
  void (*dots)(const DepthwiseDots<T>& a);
  void (*merge)(const DepthwiseMerge<T>& a);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::DepthwisePlanesKernels<float> depthwise_planes_f32;
extern const kernels::DepthwisePlanesKernels<double> depthwise_planes_f64;
}  // namespace piste::PISTE_ISA
#endif
