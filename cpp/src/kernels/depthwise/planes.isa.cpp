#include "kernels/depthwise/planes.h"

#include "simd/residues.h"
#include "simd/transpose.h"

namespace piste::PISTE_ISA {
namespace {

// Two rows of outputs share the loads of x; so many accumulators hide the latency of their sums.
constexpr int tile_vectors = 6, single_row_vectors = 8;
// Accumulators of dots(): a kernel of 3 x 3 at once, then what larger ones leave.
constexpr int tile_taps = 9;
constexpr int fewer_taps(int taps) { return taps > 7 ? 7 : taps > 4 ? 4 : taps / 2; }

/// The first n values (all for n >= lanes, none for n <= 0), zeros behind them; nothing else is
/// read.
template <class T>
[[gnu::noinline]] Vec<T> load_last(const T* from, Index n) {
  constexpr Index lanes = Vec<T>::lanes;
  return n <= 0 ? Vec<T>::zero()
                : Vec<T>::load_partial(from, static_cast<int>(n < lanes ? n : lanes));
}

template <class T>
[[gnu::always_inline]] inline void copy_row(const T* from, T* to, Index columns, const T* end) {
  constexpr int lanes = Vec<T>::lanes;
  Index x = 0;
  for (; x + lanes <= columns; x += lanes) Vec<T>::load(from + x).store(to + x);
  if (x == columns) return;
  from += x;
  columns -= x;
  const Vec<T> last = end - from >= lanes ? Vec<T>::select(Vec<T>::first(columns),
                                                           Vec<T>::load(from), Vec<T>::zero())
                                          : load_last(from, columns);
  last.store(to + x);
}

/// stride: 2 or 3.
template <class T, int stride>
[[gnu::always_inline]] inline void copy_residues(const T* from, T* to, const Index* at,
                                                 Index columns, const T* end) {
  constexpr int lanes = Vec<T>::lanes;
  const auto part = [&](const Vec<T>(&x)[stride], Index j) __attribute__((always_inline)) {
    if (at[0] >= 0) residue<T, stride, 0>(x).store(to + at[0] + j);
    if (at[1] >= 0) residue<T, stride, 1>(x).store(to + at[1] + j);
    if constexpr (stride == 3)
      if (at[2] >= 0) residue<T, stride, 2>(x).store(to + at[2] + j);
  };
  Vec<T> x[stride];
  Index j = 0;
  for (; stride * (j + lanes) <= columns; j += lanes) {
#pragma GCC unroll 3
    for (int i = 0; i < stride; ++i) x[i] = Vec<T>::load(from + stride * j + i * lanes);
    part(x, j);
  }
  if (stride * j == columns) return;
  from += stride * j;
  columns -= stride * j;
  if (end - from >= stride * lanes) {
#pragma GCC unroll 3
    for (int i = 0; i < stride; ++i)
      x[i] = Vec<T>::select(Vec<T>::first(columns - i * lanes), Vec<T>::load(from + i * lanes),
                            Vec<T>::zero());
  } else {
#pragma GCC unroll 3
    for (int i = 0; i < stride; ++i) x[i] = load_last(from + i * lanes, columns - i * lanes);
  }
  part(x, j);
}

template <class T, int known>
void copy_rows(const kernels::DepthwiseCopy<T>& a) {
  constexpr Index ahead = 4096 / sizeof(T), line = 64 / sizeof(T);
  Index use = a.first_use;
  const T* from = a.from;
  T* to = a.to;
  for (Index y = 0; y < a.rows; ++y, from += a.from_row, to += a.to_row) {
    const bool used = a.used[use];
    if (++use == a.uses) use = 0;
    if (!used) continue;
    // Rows from the next page on, which the CPU does not guess.
    for (Index x = 0; x < a.columns; x += line) __builtin_prefetch(from + ahead + x);
    if constexpr (known == 1) {
      copy_row(from, to + a.at[0], a.columns, a.from_end);
    } else if constexpr (known > 1) {
      copy_residues<T, known>(from, to, a.at, a.columns, a.from_end);
    } else {
      for (Index r = 0; r < a.stride && r < a.columns; ++r) {
        if (a.at[r] < 0) continue;
        T* part = to + a.at[r];
        for (Index x = r; x < a.columns; x += a.stride) *part++ = from[x];
      }
    }
  }
}

template <class T>
void copy(const kernels::DepthwiseCopy<T>& a) {
  if (a.stride == 1) return copy_rows<T, 1>(a);
  if (a.stride == 2) return copy_rows<T, 2>(a);
  a.stride == 3 ? copy_rows<T, 3>(a) : copy_rows<T, 0>(a);
}

/// Goes through the vectors of all pairs of rows (or single rows). The last ones begin earlier
/// rather than end outside.
template <class T, int Rows>
struct Position {
  static constexpr Index lanes = Vec<T>::lanes;
  const kernels::DepthwiseSums<T>& a;
  const Index last_row, last_column;
  Index h = 0, w = 0;

