#pragma once
// Products without packing, where one side has few rows or little depth: they run at the speed at
// which memory delivers the large side, read along its rows. Part of matmul.isa.cpp.

#include "kernels/matmul/matmul.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

/// sums[r][c] += the products of the vectors that load(from) reads at the rows of a and b.
template <class T, int Rows, int Columns, class Load>
[[gnu::always_inline]] inline void add_dots(Vec<T> (&sums)[Rows][Columns], const T* const* a,
                                            const T* const* b, Index k, Load&& load) {
  Vec<T> x[Rows];
#pragma GCC unroll 3
  for (int r = 0; r < Rows; ++r) x[r] = load(a[r] + k);
#pragma GCC unroll 4
  for (int c = 0; c < Columns; ++c) {
    const Vec<T> y = loaded_once(load(b[c] + k));
#pragma GCC unroll 3
    for (int r = 0; r < Rows; ++r) sums[r][c] = fma(x[r], y, sums[r][c]);
  }
}

/// One row of a tile: the sums of lanes of `Columns` vectors, with bias and relu, to where they go.
template <class T, int Columns>
[[gnu::always_inline]] inline void store_dots(const kernels::MatmulDot<T>& p, const Vec<T>* sums,
                                              Index i, Index j) {
  constexpr int lanes = Vec<T>::lanes, group = Columns <= 2 || lanes == 2 ? 2 : 4;
  const T* bias = p.bias ? p.bias + i * p.bias_row + j * p.bias_column : nullptr;
  T* to = p.c + i * p.c_row + j * p.c_column;
#pragma GCC unroll 2
  for (int c = 0; c < Columns; c += group) {
    constexpr int n = Columns < group ? Columns : group;
    Vec<T> some[group];
#pragma GCC unroll 4
    for (int k = 0; k < group; ++k) some[k] = k < n ? sums[c + k] : Vec<T>::zero();
    Vec<T> y = lane_sums<T, group>(some);
    if (bias)
      y += p.bias_column == 1 ? Vec<T>::load_partial(bias + c, n) : Vec<T>(bias[c * p.bias_column]);
    if (p.relu) y = at_least_zero(y);
    if (p.c_column == 1) {
      y.store_partial(to + c, n);
    } else {
#pragma GCC unroll 4
      for (int k = 0; k < n; ++k) to[(c + k) * p.c_column] = y.v[k];
    }
  }
}

template <class T, int Rows, int Columns>
void dot_tile(const kernels::MatmulDot<T>& p, Index i, Index j) {
  constexpr int lanes = Vec<T>::lanes;
  const T *a[Rows], *b[Columns];
#pragma GCC unroll 3
  for (int r = 0; r < Rows; ++r) a[r] = p.a + (i + r) * p.a_stride;
#pragma GCC unroll 4
  for (int c = 0; c < Columns; ++c) b[c] = p.b + (j + c) * p.b_stride;
  Vec<T> sums[Rows][Columns];
#pragma GCC unroll 3
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) sums[r][c] = Vec<T>::zero();
  Index k = 0;
#pragma GCC unroll 4
  for (; k + lanes <= p.depth; k += lanes)
    add_dots(sums, a, b, k, [](const T* from) { return Vec<T>::load(from); });
  const int tail = static_cast<int>(p.depth - k);
  if (tail > 0)
    add_dots(sums, a, b, k, [&](const T* from) { return Vec<T>::load_partial(from, tail); });
#pragma GCC unroll 3
  for (int r = 0; r < Rows; ++r) store_dots<T, Columns>(p, sums[r], i + r, j);
}

template <class T, int Columns>
void dot_rows(const kernels::MatmulDot<T>& p, Index j) {
  Index i = 0;
  for (; i + 3 <= p.rows && p.rows - i != 4; i += 3) dot_tile<T, 3, Columns>(p, i, j);
  for (; i + 2 <= p.rows; i += 2) dot_tile<T, 2, Columns>(p, i, j);
  if (i < p.rows) dot_tile<T, 1, Columns>(p, i, j);
}

