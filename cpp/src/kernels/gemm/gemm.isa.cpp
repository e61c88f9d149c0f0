#include "kernels/gemm/gemm.h"

#include <iterator>

#include "simd/products.h"

namespace piste::PISTE_ISA {
namespace {

// Register tiles. Accumulators, one vector per column of weights and one broadcast must fit the
// register file (16, or 32 with AVX-512), and at least 8 accumulators (2 FMA a cycle, 4 cycles
// each) keep the multipliers busy.
#if defined(__AVX512F__)
constexpr int tile_vectors = 3, tile_rows[3] = {12, 12, 8};  // at most 24 + 3 + 1 of 32
constexpr int outer_channels = 8, spread_rows[] = {0, 12, 12, 8, 6};
constexpr int line_rows[] = {0, 0, 0, 16, 0, 16, 0, 16};  // and a vector per tap
#else
constexpr int tile_vectors = 2, tile_rows[3] = {10, 6, 0};  // at most 12 + 2 + 1 of 16
constexpr int outer_channels = 6, spread_rows[] = {0, 8, 6, 4};
constexpr int line_rows[] = {0, 0, 0, 12, 0, 10, 0, 8};  // and a vector per tap
#endif

/// What stands behind a row's last column is not the tile's.
template <class T, int Vectors>
[[gnu::noinline]] void store_edge(const kernels::GemmTile<T>& a, const Vec<T>* sums, int rows) {
  constexpr int lanes = Vec<T>::lanes;
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < Vectors; ++v) {
      const int left = a.columns - v * lanes, count = left < lanes ? left : lanes;
      if (count <= 0) continue;
      T* out = a.out[r] + a.first_column + v * lanes;
      Vec<T> y = sums[r * Vectors + v];
      if (a.accumulate) y += Vec<T>::load_partial(out, count);
      if (a.relu) y = at_least_zero(y);
      y.store_partial(out, count);
    }
}

// Loops over a tile's sums are unrolled: only then do these never leave the registers.
template <class T, int Rows, int Vectors>
inline __attribute__((always_inline)) void store_sums(const kernels::GemmTile<T>& a,
                                                      const Vec<T> (&sum)[Rows][Vectors]) {
  constexpr int lanes = Vec<T>::lanes;
  if (a.columns < Vectors * lanes) {
    Vec<T> sums[Rows * Vectors];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) sums[r * Vectors + v] = sum[r][v];
    return store_edge<T, Vectors>(a, sums, Rows);
  }
  const Index first = a.first_column;
  const bool accumulate = a.accumulate, relu = a.relu;
  T* const* const rows = a.out;
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    T* out = rows[r] + first;
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) {
      Vec<T> y = sum[r][v];
      if (accumulate) y += Vec<T>::load(out + v * lanes);
      (relu ? at_least_zero(y) : y).store(out + v * lanes);
    }
  }
}

/// What the sums start from.
template <class T, int Rows, int Vectors>
inline __attribute__((always_inline)) void start_sums(const kernels::GemmTile<T>& a,
                                                      Vec<T> (&sum)[Rows][Vectors]) {
  Vec<T> bias[Vectors];
#pragma GCC unroll 3
  for (int v = 0; v < Vectors; ++v)
    bias[v] = a.bias ? Vec<T>::load(a.bias + v * Vec<T>::lanes) : Vec<T>::zero();
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) sum[r][v] = bias[v];
}

template <class T, int Rows, int Vectors>
void tile_of(const kernels::GemmTile<T>& a) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Rows][Vectors];
  start_sums(a, sum);

  for (Index tap = 0; tap < a.taps; ++tap) {
    const T* row[Rows];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) row[r] = a.rows[r] + a.offsets[tap] + a.first_channel;
    const T* panel = a.panels[tap];
    add_products(
        sum, a.channels, [&](int r, Index c) __attribute__((always_inline)) { return row[r][c]; },
        [=](Index c, int v) __attribute__((always_inline)) {
          return Vec<T>::load(panel + (c * Vectors + v) * lanes);
        });
  }

  store_sums(a, sum);
}

// The tile's size as template arguments: rows and vectors count down to the value asked for.
template <class T, int Rows, int Vectors>
void tile_rows_of(int rows, const kernels::GemmTile<T>& a) {
  if constexpr (Rows > 1)
    if (rows < Rows) return tile_rows_of<T, Rows - 1, Vectors>(rows, a);
  tile_of<T, Rows, Vectors>(a);
}

template <class T, int Vectors = tile_vectors>
void tile(int rows, int vectors, const kernels::GemmTile<T>& a) {
  if constexpr (Vectors > 1)
    if (vectors < Vectors) return tile<T, Vectors - 1>(rows, vectors, a);
  tile_rows_of<T, tile_rows[Vectors - 1], Vectors>(rows, a);
}

