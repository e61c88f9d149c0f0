#include "kernels/planes/planes.h"

#include "simd/strided.h"

namespace piste::PISTE_ISA {
namespace {

// Register tiles. Accumulators and the operands of one step must fit the register file (16, or 32
// with AVX-512 and NEON), and at least 8 accumulators (2 FMA a cycle, 4 cycles each) keep the
// multipliers busy.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int accumulators = 24, tile_taps = 8, tile_vectors = 3;
#else
constexpr int accumulators = 12, tile_taps = 6, tile_vectors = 2;
#endif
constexpr int tile_filters = 6, widest = 8;

/// How many vectors of the other operand a tile of some filters takes.
constexpr int width_of(int filters) {
  return accumulators / filters < widest ? accumulators / filters : widest;
}

/// sum[a][b] += left[a] * right[b]. The smaller side is kept in registers: with both, one
/// accumulator of a full tile would live in memory.
template <class T, int A, int B, class Left, class Right>
inline __attribute__((always_inline)) void outer_step(Vec<T> (&sum)[A][B], const Left& left,
                                                      const Right& right) {
  if constexpr (A < B) {
    Vec<T> kept[A];
#pragma GCC unroll 12
    for (int a = 0; a < A; ++a) kept[a] = left(a);
#pragma GCC unroll 12
    for (int b = 0; b < B; ++b) {
      const Vec<T> value = A > 1 ? loaded_once(right(b)) : right(b);
#pragma GCC unroll 12
      for (int a = 0; a < A; ++a) sum[a][b] = fma(kept[a], value, sum[a][b]);
    }
  } else {
    Vec<T> kept[B];
#pragma GCC unroll 12
    for (int b = 0; b < B; ++b) kept[b] = right(b);
#pragma GCC unroll 12
    for (int a = 0; a < A; ++a) {
      const Vec<T> value = B > 1 ? loaded_once(left(a)) : left(a);
#pragma GCC unroll 12
      for (int b = 0; b < B; ++b) sum[a][b] = fma(value, kept[b], sum[a][b]);
    }
  }
}

/// What a tile at the end of y may store of its sums.
template <class T, int Filters, int Vectors>
[[gnu::noinline, gnu::cold]] void products_end(const kernels::PlaneProducts<T>& a, Index first,
                                               const T* sums) {
  constexpr int lanes = Vec<T>::lanes;
  for (int f = 0; f < Filters; ++f)
    for (int v = 0; v < Vectors; ++v, sums += lanes) {
      T* y = a.y + f * a.y_stride;
      for (Index i = 0, at = a.y_at[first + v]; i < lanes && at + i < a.y_end; ++i)
        y[at + i] = sums[i];
    }
}

/// Whole tiles from vector `first` on; returns the first vector that is left.
template <class T, int Filters, int Vectors>
Index products_tiles(const kernels::PlaneProducts<T>& a, Index first) {
  constexpr int lanes = Vec<T>::lanes;
  const Index y_stride = a.y_stride;
  for (; first + Vectors <= a.vectors; first += Vectors) {
    Vec<T> sum[Filters][Vectors];
    for (int f = 0; f < Filters; ++f)
      for (int v = 0; v < Vectors; ++v) sum[f][v] = Vec<T>(a.bias[f]);
    const T* x[Vectors];
    T* y[Vectors];
    for (int v = 0; v < Vectors; ++v) x[v] = a.x + a.x_at[first + v];
    for (int v = 0; v < Vectors; ++v) y[v] = a.y + a.y_at[first + v];
    const T* weights = a.weights;
#pragma GCC unroll 4
    for (Index k = 0; k < a.depth; ++k, weights += Filters) {
      const Index offset = a.offsets[k];
      outer_step<T, Filters, Vectors>(
          sum, [&](int f) { return Vec<T>(weights[f]); },
          [&](int v) { return Vec<T>::load(x[v] + offset); });
    }

    if (a.relu)
#pragma GCC unroll 8
      for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sum[f][v] = at_least_zero(sum[f][v]);
    if (a.y_at[first + Vectors - 1] + lanes <= a.y_end) [[likely]] {
#pragma GCC unroll 8
      for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sum[f][v].store(y[v] + f * y_stride);
    } else {
      T sums[Filters * Vectors * lanes];
#pragma GCC unroll 8
      for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) sum[f][v].store(sums + (f * Vectors + v) * lanes);
      products_end<T, Filters, Vectors>(a, first, sums);
    }
  }
  return first;
}

template <class T, int Filters, int Vectors>
void products_rest(const kernels::PlaneProducts<T>& a, Index first) {
  if (first < a.vectors) first = products_tiles<T, Filters, Vectors>(a, first);
  if constexpr (Vectors > 1) products_rest<T, Filters, Vectors - 1>(a, first);
}

template <class T, int Filters = tile_filters>
void products(int filters, const kernels::PlaneProducts<T>& a) {
  if constexpr (Filters > 1)
    if (filters < Filters) return products<T, Filters - 1>(filters, a);
  products_rest<T, Filters, width_of(Filters)>(a, 0);
}

template <class T, int Taps, int Vectors>
void outer_tile(const kernels::PlaneOuter<T>& a, Index k) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Taps][Vectors];
  for (int t = 0; t < Taps; ++t)
    for (int v = 0; v < Vectors; ++v) sum[t][v] = Vec<T>::zero();
  const T* dy = a.dy;
  for (Index r = 0; r < a.rows; ++r) {
    const T* x[Taps];
    for (int t = 0; t < Taps; ++t) x[t] = a.x + a.x_at[r] + a.offsets[k + t];
#pragma GCC unroll 4
    for (Index i = 0; i < a.columns; ++i, dy += a.dy_stride)
      outer_step<T, Taps, Vectors>(
          sum, [&](int t) { return Vec<T>(x[t][i]); },
          [&](int v) { return Vec<T>::load(dy + v * lanes); });
  }
  for (int t = 0; t < Taps; ++t)
    for (int v = 0; v < Vectors; ++v) {
      T* to = a.gradient + (k + t) * a.gradient_stride + v * lanes;
      if (a.accumulate) sum[t][v] += Vec<T>::load(to);
      sum[t][v].store(to);
    }
}

