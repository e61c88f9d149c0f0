#include "kernels/winograd/winograd.h"

#include "simd/products.h"

namespace piste::PISTE_ISA {
namespace {

// What is inlined by force has constant block sizes and offsets then, and unrolled loops.
#define PISTE_INLINE __attribute__((always_inline))

// The one-dimensional maps by A, B and G, written out to share sums: a point p and its negative
// differ in the odd powers only.
template <class T, int M>
struct Filter;

template <class T>
struct Filter<T, 2> {
  using V = Vec<T>;
  PISTE_INLINE static void data(const V* d, V* v) {
    v[0] = d[2] - d[0];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  PISTE_INLINE static void result(const V* s, V* y) {
    y[0] = s[0] + s[1] + s[2];
    y[1] = s[1] - s[2] + s[3];
  }
  PISTE_INLINE static void result_gradient(const V* y, V* z) {
    z[0] = y[0];
    z[1] = y[0] + y[1];
    z[2] = y[0] - y[1];
    z[3] = y[1];
  }
  PISTE_INLINE static void weight(const V* g, V* u) {
    const V half(T(0.5)), even = half * (g[0] + g[2]), odd = half * g[1];
    u[0] = -g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
  }
  PISTE_INLINE static void weight_gradient(const V* u, V* g) {
    const V half(T(0.5)), even = half * (u[1] + u[2]);
    g[0] = even - u[0];
    g[1] = half * (u[1] - u[2]);
    g[2] = even + u[3];
  }
};

template <class T>
struct Filter<T, 4> {
  using V = Vec<T>;
  static constexpr T a = T(0.75), b = T(1.5), aa = a * a, bb = b * b;
  // 1 / product of the differences between a point and the others.
  static constexpr T at_0 = 1 / (aa * bb), at_a = 1 / (2 * aa * (aa - bb)),
                     at_b = 1 / (2 * bb * (bb - aa));