// Tiles of 3 x 4: 12 accumulators, and 7 loads for their 12 multiplications.
template <class T>
void dot(const kernels::MatmulDot<T>& p) {
  Index j = 0;
  for (; j + 4 <= p.columns; j += 4) dot_rows<T, 4>(p, j);
  for (; j + 2 <= p.columns; j += 2) dot_rows<T, 2>(p, j);
  if (j < p.columns) dot_rows<T, 1>(p, j);
}

template <class T>
using Stream = kernels::MatmulStream<T>;

constexpr int stream_rows = 3, stream_steps = 4;  // 12 values of a, 3 sums and 1 of b: 16 registers
constexpr Index stream_bytes = 24 << 10;          // of c and b at a time: those stay in L1
// Up to so many rows of c are in L1 together; of more, so many at a time (a share of 4 KB each).
constexpr Index few_rows = 16, rows_at_once = 6;

/// A vector of each of `Rows` rows of c: start(row) and the products of x and `Steps` rows of b.
template <class T, int Rows, int Steps, class Start>
[[gnu::always_inline]] inline void stream_vectors(const Vec<T> (&x)[Rows][Steps], const T* b,
                                                  Index b_stride, T* c, Index c_stride, bool relu,
                                                  Start&& start) {
  Vec<T> sum[Rows];
#pragma GCC unroll 3
  for (int r = 0; r < Rows; ++r) sum[r] = start(r);
#pragma GCC unroll 4
  for (int s = 0; s < Steps; ++s) {
    const Vec<T> row = Vec<T>::load(b + s * b_stride);
#pragma GCC unroll 3
    for (int r = 0; r < Rows; ++r) sum[r] = fma(x[r][s], row, sum[r]);
  }
#pragma GCC unroll 3
  for (int r = 0; r < Rows; ++r) {
    if (relu) sum[r] = at_least_zero(sum[r]);
    sum[r].store(c + r * c_stride);
  }
}

/// Adds `Steps` rows of b, from k on, to `Rows` rows of c, columns [begin, end).
template <class T, int Rows, int Steps>
void stream_tile(const Stream<T>& p, Index i, Index k, Index begin, Index end) {
  constexpr int lanes = Vec<T>::lanes;
  const T* const a = p.a + i * p.a_row + k * p.a_step;
  const T* const b = p.b + k * p.b_stride;
  T* const c = p.c + i * p.c_stride;
  const Index b_stride = p.b_stride, c_stride = p.c_stride;
  const bool loaded = k > 0 || p.accumulate, relu = p.relu && k + Steps == p.depth;
  const T* const start = loaded ? c : p.bias;
  const Index start_stride = loaded ? c_stride : 0;
  T first[Rows];
  for (int r = 0; r < Rows; ++r) first[r] = !loaded && p.row_bias ? p.row_bias[i + r] : T(0);
  Vec<T> x[Rows][Steps];
#pragma GCC unroll 3
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int s = 0; s < Steps; ++s) x[r][s] = Vec<T>(a[r * p.a_row + s * p.a_step]);
  const Index whole = begin + (end - begin) / lanes * lanes;
  if (start) {
    for (Index j = begin; j < whole; j += lanes)
      stream_vectors(x, b + j, b_stride, c + j, c_stride, relu,
                     [&](int r) { return Vec<T>::load(start + r * start_stride + j); });
  } else {
    for (Index j = begin; j < whole; j += lanes)
      stream_vectors(x, b + j, b_stride, c + j, c_stride, relu,
                     [&](int r) { return Vec<T>(first[r]); });
  }
  for (Index j = whole; j < end; ++j)
    for (int r = 0; r < Rows; ++r) {
      T sum = start ? start[r * start_stride + j] : first[r];
      for (int s = 0; s < Steps; ++s) sum += a[r * p.a_row + s * p.a_step] * b[s * b_stride + j];
      c[r * c_stride + j] = relu && sum < 0 ? T(0) : sum;
    }
}

template <class T, int Rows, int Steps = stream_steps>
void stream_steps_of(const Stream<T>& p, Index i, Index k, Index begin, Index end) {
  if constexpr (Steps > 1)
    if (p.depth - k < Steps) return stream_steps_of<T, Rows, Steps - 1>(p, i, k, begin, end);
  stream_tile<T, Rows, Steps>(p, i, k, begin, end);
}

