#include "kernels/gemm/gemm.h"

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

// Register tiles. Accumulators, one vector per column of weights and one broadcast must fit the
// register file (16, or 32 with AVX-512), and at least 8 accumulators (2 FMA a cycle, 4 cycles
// each) keep the multipliers busy.
#if defined(__AVX512F__)
constexpr int tile_rows = 8, tile_vectors = 3;  // 24 + 3 + 1 of 32
#else
constexpr int tile_rows = 6, tile_vectors = 2;  // 12 + 2 + 1 of 16
#endif

template <class T, int Rows, int Vectors>
void tile_of(const kernels::GemmTile<T>& a) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Rows][Vectors];
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < Vectors; ++v)
      sum[r][v] = a.bias ? Vec<T>::load(a.bias + v * lanes) : Vec<T>::zero();

  for (Index tap = 0; tap < a.taps; ++tap) {
    const T* row[Rows];
    for (int r = 0; r < Rows; ++r) row[r] = a.rows[r] + a.offsets[tap] + a.first_channel;
    const T* panel = a.panels[tap];
    for (Index c = 0; c < a.channels; ++c, panel += Vectors * lanes) {
      Vec<T> weight[Vectors];
      for (int v = 0; v < Vectors; ++v) weight[v] = Vec<T>::load(panel + v * lanes);
      for (int r = 0; r < Rows; ++r) {
        const Vec<T> x(row[r][c]);
        for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(x, weight[v], sum[r][v]);
      }
    }
  }

  for (int r = 0; r < Rows; ++r) {
    T* out = a.out[r] + a.first_column;
    for (int v = 0; v < Vectors; ++v) {
      Vec<T> y = sum[r][v];
      if (a.relu) y = Vec<T>::select(y < Vec<T>::zero(), Vec<T>::zero(), y);
      const int left = a.columns - v * lanes;
      if (left >= lanes)
        y.store(out + v * lanes);
      else if (left > 0)
        y.store_partial(out + v * lanes, left);
    }
  }
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
  tile_rows_of<T, tile_rows, Vectors>(rows, a);
}

template <class T, int Channels, int Vectors>
void outer_of(const kernels::OuterTile<T>& a, Index c) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Channels][Vectors];
  for (int i = 0; i < Channels; ++i)
    for (int v = 0; v < Vectors; ++v) sum[i][v] = Vec<T>::zero();
  const T* dy = a.dy;
  for (Index p = 0; p < a.pixels; ++p, dy += a.dy_stride) {
    const T* x = a.x[p] + a.first_channel + c;
    Vec<T> g[Vectors];
    for (int v = 0; v < Vectors; ++v) g[v] = Vec<T>::load(dy + v * lanes);
    for (int i = 0; i < Channels; ++i) {
      const Vec<T> value(x[i]);
      for (int v = 0; v < Vectors; ++v) sum[i][v] = fma(value, g[v], sum[i][v]);
    }
  }
  for (int i = 0; i < Channels; ++i)
    for (int v = 0; v < Vectors; ++v) {
      T* to = a.gradient + (c + i) * a.gradient_stride + v * lanes;
      if (a.accumulate) sum[i][v] += Vec<T>::load(to);
      sum[i][v].store(to);
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
  for (; c + tile_rows <= a.channels; c += tile_rows) outer_of<T, tile_rows, Vectors>(a, c);
  if (c < a.channels) outer_rest<T, tile_rows - 1, Vectors>(a, c);
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

template <class T>
void column_sums(const T* x, Index rows, Index stride, T* sums, Index n, bool accumulate) {
  constexpr int lanes = Vec<T>::lanes;
  for (Index j = 0; j < n; j += lanes) {
    const int count = static_cast<int>(n - j < lanes ? n - j : lanes);
    Vec<T> total = accumulate ? Vec<T>::load_partial(sums + j, count) : Vec<T>::zero();
    if (count == lanes)
      for (Index row = 0; row < rows; ++row) total += Vec<T>::load(x + row * stride + j);
    else
      for (Index row = 0; row < rows; ++row)
        total += Vec<T>::load_partial(x + row * stride + j, count);
    total.store_partial(sums + j, count);
  }
}

// Four chains of sums hide the latency of an addition, and blocks keep them short.
template <class T>
T total(const T* x, Index n) {
  constexpr int lanes = Vec<T>::lanes;
  constexpr Index block = 256 * lanes;
  Vec<T> sum = Vec<T>::zero();
  Index i = 0;
  while (i + 4 * lanes <= n) {
    const Index end = n - i < block ? n : i + block;
    Vec<T> part[4];
    for (auto& p : part) p = Vec<T>::zero();
    for (; i + 4 * lanes <= end; i += 4 * lanes)
      for (int j = 0; j < 4; ++j) part[j] += Vec<T>::load(x + i + j * lanes);
    sum += (part[0] + part[1]) + (part[2] + part[3]);
  }
  for (; i < n; i += lanes) {
    const int count = static_cast<int>(n - i < lanes ? n - i : lanes);
    sum += Vec<T>::load_partial(x + i, count);
  }
  return sum.sum();
}

}  // namespace

extern const kernels::GemmKernels<float> gemm_f32{tile_rows,    tile_vectors, tile<float>,
                                                  outer<float>, sum<float>,   column_sums<float>,
                                                  total<float>};
extern const kernels::GemmKernels<double> gemm_f64{tile_rows,     tile_vectors, tile<double>,
                                                   outer<double>, sum<double>,  column_sums<double>,
                                                   total<double>};

}  // namespace piste::PISTE_ISA
