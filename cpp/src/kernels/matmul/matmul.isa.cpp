#include "kernels/matmul/matmul.h"

#include <cstring>

#include "kernels/matmul/thin.h"
#include "simd/products.h"
#include "simd/transpose.h"

namespace piste::PISTE_ISA {
namespace {

// Register tiles. Accumulators, one vector per column of b and one broadcast must fit the register
// file (16, or 32 with AVX-512 and NEON), and at least 8 accumulators (2 FMA a cycle, 4 cycles
// each) keep the multipliers busy. Rows come in fours: blocks of 4 transpose in place.
#if PISTE_VECTOR_BYTES == 64 || defined(__aarch64__)
constexpr int tile_rows = 8, tile_vectors = 3;  // 24 + 3 + 1 of 32
#else
constexpr int tile_rows = 4, tile_vectors = 3;  // 12 + 3 + 1 of 16
#endif

constexpr Index sum_rows = 128;

template <class T>
using Panel = kernels::MatmulPanel<T>;

// Indices into a tile are constants once its loops are unrolled: only then is it kept in registers.
template <class T, int Rows, int Vectors>
struct Tile {
  static constexpr int lanes = Vec<T>::lanes, width = Vectors * lanes;

  Vec<T> sum[Rows][Vectors];

  /// Packed rows of a lie side by side, others each along the depth: constant steps, as every
  /// instruction beside the multiplications counts where another thread shares the core.
  template <bool Packed>
  [[gnu::always_inline]] void multiply(const Panel<T>& p, const T* a) {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec<T>::zero();
    const T* const b = p.b;
    const Index a_row = p.a_row;
    add_products(
        sum, p.depth,
        [=](int r, Index k) __attribute__((always_inline)) {
          return Packed ? a[k * tile_rows + r] : a[r * a_row + k];
        },
        [=](Index k, int v)
            __attribute__((always_inline)) { return Vec<T>::load(b + k * width + v * lanes); });
  }

  /// All columns are there: rows of c, a vector at a time.
  [[gnu::always_inline]] void store(const Panel<T>& p, Index row, T* c) {
    if (p.row_bias && !p.accumulate) {
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) {
        const Vec<T> bias(p.row_bias[row + r]);
#pragma GCC unroll 3
        for (int v = 0; v < Vectors; ++v) sum[r][v] += bias;
      }
    }
    if (p.bias && !p.accumulate) {
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) {
        const Vec<T> bias = Vec<T>::load(p.bias + v * lanes);
#pragma GCC unroll 8
        for (int r = 0; r < Rows; ++r) sum[r][v] += bias;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) {
        T* to = c + r * p.c_stride + v * lanes;
        if (p.accumulate) sum[r][v] += Vec<T>::load(to);
        if (p.relu) sum[r][v] = at_least_zero(sum[r][v]);
        sum[r][v].store(to);
      }
  }

  [[gnu::always_inline]] void copy_to(T* buffer) const {
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) sum[r][v].store(buffer + r * width + v * lanes);
  }
};

// Rows of c that end within a vector, from a copy of the tile.
template <class T>
[[gnu::noinline]] void store_edge(const Panel<T>& p, Index row, const T* tile, int width, T* c,
                                  int rows) {
  constexpr int lanes = Vec<T>::lanes;
  const int whole = p.columns / lanes * lanes;
  for (int r = 0; r < rows; ++r, tile += width, c += p.c_stride) {
    const T* start = p.accumulate ? c : p.bias;
    const T more = p.row_bias && !p.accumulate ? p.row_bias[row + r] : T(0);
    for (int j = 0; j < whole; j += lanes) {
      Vec<T> y = Vec<T>::load(tile + j) + Vec<T>(more);
      if (start) y += Vec<T>::load(start + j);
      if (p.relu) y = at_least_zero(y);
      y.store(c + j);
    }
    for (int j = whole; j < p.columns; ++j) {
      const T y = tile[j] + more + (start ? start[j] : T(0));
      c[j] = p.relu && y < 0 ? T(0) : y;
    }
  }
}

template <class T, int Rows, int Vectors>
void tile_of(const Panel<T>& p, Index row) {
  Tile<T, Rows, Vectors> tile;
  T* c = p.c + row * p.c_stride;
  // They are needed when the sums are done: not to wait for them then.
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < Vectors; ++v) __builtin_prefetch(c + r * p.c_stride + v * tile.lanes, 1);
  const T* a = p.a + row / tile_rows * p.a_tile;
  if (p.a_step == 1)
    tile.template multiply<false>(p, a);
  else
    tile.template multiply<true>(p, a);
  if (p.columns == tile.width) return tile.store(p, row, c);
  T buffer[Rows * tile.width];
  tile.copy_to(buffer);
  store_edge(p, row, buffer, tile.width, c, Rows);
}

// The tile's size as template arguments: rows and vectors count down to the value asked for.
template <class T, int Vectors, int Rows = tile_rows - 1>
void last_tile(const Panel<T>& p, Index row) {
  if constexpr (Rows > 1)
    if (p.rows - row < Rows) return last_tile<T, Vectors, Rows - 1>(p, row);
  tile_of<T, Rows, Vectors>(p, row);
}