// Of a product of some rows and little depth, vectors of c stay in registers for all of it: rows of
// b are read some vectors at a time, which is bad for memory, but b is in the cache.
constexpr int block_rows = 6, block_vectors = 2;  // 12 + 2 + 1 of 16 registers
constexpr Index least_block_rows = 4, least_block_depth = 8, most_block_depth = 128;

template <class T, int Rows>
void block_tile(const Stream<T>& p, Index i, Index j) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Rows][block_vectors];
  T* const c = p.c + i * p.c_stride + j;
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < block_vectors; ++v)
      sum[r][v] = p.accumulate ? Vec<T>::load(c + r * p.c_stride + v * lanes)
                  : p.bias     ? Vec<T>::load(p.bias + j + v * lanes)
                               : Vec<T>(p.row_bias ? p.row_bias[i + r] : T(0));
  const T *a = p.a + i * p.a_row, *b = p.b + j;
  const Index a_row = p.a_row, a_step = p.a_step, b_stride = p.b_stride;
#pragma GCC unroll 2
  for (Index k = 0; k < p.depth; ++k, a += a_step, b += b_stride) {
    Vec<T> row[block_vectors];
#pragma GCC unroll 2
    for (int v = 0; v < block_vectors; ++v) row[v] = Vec<T>::load(b + v * lanes);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const Vec<T> x = loaded_once(Vec<T>(a[r * a_row]));
#pragma GCC unroll 2
      for (int v = 0; v < block_vectors; ++v) sum[r][v] = fma(x, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < block_vectors; ++v) {
      if (p.relu) sum[r][v] = at_least_zero(sum[r][v]);
      sum[r][v].store(c + r * p.c_stride + v * lanes);
    }
}

// Parts of 4 rows or more, of at most block_rows each, have at least 3.
template <class T, int Rows = block_rows>
void block_tile_of(Index rows, const Stream<T>& p, Index i, Index j) {
  if constexpr (Rows > 3)
    if (rows < Rows) return block_tile_of<T, Rows - 1>(rows, p, i, j);
  block_tile<T, Rows>(p, i, j);
}

/// The columns of whole blocks; returns how many those are.
template <class T>
Index blocks(const Stream<T>& p) {
  constexpr Index width = block_vectors * Vec<T>::lanes;
  const Index parts = (p.rows + block_rows - 1) / block_rows, rows = (p.rows + parts - 1) / parts;
  Index j = 0;
  for (; j + width <= p.columns; j += width)
    for (Index i = 0; i < p.rows; i += rows)
      block_tile_of<T>(p.rows - i < rows ? p.rows - i : rows, p, i, j);
  return j;
}

template <class T>
void stream(const Stream<T>& all) {
  Stream<T> p = all;
  if (p.rows >= least_block_rows && p.rows <= few_rows && p.depth >= least_block_depth &&
      p.depth <= most_block_depth) {
    const Index done = blocks(p);
    p.columns -= done;
    p.b += done;
    p.c += done;
    if (p.bias) p.bias += done;
    if (!p.columns) return;
  }
  constexpr Index lanes = Vec<T>::lanes;
  // Few rows of c come by again and again, with another few rows of b each time; many hardly ever.
  const Index rows = p.rows <= few_rows && p.rows < p.depth ? p.rows + stream_steps : rows_at_once;
  const Index most = stream_bytes / (rows * Index(sizeof(T) * lanes)) * lanes;
  const Index blocks = (p.columns - 1) / most + 1;
  const Index block = ((p.columns + blocks - 1) / blocks + lanes - 1) / lanes * lanes;
  for (Index begin = 0; begin < p.columns; begin += block) {
    const Index end = p.columns - begin < block ? p.columns : begin + block;
    for (Index k = 0; k < p.depth; k += stream_steps) {
      Index i = 0;
      for (; i + 3 <= p.rows && p.rows - i != 4; i += 3) stream_steps_of<T, 3>(p, i, k, begin, end);
      for (; i + 2 <= p.rows; i += 2) stream_steps_of<T, 2>(p, i, k, begin, end);
      if (i < p.rows) stream_steps_of<T, 1>(p, i, k, begin, end);
    }
  }
}

}  // namespace
}  // namespace piste::PISTE_ISA