// Each value meets the weights of all taps, which stay in registers with the sums.
template <class T, int Taps>
void line_of(const kernels::GemmTile<T>& a) {
  constexpr int rows = line_rows[Taps], lanes = Vec<T>::lanes;
  Vec<T> sum[rows][1];
  start_sums(a, sum);
  for (Index tap = 0; tap < a.taps; ++tap) {
    const T* row = a.rows[0] + a.offsets[tap] + a.first_channel;
    Vec<T> weight[Taps];
    for (int t = 0; t < Taps; ++t) weight[t] = Vec<T>::load(a.panels[tap] + t * lanes);
#pragma GCC unroll 32
    for (int i = 0; i < rows + Taps - 1; ++i) {
      const Vec<T> x(row[i]);
#pragma GCC unroll 8
      for (int t = 0; t < Taps; ++t)
        if (i - t >= 0 && i - t < rows) sum[i - t][0] = fma(x, weight[t], sum[i - t][0]);
    }
  }
  store_sums(a, sum);
}

template <class T>
void line(const kernels::GemmTile<T>& a) {
  if (a.channels == 3) return line_of<T, 3>(a);
  if (a.channels == 5) return line_of<T, 5>(a);
  line_of<T, 7>(a);
}

template <class T, int Rows, int Vectors>
void spread_of(const kernels::SpreadTile<T>& a, Index row, Index run, Index first) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Rows][Vectors];
  const T* from[Rows];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    from[r] = a.from[row + r];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec<T>::zero();
  }
  const Index width = (a.values + lanes - 1) / lanes * lanes;
  const T* panel = a.panels + run * a.channels * width + first;
  add_products(
      sum, a.channels, [&](int r, Index c) __attribute__((always_inline)) { return from[r][c]; },
      [=](Index c, int v)
          __attribute__((always_inline)) { return Vec<T>::load(panel + c * width + v * lanes); });
  // What stands behind a run gets nothing: 0 times infinity is no 0.
  const Index left = a.values - first - (Vectors - 1) * lanes;
  if (left < lanes) {
    const auto mask = Vec<T>::first(static_cast<int>(left));
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
      sum[r][Vectors - 1] = Vec<T>::select(mask, sum[r][Vectors - 1], Vec<T>::zero());
  }
  const Index at = a.offsets[run] + first;
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    T* to = a.to[row + r] + at;
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      (Vec<T>::load(to + v * lanes) + sum[r][v]).store(to + v * lanes);
  }
}

template <class T, int Rows, int Vectors>
void spread_rest(const kernels::SpreadTile<T>& a, Index row, Index run, Index first) {
  if constexpr (Rows > 1)
    if (a.rows - row < Rows) return spread_rest<T, Rows - 1, Vectors>(a, row, run, first);
  spread_of<T, Rows, Vectors>(a, row, run, first);
}

template <class T, int Vectors>
void spread_columns(Index vectors, const kernels::SpreadTile<T>& a, Index run, Index first) {
  if constexpr (Vectors > 1)
    if (vectors < Vectors) return spread_columns<T, Vectors - 1>(vectors, a, run, first);
  constexpr int rows = spread_rows[Vectors];
  Index row = 0;
  for (; row + rows <= a.rows; row += rows) spread_of<T, rows, Vectors>(a, row, run, first);
  if (row < a.rows) spread_rest<T, rows, Vectors>(a, row, run, first);
}

template <class T>
void spread(const kernels::SpreadTile<T>& a) {
  constexpr int most = std::size(spread_rows) - 1;
  const Index vectors = (a.values + Vec<T>::lanes - 1) / Vec<T>::lanes;
  const Index shares = (vectors + most - 1) / most;  // as even as can be
  for (Index run = 0; run < a.runs; ++run)
    for (Index i = 0; i < shares; ++i) {
      const Index first = vectors * i / shares, end = vectors * (i + 1) / shares;
      spread_columns<T, most>(end - first, a, run, first * Vec<T>::lanes);
    }
}

template <class T>
void widen(const T* dense, Index channels, T* rows, Index stride, Index pixels) {
  constexpr int lanes = Vec<T>::lanes;
  for (Index p = 0; p < pixels; ++p, dense += channels, rows += stride)
    for (Index c = 0; c < stride; c += lanes) {
      const Index left = channels - c;
      Vec<T> y = Vec<T>::zero();
      if (left >= lanes)
        y = Vec<T>::load(dense + c);
      else if (left > 0)
        y = Vec<T>::select(Vec<T>::first(static_cast<int>(left)), Vec<T>::load(dense + c), y);
      y.store(rows + c);
    }
}