  explicit Position(const kernels::DepthwiseSums<T>& sums)
      : a(sums),
        last_row(sums.rows - Rows),
        last_column(sums.columns > lanes ? sums.columns - lanes : 0) {}
  Index count() const { return (a.rows + Rows - 1) / Rows * ((a.columns + lanes - 1) / lanes); }
  void next(const T*& x, Index& y) {
    const Index row = h < last_row ? h : last_row, column = w < last_column ? w : last_column;
    x = a.x + row * a.x_row + column;
    y = row * a.y_row + column;
    w += lanes;
    if (w >= a.columns) h += Rows, w = 0;
  }
};

/// Of a tile at the end of y, what may be stored.
template <class T, int Rows, int Vectors>
[[gnu::noinline]] void store_last(const kernels::DepthwiseSums<T>& a, const Index* y,
                                  const T* sums) {
  constexpr int lanes = Vec<T>::lanes;
  for (int v = 0; v < Vectors; ++v)
    for (int r = 0; r < Rows; ++r, sums += lanes) {
      const Index at = y[v] + r * a.y_row;
      if (at + lanes <= a.y_size)
        Vec<T>::load(sums).store(a.y + at);
      else
        for (Index i = 0; at + i < a.y_size; ++i) a.y[at + i] = sums[i];
    }
}

template <class T, int Rows, int Vectors>
[[gnu::always_inline]] inline void sums_tile(const kernels::DepthwiseSums<T>& a,
                                             Position<T, Rows>& position) {
  constexpr int lanes = Vec<T>::lanes;
  const T* x[Vectors];
  Index y[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) position.next(x[v], y[v]);
  Vec<T> sum[Rows][Vectors];
#pragma GCC unroll 2
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec<T>(a.bias);

  const T* const weights = a.weights;
  const Index *const offsets = a.offsets, taps = a.taps, shared = a.shared;
  if constexpr (Rows == 1) {
    for (Index t = 0; t < taps; ++t) {
      const Vec<T> weight(weights[t]);
      const Index offset = offsets[t];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v)
        sum[0][v] = fma(Vec<T>::load(x[v] + offset), weight, sum[0][v]);
    }
  } else {
    // The first taps of the first row and the last ones of the second, which nothing shares: side
    // by side, as half of the sums would wait for each other.
    const Index last = taps - shared, x_row = a.x_row;
    for (Index t = 0; t < shared; ++t) {
      const Vec<T> weight(weights[t]), second(weights[last + t]);
      const Index offset = offsets[t], second_offset = offsets[last + t] + x_row;
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        sum[0][v] = fma(Vec<T>::load(x[v] + offset), weight, sum[0][v]);
        sum[1][v] = fma(Vec<T>::load(x[v] + second_offset), second, sum[1][v]);
      }
    }
    for (Index t = shared; t < taps; ++t) {
      const Vec<T> weight(weights[t]), second(weights[t - shared]);
      const Index offset = offsets[t];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        const Vec<T> value = loaded_once(Vec<T>::load(x[v] + offset));
        sum[0][v] = fma(value, weight, sum[0][v]);
        sum[1][v] = fma(value, second, sum[1][v]);
      }
    }
  }

  T* const to = a.y;
  const Index y_row = a.y_row;
  if (y[Vectors - 1] + (Rows - 1) * y_row + lanes <= a.y_size) [[likely]] {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v)