template <class T, int Vectors = tile_vectors>
void panel(int vectors, const Panel<T>& p) {
  if constexpr (Vectors > 1)
    if (vectors < Vectors) return panel<T, Vectors - 1>(vectors, p);
  Index row = 0;
  for (; row + tile_rows <= p.rows; row += tile_rows) tile_of<T, tile_rows, Vectors>(p, row);
  if (row < p.rows) last_tile<T, Vectors>(p, row);
}

/// A row of b to its panels, `Values` at a time.
template <class T, int Values>
[[gnu::always_inline]] inline T* copy_panels(const T* __restrict x, Index n, int width,
                                             T* __restrict to, Index to_panel) {
  for (Index j = 0; j < n; j += width, to += to_panel)
    for (int i = 0; i < width; i += Values) {
      std::memcpy(to + i, x + j + i, Values * sizeof(T));
      asm("");  // or the loop becomes a call of memcpy, for so few values
    }
  return to;
}

template <class T>
void pack(const T* __restrict x, Index x_stride, Index depth, Index n, int width, T* __restrict y,
          Index y_panel) {
  constexpr int lanes = Vec<T>::lanes;
  const Index whole = n / width * width;
  for (Index k = 0; k < depth; ++k, x += x_stride, y += width) {
    T* to = y;
    if (width == 3 * lanes)
      to = copy_panels<T, 3 * lanes>(x, whole, width, to, y_panel);
    else if (width % lanes == 0)
      to = copy_panels<T, lanes>(x, whole, width, to, y_panel);
    else
      to = copy_panels<T, 4>(x, whole, width, to, y_panel);  // tile_rows is a multiple of 4
    if (whole == n) continue;
    for (int i = 0; i < width; ++i) to[i] = whole + i < n ? x[whole + i] : T(0);
  }
}

template <class T>
void pack_rows(const T* __restrict x, Index x_stride, Index rows, Index depth, T* __restrict y) {
  constexpr int lanes = Vec<T>::lanes, n = lanes < 4 ? lanes : 4;  // rows at a time
  for (Index tile = 0; tile < rows; tile += tile_rows, y += depth * tile_rows)
    for (int r = 0; r < tile_rows && tile + r < rows; r += n) {
      const Index left = rows - tile - r;
      const T* from[n];  // rows that are not there repeat the last one: nobody reads them
      for (int i = 0; i < n; ++i) from[i] = x + (tile + r + (i < left ? i : left - 1)) * x_stride;
      T* to = y + r;
      Index k = 0;
      for (; k + lanes <= depth; k += lanes, to += lanes * tile_rows) {
        Vec<T> block[n];
#pragma GCC unroll 4
        for (int i = 0; i < n; ++i) block[i] = Vec<T>::load(from[i] + k);
        transpose_blocks<T, n>(block);
#pragma GCC unroll 4
        for (int i = 0; i < n; ++i)
          store_blocks<T, n>(block[i], to + i * tile_rows, n * tile_rows,
                             std::make_integer_sequence<int, n>());
      }
      for (; k < depth; ++k, to += tile_rows)
        for (int i = 0; i < n; ++i) to[i] = from[i][k];
    }
}

// Sums of blocks of rows are added up: a long chain of additions loses accuracy.
template <class T, int Vectors>
void vector_sums(const T* x, Index rows, Index stride, T* sums) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> total[Vectors] = {};
  for (Index begin = 0; begin < rows; begin += sum_rows) {
    const Index end = rows - begin < sum_rows ? rows : begin + sum_rows;
    Vec<T> part[Vectors] = {};
    for (Index row = begin; row < end; ++row)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) part[v] += Vec<T>::load(x + row * stride + v * lanes);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) total[v] += part[v];
  }
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) total[v].store(sums + v * lanes);
}

template <class T>
void column_sums(const T* x, Index rows, Index stride, T* sums, Index n) {
  constexpr int lanes = Vec<T>::lanes;
  Index j = 0;
  for (; j + 4 * lanes <= n; j += 4 * lanes) vector_sums<T, 4>(x + j, rows, stride, sums + j);
  for (; j + lanes <= n; j += lanes) vector_sums<T, 1>(x + j, rows, stride, sums + j);
  for (; j < n; ++j) {
    T total = 0;
    for (Index begin = 0; begin < rows; begin += sum_rows) {
      const Index end = rows - begin < sum_rows ? rows : begin + sum_rows;
      T part = 0;
      for (Index row = begin; row < end; ++row) part += x[row * stride + j];
      total += part;
    }
    sums[j] = total;
  }
}

template <class T>
constexpr kernels::MatmulKernels<T> entries() {
  return {tile_rows, tile_vectors, panel<T>,     dot<T>,
          stream<T>, pack<T>,      pack_rows<T>, column_sums<T>};
}

}  // namespace

extern const kernels::MatmulKernels<float> matmul_f32 = entries<float>();
extern const kernels::MatmulKernels<double> matmul_f64 = entries<double>();

}  // namespace piste::PISTE_ISA