template <class T, int Channels, int Vectors>
void outer_of(const kernels::OuterTile<T>& a, Index c) {
  constexpr int lanes = Vec<T>::lanes;
  // Where the tile is small, pixels alternate between two sets of sums, which then are enough to
  // keep the multipliers busy.
  constexpr int sets = Channels * Vectors <= 6 ? 2 : 1;
  Vec<T> sum[sets][Channels][Vectors];
#pragma GCC unroll 2
  for (auto& set : sum)
#pragma GCC unroll 8
    for (auto& row : set)
#pragma GCC unroll 3
      for (auto& value : row) value = Vec<T>::zero();
  const auto add = [&](Vec<T>(&set)[Channels][Vectors], Index p) {
    const T* x = a.x[p] + a.first_channel + c;
    const T* dy = a.dy[p] + a.first_column;
    // For the next channels, from rows too far apart for the CPU to guess. With fewer channels at a
    // time loads, two a cycle, would bound the tile.
    if constexpr (outer_channels >= 8) __builtin_prefetch(x + 64 / sizeof(T));
    Vec<T> g[Vectors];
    for (int v = 0; v < Vectors; ++v) g[v] = Vec<T>::load(dy + v * lanes);
    for (int i = 0; i < Channels; ++i) {
      const Vec<T> value(x[i]);
      for (int v = 0; v < Vectors; ++v) set[i][v] = fma(value, g[v], set[i][v]);
    }
  };
  Index p = 0;
#pragma GCC unroll 4
  for (; p + sets <= a.pixels; p += sets)
    for (int set = 0; set < sets; ++set) add(sum[set], p + set);
  for (; p < a.pixels; ++p) add(sum[0], p);
#pragma GCC unroll 8
  for (int i = 0; i < Channels; ++i)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) {
      Vec<T> total = sum[0][i][v];
      if constexpr (sets == 2) total += sum[1][i][v];
      T* to = a.gradient + (c + i) * a.gradient_stride + v * lanes;
      if (a.accumulate) total += Vec<T>::load(to);
      total.store(to);
    }
}

template <class T, int Channels, int Vectors>
void outer_rest(const kernels::OuterTile<T>& a, Index c) {
  if constexpr (Channels > 1)
    if (a.channels - c < Channels) return outer_rest<T, Channels - 1, Vectors>(a, c);
  outer_of<T, Channels, Vectors>(a, c);
}

template <class T, int Vectors = tile_vectors>
void outer(int vectors, const kernels::OuterTile<T>& a) {
  if constexpr (Vectors > 1)
    if (vectors < Vectors) return outer<T, Vectors - 1>(vectors, a);
  Index c = 0;
  for (; c + outer_channels <= a.channels; c += outer_channels)
    outer_of<T, outer_channels, Vectors>(a, c);
  if (c < a.channels) outer_rest<T, outer_channels - 1, Vectors>(a, c);
}

template <class T>
void sum(const T* const* parts, Index count, Index offset, T* out, Index n) {
  constexpr int lanes = Vec<T>::lanes;
  Index i = 0;
  for (; i + lanes <= n; i += lanes) {
    Vec<T> total = Vec<T>::load(parts[0] + offset + i);
    for (Index p = 1; p < count; ++p) total += Vec<T>::load(parts[p] + offset + i);
    total.store(out + i);
  }
  for (; i < n; ++i) {
    T total = parts[0][offset + i];
    for (Index p = 1; p < count; ++p) total += parts[p][offset + i];
    out[i] = total;
  }
}

// Four rows at a time, so that sums don't wait for each other.
template <class T>
void column_sums(const T* x, Index rows, Index stride, T* sums, Index n, bool accumulate) {
  constexpr int lanes = Vec<T>::lanes;
  for (Index j = 0; j < n; j += lanes) {
    const int count = static_cast<int>(n - j < lanes ? n - j : lanes);
    const auto load = [=](Index row) {
      const T* from = x + row * stride + j;
      // What stands behind a row may be read as long as it is of the array.
      const bool inside = row * stride + j + lanes <= (rows - 1) * stride + n;
      return inside ? Vec<T>::load(from) : Vec<T>::load_partial(from, count);
    };
    Vec<T> part[4];
    for (auto& p : part) p = Vec<T>::zero();
    Index row = 0;
    for (; row + 4 < rows; row += 4)
      for (int i = 0; i < 4; ++i) part[i] += load(row + i);
    for (; row < rows; ++row) part[0] += load(row);
    Vec<T> total = (part[0] + part[1]) + (part[2] + part[3]);
    if (accumulate) total += Vec<T>::load_partial(sums + j, count);
    total.store_partial(sums + j, count);
  }
}

template <class T>
constexpr kernels::GemmKernels<T> kernels_of{
    {tile_rows[0], tile_rows[1], tile_rows[2]},
    tile_vectors,
    tile<T>,
    {0, 0, 0, line_rows[3], 0, line_rows[5], 0, line_rows[7]},
    line<T>,
    spread<T>,
    widen<T>,
    outer<T>,
    sum<T>,
    column_sums<T>};

}  // namespace

extern const kernels::GemmKernels<float> gemm_f32{kernels_of<float>};
extern const kernels::GemmKernels<double> gemm_f64{kernels_of<double>};

}  // namespace piste::PISTE_ISA