#pragma GCC unroll 2
      for (int r = 0; r < Rows; ++r) sum[r][v].store(to + y[v] + r * y_row);
    return;
  }
  T sums[Vectors * Rows * lanes];  // sum itself would be kept in memory for a call
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v)
#pragma GCC unroll 2
    for (int r = 0; r < Rows; ++r) sum[r][v].store(sums + (v * Rows + r) * lanes);
  store_last<T, Rows, Vectors>(a, y, sums);
}

template <class T, int Rows, int Vectors>
void sums_of(const kernels::DepthwiseSums<T>& a, Position<T, Rows>& position, Index left) {
  for (; left >= Vectors; left -= Vectors) sums_tile<T, Rows, Vectors>(a, position);
  if constexpr (Vectors > 1)
    if (left > 0) sums_of<T, Rows, (Vectors > 4 ? 4 : Vectors / 2)>(a, position, left);
}

template <class T>
void sums(const kernels::DepthwiseSums<T>& a) {
  if (a.rows > 1) {
    Position<T, 2> position(a);
    sums_of<T, 2, tile_vectors>(a, position, position.count());
  } else {
    Position<T, 1> position(a);
    sums_of<T, 1, single_row_vectors>(a, position, position.count());
  }
}

/// gradient[i] (+)= the sum of vector i.
template <class T, int Taps>
[[gnu::always_inline]] inline void add_sums(Vec<T> (&sum)[Taps], T* gradient, bool accumulate) {
  constexpr int lanes = Vec<T>::lanes, together = lanes < 4 ? lanes : 4;
#pragma GCC unroll 4
  for (int first = 0; first < Taps; first += together) {
    Vec<T> some[together];
#pragma GCC unroll 4
    for (int i = 0; i < together; ++i) some[i] = first + i < Taps ? sum[first + i] : Vec<T>::zero();
    const Vec<T> total = lane_sums<T, together>(some);
#pragma GCC unroll 4
    for (int i = 0; i < together; ++i) {
      if (first + i == Taps) break;
      gradient[first + i] = accumulate ? gradient[first + i] + total.v[i] : total.v[i];
    }
  }
}

template <class T, int Taps>
void dots_tile(const kernels::DepthwiseDots<T>& a, Index first) {
  // Sums of few taps would wait for each other: every second vector has its own.
  constexpr int lanes = Vec<T>::lanes, chains = Taps > 4 ? 1 : 2;
  Vec<T> sum[chains][Taps];
#pragma GCC unroll 2
  for (int c = 0; c < chains; ++c)
#pragma GCC unroll 16
    for (int t = 0; t < Taps; ++t) sum[c][t] = Vec<T>::zero();
  const Index whole = a.columns / lanes * lanes;
  const auto mask = Vec<T>::first(a.columns - whole);
  for (Index h = 0; h < a.rows; ++h) {
    const T* dy = a.dy + h * a.dy_row;
    const T* x[Taps];
#pragma GCC unroll 16
    for (int t = 0; t < Taps; ++t) x[t] = a.x + h * a.x_row + a.offsets[first + t];
    Index w = 0;
    for (; w + chains * lanes <= whole; w += chains * lanes) {
#pragma GCC unroll 2
      for (int c = 0; c < chains; ++c) {
        const Vec<T> value = Vec<T>::load(dy + w + c * lanes);
#pragma GCC unroll 16
        for (int t = 0; t < Taps; ++t)
          sum[c][t] = fma(Vec<T>::load(x[t] + w + c * lanes), value, sum[c][t]);
      }
    }
    if (chains == 2 && w < whole) {
      const Vec<T> value = Vec<T>::load(dy + w);
#pragma GCC unroll 16
      for (int t = 0; t < Taps; ++t) sum[0][t] = fma(Vec<T>::load(x[t] + w), value, sum[0][t]);
    }
    if (whole == a.columns) continue;
    // Both sides: a zero would not hide an infinity on the other one.
    const auto masked = [&](const T* from) __attribute__((always_inline)) {
      return Vec<T>::select(mask, Vec<T>::load(from + whole), Vec<T>::zero());
    };
    const Vec<T> value = masked(dy);
#pragma GCC unroll 16
    for (int t = 0; t < Taps; ++t)
      sum[chains - 1][t] = fma(masked(x[t]), value, sum[chains - 1][t]);
  }
  if constexpr (chains == 2)
#pragma GCC unroll 4
    for (int t = 0; t < Taps; ++t) sum[0][t] += sum[1][t];
  add_sums<T, Taps>(sum[0], a.gradient + first, a.accumulate);
}