template <class T, int Taps, int Vectors>
void outer_rest(const kernels::PlaneOuter<T>& a, Index k) {
  if constexpr (Taps > 1)
    if (a.depth - k < Taps) return outer_rest<T, Taps - 1, Vectors>(a, k);
  outer_tile<T, Taps, Vectors>(a, k);
}

template <class T, int Vectors = tile_vectors>
void outer(int vectors, const kernels::PlaneOuter<T>& a) {
  if constexpr (Vectors > 1)
    if (vectors < Vectors) return outer<T, Vectors - 1>(vectors, a);
  Index k = 0;
  for (; k + tile_taps <= a.depth; k += tile_taps) outer_tile<T, tile_taps, Vectors>(a, k);
  if (k < a.depth) outer_rest<T, tile_taps, Vectors>(a, k);
}

template <class T, int Filters, int Taps>
void dots_tile(const kernels::PlaneDots<T>& a, Index k) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Filters][Taps];
#pragma GCC unroll 8
  for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 12
    for (int t = 0; t < Taps; ++t) sum[f][t] = Vec<T>::zero();
  const Index whole = a.columns / lanes * lanes, dy_stride = a.dy_stride;
  const auto mask = Vec<T>::first(a.columns - whole);
  const bool masks = whole < a.columns;
  for (Index r = 0; r < a.rows; ++r) {
    const T* dy = a.dy + a.dy_at[r];
    const T* x[Taps];
#pragma GCC unroll 12
    for (int t = 0; t < Taps; ++t) x[t] = a.x + a.x_at[r] + a.offsets[k + t];
#pragma GCC unroll 2
    for (Index i = 0; i < whole; i += lanes)
      outer_step<T, Filters, Taps>(
          sum,
          [&](int f)
              __attribute__((always_inline)) { return Vec<T>::load(dy + f * dy_stride + i); },
          [&](int t) __attribute__((always_inline)) { return Vec<T>::load(x[t] + i); });
    if (!masks) continue;
    // Both sides: a zero would not hide an infinity on the other one.
    const auto masked = [&](const T* from) __attribute__((always_inline)) {
      return Vec<T>::select(mask, Vec<T>::load(from + whole), Vec<T>::zero());
    };
    outer_step<T, Filters, Taps>(
        sum, [&](int f) __attribute__((always_inline)) { return masked(dy + f * dy_stride); },
        [&](int t) __attribute__((always_inline)) { return masked(x[t]); });
  }
  Vec<T> sums[Filters * Taps];  // in memory, where a short loop may find them
#pragma GCC unroll 8
  for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 12
    for (int t = 0; t < Taps; ++t) sums[f * Taps + t] = sum[f][t];
  for (int f = 0; f < Filters; ++f)
    for (int t = 0; t < Taps; ++t) {
      T* to = a.gradient + f * a.depth + k + t;
      const T total = sums[f * Taps + t].sum();
      *to = a.accumulate ? *to + total : total;
    }
}

template <class T, int Filters, int Taps>
void dots_rest(const kernels::PlaneDots<T>& a, Index k) {
  if constexpr (Taps > 1)
    if (a.depth - k < Taps) return dots_rest<T, Filters, Taps - 1>(a, k);
  dots_tile<T, Filters, Taps>(a, k);
}