  PISTE_INLINE static void data(const V* d, V* v) {
    const V even_a = fma(V(-bb), d[2], d[4]), odd_a = V(a) * fma(V(-bb), d[1], d[3]);
    const V even_b = fma(V(-aa), d[2], d[4]), odd_b = V(b) * fma(V(-aa), d[1], d[3]);
    v[0] = fma(V(aa * bb), d[0], fma(V(-aa - bb), d[2], d[4]));
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = fma(V(aa * bb), d[1], fma(V(-aa - bb), d[3], d[5]));
  }
  PISTE_INLINE static void result(const V* s, V* y) {
    const V even_a = s[1] + s[2], odd_a = s[1] - s[2], even_b = s[3] + s[4], odd_b = s[3] - s[4];
    y[0] = s[0] + even_a + even_b;
    y[1] = fma(V(b), odd_b, V(a) * odd_a);
    y[2] = fma(V(bb), even_b, V(aa) * even_a);
    y[3] = fma(V(b * bb), odd_b, fma(V(a * aa), odd_a, s[5]));
  }
  PISTE_INLINE static void result_gradient(const V* y, V* z) {
    const V even_a = fma(V(aa), y[2], y[0]), odd_a = fma(V(a * aa), y[3], V(a) * y[1]);
    const V even_b = fma(V(bb), y[2], y[0]), odd_b = fma(V(b * bb), y[3], V(b) * y[1]);
    z[0] = y[0];
    z[1] = even_a + odd_a;
    z[2] = even_a - odd_a;
    z[3] = even_b + odd_b;
    z[4] = even_b - odd_b;
    z[5] = y[3];
  }
  PISTE_INLINE static void weight(const V* g, V* u) {
    const V even_a = V(at_a) * fma(V(aa), g[2], g[0]), odd_a = V(at_a * a) * g[1];
    const V even_b = V(at_b) * fma(V(bb), g[2], g[0]), odd_b = V(at_b * b) * g[1];
    u[0] = V(at_0) * g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
  }
  PISTE_INLINE static void weight_gradient(const V* u, V* g) {
    const V even_a = V(at_a) * (u[1] + u[2]), even_b = V(at_b) * (u[3] + u[4]);
    g[0] = fma(V(at_0), u[0], even_a + even_b);
    g[1] = fma(V(at_b * b), u[3] - u[4], V(at_a * a) * (u[1] - u[2]));
    g[2] = fma(V(aa), even_a, fma(V(bb), even_b, u[5]));
  }
};

// Applies a one-dimensional map to the columns of an In x In block, then to the rows of what that
// gives, which is Out x Out: here rows First ... First + Count - 1 of the result, with what these
// need of the columns. The few values that live at a time stay in registers; to read the block
// anew for the next rows costs less than to store what all columns gave.
template <class T, int In, int Out, int First, int Count, class Map, class Load, class Store>
PISTE_INLINE inline void rows_of(Map map, Load load, Store store) {
  Vec<T> row[Count][In];
#pragma GCC unroll 8
  for (int j = 0; j < In; ++j) {
    Vec<T> column[In], mapped[Out];
#pragma GCC unroll 8
    for (int i = 0; i < In; ++i) column[i] = load(i, j);
    map(column, mapped);
#pragma GCC unroll 8
    for (int r = 0; r < Count; ++r) row[r][j] = mapped[First + r];
  }
#pragma GCC unroll 8
  for (int r = 0; r < Count; ++r) {
    Vec<T> mapped[Out];
    map(row[r], mapped);
#pragma GCC unroll 8
    for (int j = 0; j < Out; ++j) store(First + r, j, mapped[j]);
  }
}

/// All rows, two at a time where they share sums.
template <class T, int In, int Out, class Map, class Load, class Store>
PISTE_INLINE inline void both_ways(Map map, Load load, Store store) {
  if constexpr (Out <= In && Out < 6) {
    rows_of<T, In, Out, 0, 2>(map, load, store);
    if constexpr (Out == 3) rows_of<T, In, Out, 2, 1>(map, load, store);
    if constexpr (Out == 4) rows_of<T, In, Out, 2, 2>(map, load, store);
  } else {
    rows_of<T, In, Out, 0, 1>(map, load, store);
    rows_of<T, In, Out, 1, 2>(map, load, store);
    if constexpr (Out == 6) rows_of<T, In, Out, 3, 2>(map, load, store);
    rows_of<T, In, Out, Out - 1, 1>(map, load, store);
  }
}

template <class T, int M>
void data_of(const T* x, Index line, Index pixel, Index channels, T* v, Index frequency) {
  constexpr int a = M + 2, lanes = Vec<T>::lanes;
  for (Index c = 0; c < channels; c += lanes, x += lanes, v += lanes) {
    const auto load = [=](int i, int j)
                          PISTE_INLINE { return Vec<T>::load(x + i * line + j * pixel); };
    const auto store = [=](int i, int j, Vec<T> y)
                           PISTE_INLINE { y.store(v + (i * a + j) * frequency); };
    both_ways<T, a, a>(Filter<T, M>::data, load, store);
  }
}

template <class T, int M>
bool result_of(const T* s, Index frequency, Index channels, const T* bias, bool relu, T* y,
               Index line, Index pixel, int height, int width) {
  constexpr int a = M + 2, lanes = Vec<T>::lanes;
  Vec<T> unsound = Vec<T>::zero();  // x - x is 0 for finite x alone
  for (Index c = 0; c < channels; c += lanes, y += lanes, s += lanes) {
    const Vec<T> start = bias ? Vec<T>::load(bias + c) : Vec<T>::zero();
    const auto load = [=](int i, int j)
                          PISTE_INLINE { return Vec<T>::load(s + (i * a + j) * frequency); };
    const auto finish = [&](Vec<T> value) PISTE_INLINE {
      value += start;
      unsound += value - value;
      return relu ? at_least_zero(value) : value;
    };
    if (height == M && width == M) {
      both_ways<T, a, M>(Filter<T, M>::result, load, [&](int i, int j, Vec<T> value) PISTE_INLINE {
        finish(value).store(y + i * line + j * pixel);
      });
      continue;
    }
    Vec<T> tile[M][M];
    both_ways<T, a, M>(Filter<T, M>::result, load, [&](int i, int j, Vec<T> value) PISTE_INLINE {
      tile[i][j] = finish(value);
    });
    for (int i = 0; i < height; ++i)
      for (int j = 0; j < width; ++j) tile[i][j].store(y + i * line + j * pixel);
  }
  return unsound.sum() == 0;
}

template <class T, int M>
void result_gradient_of(const T* dy, Index line, Index pixel, Index channels, int height, int width,
                        T* z, Index frequency) {
  constexpr int a = M + 2, lanes = Vec<T>::lanes;
  for (Index c = 0; c < channels; c += lanes, dy += lanes, z += lanes) {
    const auto store = [=](int i, int j, Vec<T> y)
                           PISTE_INLINE { y.store(z + (i * a + j) * frequency); };
    if (height == M && width == M) {
      both_ways<T, M, a>(
          Filter<T, M>::result_gradient,
          [=](int i, int j) PISTE_INLINE { return Vec<T>::load(dy + i * line + j * pixel); },
          store);
      continue;
    }
    Vec<T> tile[M][M];
    for (int i = 0; i < M; ++i)
      for (int j = 0; j < M; ++j)
        tile[i][j] =
            i < height && j < width ? Vec<T>::load(dy + i * line + j * pixel) : Vec<T>::zero();
    both_ways<T, M, a>(
        Filter<T, M>::result_gradient, [&](int i, int j) PISTE_INLINE { return tile[i][j]; },
        store);
  }
}

template <class T, int M>
void weight_of(const T* weight, Index tap, Index channels, T* u, Index frequency) {
  constexpr int a = M + 2;
  for (Index c = 0; c < channels; c += Vec<T>::lanes)
    both_ways<T, 3, a>(
        Filter<T, M>::weight,
        [=](int i, int j) PISTE_INLINE { return Vec<T>::load(weight + (i * 3 + j) * tap + c); },
        [=](int i, int j, Vec<T> y) PISTE_INLINE { y.store(u + (i * a + j) * frequency + c); });
}

template <class T, int M>
void weight_gradient_of(const T* u, Index frequency, Index channels, T* gradient, Index tap) {
  constexpr int a = M + 2;
  for (Index c = 0; c < channels; c += Vec<T>::lanes)
    both_ways<T, a, 3>(
        Filter<T, M>::weight_gradient,
        [=](int i, int j) PISTE_INLINE { return Vec<T>::load(u + (i * a + j) * frequency + c); },
        [=](int i, int j, Vec<T> y) PISTE_INLINE { y.store(gradient + (i * 3 + j) * tap + c); });
}

// Register tiles: 6 tiles x 2 vectors forward, 4 channels x 3 vectors for the gradient, each 12
// accumulators of 16 registers (24 of 32 with AVX-512).
#if defined(__AVX512F__)
constexpr int multiply_rows = 8, multiply_vectors = 3, gradient_channels = 4, gradient_vectors = 6;
#else
constexpr int multiply_rows = 6, multiply_vectors = 2, gradient_channels = 4, gradient_vectors = 3;
#endif

template <class T, int Rows, int Vectors>
void multiply_of(const T* v, Index v_tile, const T* u, T* s, Index s_tile, Index channels) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 6
    for (int j = 0; j < Vectors; ++j) sum[r][j] = Vec<T>::zero();
  const T* row[Rows];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) row[r] = v + r * v_tile;
  add_products(
      sum, channels, [&](int r, Index c) __attribute__((always_inline)) { return row[r][c]; },
      [=](Index c, int j)
          __attribute__((always_inline)) { return Vec<T>::load(u + (c * Vectors + j) * lanes); });
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 6
    for (int j = 0; j < Vectors; ++j) sum[r][j].store(s + r * s_tile + j * lanes);
}

template <class T, int Rows, int Vectors>
void multiply_rest(int rows, const T* v, Index v_tile, const T* u, T* s, Index s_tile,
                   Index channels) {
  if constexpr (Rows > 1)
    if (rows < Rows)
      return multiply_rest<T, Rows - 1, Vectors>(rows, v, v_tile, u, s, s_tile, channels);
  multiply_of<T, Rows, Vectors>(v, v_tile, u, s, s_tile, channels);
}

template <class T, int Vectors = multiply_vectors>
void multiply(int vectors, const T* v, Index v_tile, const T* u, T* s, Index s_tile, Index tiles,
              Index channels) {
  if constexpr (Vectors > 1)
    if (vectors < Vectors)
      return multiply<T, Vectors - 1>(vectors, v, v_tile, u, s, s_tile, tiles, channels);
  Index t = 0;
  for (; t + multiply_rows <= tiles; t += multiply_rows)
    multiply_of<T, multiply_rows, Vectors>(v + t * v_tile, v_tile, u, s + t * s_tile, s_tile,
                                           channels);
  if (t < tiles)
    multiply_rest<T, multiply_rows - 1, Vectors>(static_cast<int>(tiles - t), v + t * v_tile,
                                                 v_tile, u, s + t * s_tile, s_tile, channels);
}

template <class T, int Channels, int Vectors>
void gradient_of(const T* v, Index v_tile, const T* z, Index z_tile, T* u, Index u_stride,
                 Index tiles, bool accumulate) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> sum[Channels][Vectors];
#pragma GCC unroll 8
  for (int i = 0; i < Channels; ++i)
#pragma GCC unroll 6
    for (int j = 0; j < Vectors; ++j)
      sum[i][j] = accumulate ? Vec<T>::load(u + i * u_stride + j * lanes) : Vec<T>::zero();
#pragma GCC unroll 4
  for (Index t = 0; t < tiles; ++t, v += v_tile, z += z_tile) {
    Vec<T> y[Vectors];
#pragma GCC unroll 6
    for (int j = 0; j < Vectors; ++j) y[j] = Vec<T>::load(z + j * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < Channels; ++i) {
      const Vec<T> x(v[i]);
#pragma GCC unroll 6
      for (int j = 0; j < Vectors; ++j) sum[i][j] = fma(x, y[j], sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Channels; ++i)
#pragma GCC unroll 6
    for (int j = 0; j < Vectors; ++j) sum[i][j].store(u + i * u_stride + j * lanes);
}

// As many vectors of filters as fill the registers; where there is but one, more channels at a
// time, so that there are enough independent sums.
template <class T, int Vectors = gradient_vectors>
void gradient_columns(int vectors, const T* v, Index v_tile, Index channels, const T* z,
                      Index z_tile, T* u, Index u_stride, Index tiles, bool accumulate) {
  if constexpr (Vectors > 1)
    if (vectors < Vectors)
      return gradient_columns<T, Vectors - 1>(vectors, v, v_tile, channels, z, z_tile, u, u_stride,
                                              tiles, accumulate);
  constexpr int step = Vectors == 1 ? 2 * gradient_channels : gradient_channels;
  Index c = 0;
  for (; c + step <= channels; c += step)
    gradient_of<T, step, Vectors>(v + c, v_tile, z, z_tile, u + c * u_stride, u_stride, tiles,
                                  accumulate);
  for (; c < channels; ++c)
    gradient_of<T, 1, Vectors>(v + c, v_tile, z, z_tile, u + c * u_stride, u_stride, tiles,
                               accumulate);
}

template <class T>
void multiply_gradient(const T* v, Index v_tile, Index channels, const T* z, Index z_tile,
                       Index filters, T* u, Index u_stride, Index tiles, bool accumulate) {
  constexpr int lanes = Vec<T>::lanes;
  for (Index left = filters / lanes; left > 0;) {
    // Four vectors are better halved than split into three and one.
    const Index most = left == gradient_vectors + 1 ? left / 2 : gradient_vectors;
    const int vectors = static_cast<int>(left < most ? left : most);
    gradient_columns<T>(vectors, v, v_tile, channels, z, z_tile, u, u_stride, tiles, accumulate);
    left -= vectors;
    z += vectors * lanes;
    u += vectors * lanes;
  }
}

template <class T>
void data(int m, const T* x, Index line, Index pixel, Index channels, T* v, Index frequency) {
  (m == 2 ? data_of<T, 2> : data_of<T, 4>)(x, line, pixel, channels, v, frequency);
}
template <class T>
bool result(int m, const T* s, Index frequency, Index channels, const T* bias, bool relu, T* y,
            Index line, Index pixel, int height, int width) {
  return (m == 2 ? result_of<T, 2> : result_of<T, 4>)(s, frequency, channels, bias, relu, y, line,
                                                      pixel, height, width);
}
template <class T>
void result_gradient(int m, const T* dy, Index line, Index pixel, Index channels, int height,
                     int width, T* z, Index frequency) {
  (m == 2 ? result_gradient_of<T, 2> : result_gradient_of<T, 4>)(dy, line, pixel, channels, height,
                                                                 width, z, frequency);
}
template <class T>
void weight(int m, const T* weight, Index tap, Index channels, T* u, Index frequency) {
  (m == 2 ? weight_of<T, 2> : weight_of<T, 4>)(weight, tap, channels, u, frequency);
}
template <class T>
void weight_gradient(int m, const T* u, Index frequency, Index channels, T* gradient, Index tap) {
  (m == 2 ? weight_gradient_of<T, 2> : weight_gradient_of<T, 4>)(u, frequency, channels, gradient,
                                                                 tap);
}

}  // namespace

extern const kernels::WinogradKernels<float> winograd_f32{
    multiply_vectors, data<float>,
    result<float>,    result_gradient<float>,
    weight<float>,    weight_gradient<float>,
    multiply<float>,  multiply_gradient<float>};
extern const kernels::WinogradKernels<double> winograd_f64{
    multiply_vectors, data<double>,
    result<double>,   result_gradient<double>,
    weight<double>,   weight_gradient<double>,
    multiply<double>, multiply_gradient<double>};

}  // namespace piste::PISTE_ISA