template <class T, int Taps>
void dots_of(const kernels::DepthwiseDots<T>& a, Index first) {
  for (; first + Taps <= a.taps; first += Taps) dots_tile<T, Taps>(a, first);
  if constexpr (Taps > 1)
    if (first < a.taps) dots_of<T, fewer_taps(Taps)>(a, first);
}

template <class T>
void dots(const kernels::DepthwiseDots<T>& a) {
  dots_of<T, tile_taps>(a, 0);
}

/// stride: 1, 2 or 3.
template <class T, int stride>
void merge_by(const kernels::DepthwiseMerge<T>& a) {
  constexpr int lanes = Vec<T>::lanes;
  const Index size = a.rows * a.columns;
  for (Index h = 0; h < a.rows; ++h) {
    const T* from = a.from + h * a.from_row;
    for (Index w = 0; w < a.columns; w += stride * lanes, from += lanes) {
      Vec<T> parts[stride], merged[stride];
#pragma GCC unroll 3
      for (int r = 0; r < stride; ++r) parts[r] = Vec<T>::load(from + r * a.part);
      merge_residues<T, stride>(parts, merged);
      // What ends behind the row is overwritten by the next one.
      T* to = a.to + h * a.columns + w;
      const Index room = size - h * a.columns - w;
      if (room >= stride * lanes) {
#pragma GCC unroll 3
        for (int i = 0; i < stride; ++i) merged[i].store(to + i * lanes);
        continue;
      }
#pragma GCC unroll 3
      for (int i = 0; i < stride; ++i)
        if (room > i * lanes)
          merged[i].store_partial(
              to + i * lanes,
              static_cast<int>(room - i * lanes < lanes ? room - i * lanes : lanes));
    }
  }
}

template <class T>
void merge(const kernels::DepthwiseMerge<T>& a) {
  if (a.stride == 1) return merge_by<T, 1>(a);
  if (a.stride == 2) return merge_by<T, 2>(a);
  if (a.stride == 3) return merge_by<T, 3>(a);
  for (Index h = 0; h < a.rows; ++h)
    for (Index r = 0; r < a.stride; ++r) {
      const T* from = a.from + h * a.from_row + r * a.part;
      for (Index w = r; w < a.columns; w += a.stride) a.to[h * a.columns + w] = *from++;
    }
}

template <class T>
constexpr kernels::DepthwisePlanesKernels<T> kernels_of() {
  return {copy<T>, sums<T>, dots<T>, merge<T>};
}

}  // namespace

extern const kernels::DepthwisePlanesKernels<float> depthwise_planes_f32{kernels_of<float>()};
extern const kernels::DepthwisePlanesKernels<double> depthwise_planes_f64{kernels_of<double>()};

}  // namespace piste::PISTE_ISA