template <class T, int Filters = tile_filters>
void dots(int filters, const kernels::PlaneDots<T>& a) {
  if constexpr (Filters > 1)
    if (filters < Filters) return dots<T, Filters - 1>(filters, a);
  // A depthwise kernel of 3 x 3 takes 9 accumulators at once.
  constexpr int width = Filters == 1 ? 9 : width_of(Filters);
  Index k = 0;
  for (; k + width <= a.depth; k += width) dots_tile<T, Filters, width>(a, k);
  if (k < a.depth) dots_rest<T, Filters, width>(a, k);
}

template <class T>
void fill_zeros(T* to, Index n) {
  constexpr int lanes = Vec<T>::lanes;
  Index i = 0;
  for (; i + lanes <= n; i += lanes) Vec<T>::zero().store(to + i);
  for (; i < n; ++i) to[i] = 0;
}

/// to[j] = from[j * step] for j < columns, where `readable` values stand from `from` on. May write
/// up to a vector behind the last one if `more` values there are still to be written.
template <class T>
inline __attribute__((always_inline)) void copy_row(const T* from, Index step, T* to, Index columns,
                                                    Index readable, Index more) {
  constexpr int lanes = Vec<T>::lanes;
  const auto load = [&](Index j) __attribute__((always_inline)) {
    return step == 1 ? Vec<T>::load(from + j) : every_second(from + 2 * j);
  };
  Index j = 0;
  if (step <= 2) {
    for (; j + lanes <= columns; j += lanes) load(j).store(to + j);
    if (j == columns) return;
    if (columns >= lanes) return load(columns - lanes).store(to + columns - lanes);
    if (readable >= step * lanes && more >= lanes) return load(0).store(to);
  }
#pragma GCC unroll 8
  for (; j < columns; ++j) to[j] = from[j * step];
}

template <class T>
void copy(const kernels::PlaneCopy<T>& a) {
  constexpr int line = 64 / sizeof(T);
  const Index gap = a.to_row - a.columns;  // zeros from one row to the next
  const Index ahead = (a.rows < 8 ? 8 / (a.rows + (a.rows == 0)) : 1) * a.from_plane;
  const Index width = a.columns * a.step;
  for (Index p = 0; p < a.planes; ++p) {
    const T* from = a.from + p * a.from_plane;
    T* to = a.to + p * a.to_plane;
    fill_zeros(to, a.above * a.to_row + a.left);
    to += a.above * a.to_row + a.left;
    Index readable = (a.rows - 1) * a.from_row + (a.columns - 1) * a.step + 1;
    for (Index r = 0; r < a.rows; ++r, from += a.from_row, to += a.to_row) {
      // The next planes, which stand too far away for the CPU to guess.
      for (Index j = 0; j < width; j += line) __builtin_prefetch(from + ahead + j);
      const Index more = (a.rows - 1 - r) * a.to_row;
      if (a.step == 1)
        copy_row(from, 1, to, a.columns, readable, more);
      else if (a.step == 2)
        copy_row(from, 2, to, a.columns, readable, more);
      else if (a.step == 3)
        copy_row(from, 3, to, a.columns, readable, more);
      else
        copy_row(from, a.step, to, a.columns, readable, more);
      readable -= a.from_row;
      fill_zeros(to + a.columns, r + 1 < a.rows ? gap : gap - a.left + a.below * a.to_row);
    }
    if (a.rows == 0) fill_zeros(to, a.below * a.to_row - a.left);
  }
}

template <class T>
void spread(const T* from, T* to, Index step, Index n) {
#pragma GCC unroll 4
  for (Index j = 0; j < n; ++j) to[j * step] = from[j];
}

template <class T>
T sum(const T* x, Index n) {
  constexpr int lanes = Vec<T>::lanes, chains = 4;
  Vec<T> total[chains];
  for (int c = 0; c < chains; ++c) total[c] = Vec<T>::zero();
  Index i = 0;
  for (; i + chains * lanes <= n; i += chains * lanes)
    for (int c = 0; c < chains; ++c) total[c] += Vec<T>::load(x + i + c * lanes);
  for (; i + lanes <= n; i += lanes) total[0] += Vec<T>::load(x + i);
  if (i < n) total[1] += Vec<T>::load_partial(x + i, static_cast<int>(n - i));
  return ((total[0] + total[1]) + (total[2] + total[3])).sum();
}

template <class T>
constexpr kernels::PlanesKernels<T> kernels_of() {
  return {tile_filters, tile_vectors, products<T>, outer<T>, dots<T>, copy<T>, spread<T>, sum<T>};
}

}  // namespace

extern const kernels::PlanesKernels<float> planes_f32{kernels_of<float>()};
extern const kernels::PlanesKernels<double> planes_f64{kernels_of<double>()};

}  // namespace piste::PISTE_ISA
