#include "kernels/pool/pool.h"

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

using kernels::PoolGeometry;

Index smaller(Index a, Index b) { return a < b ? a : b; }
Index larger(Index a, Index b) { return a > b ? a : b; }

// The taps of one axis that lie within the input: pixels first + k * step for k < count.
struct Span {
  Index first, count, step;
};

Span window_span(const PoolGeometry& g, int axis, Index o) {
  const Index start = o * g.stride[axis] - g.pad[axis], step = g.dilation[axis];
  const Index skipped = start < 0 ? (-start + step - 1) / step : 0;
  const Index reached = g.in[axis] > start ? (g.in[axis] - start + step - 1) / step : 0;
  return {start + skipped * step, larger(smaller(reached, g.kernel[axis]) - skipped, 0), step};
}

Span adaptive_span(const PoolGeometry& g, int axis, Index o) {
  const Index in = g.in[axis], out = g.out[axis];
  const Index first = o * in / out;
  return {first, ((o + 1) * in + out - 1) / out - first, 1};
}

// Padding is counted up to `pad` after the end, not what ceil mode adds to it.
Index padded_extent(const PoolGeometry& g, int axis, Index o) {
  const Index start = o * g.stride[axis] - g.pad[axis];
  return smaller(g.kernel[axis], g.in[axis] + g.pad[axis] - start);
}

// Calls body(output pixel, rows, columns) for all windows.
template <class SpanOf, class Body>
void for_each_window(const PoolGeometry& g, SpanOf span_of, Body body) {
  for (Index i = 0; i < g.out[0]; ++i) {
    const Span rows = span_of(g, 0, i);
    for (Index j = 0; j < g.out[1]; ++j) body(i, j, rows, span_of(g, 1, j));
  }
}

template <class T>
void zero(const PoolGeometry& g, T* dx) {
  __builtin_memset(dx, 0, g.in[0] * g.in[1] * g.row_stride * sizeof(T));
}

// One int32 pixel index per lane in memory; in registers as wide as T, as masks are.
template <class T>
struct Pixels;
template <>
struct Pixels<float> {
  typedef std::int32_t Stored __attribute__((vector_size(PISTE_VECTOR_BYTES)));
};
template <>
struct Pixels<double> {
  typedef std::int32_t Stored __attribute__((vector_size(PISTE_VECTOR_BYTES / 2)));
};

template <class T>
typename Vec<T>::Mask load_pixels(const std::int32_t* from) {
  typename Pixels<T>::Stored stored;
  __builtin_memcpy(&stored, from, sizeof stored);
  return __builtin_convertvector(stored, typename Vec<T>::Mask);
}

template <class T>
void store_pixels(typename Vec<T>::Mask pixels, std::int32_t* to) {
  const auto stored = __builtin_convertvector(pixels, typename Pixels<T>::Stored);
  __builtin_memcpy(to, &stored, sizeof stored);
}

template <class T>
typename Vec<T>::Mask all_lanes(Index pixel) {
  return typename Vec<T>::Mask{} + static_cast<typename Vec<T>::Int>(pixel);
}

// A compile-time extent (fixed > 0) lets the compiler unroll the usual small windows.
template <int fixed>
Index extent(const Span& span) {
  return fixed ? fixed : span.count;
}

// The window's maximum in each lane of one vector of channels, with its pixel if `argmax`.
template <class T, int fixed, bool indexed>
void max_window(const T* x, Index row_stride, Index width, const Span& rows, const Span& columns,
                T* y, std::int32_t* argmax) {
  const Index m = extent<fixed>(rows), n = extent<fixed>(columns);
  Vec<T> best(-static_cast<T>(__builtin_inf()));
  auto best_pixel = all_lanes<T>(m && n ? rows.first * width + columns.first : -1);
  for (Index i = 0; i < m; ++i) {
    Index pixel = (rows.first + i * rows.step) * width + columns.first;
    for (Index j = 0; j < n; ++j, pixel += columns.step) {
      const Vec<T> value = Vec<T>::load(x + pixel * row_stride);
      // A comparison with NaN is false: a NaN comes in by the second test and, no number being
      // greater, stays. The max instructions would drop it on one of their two sides.
      const auto wins = (value > best) | (value != value);
      best = Vec<T>::select(wins, value, best);
      if constexpr (indexed) best_pixel = wins ? all_lanes<T>(pixel) : best_pixel;
    }
  }
  best.store(y);
  if constexpr (indexed) store_pixels<T>(best_pixel, argmax);
}

template <class T, bool indexed>
void max_windows(const PoolGeometry& g, const T* x, T* y, std::int32_t* argmax) {
  for_each_window(g, window_span, [&](Index i, Index j, const Span& rows, const Span& columns) {
    const bool square = rows.count == columns.count;
    const auto window = square && rows.count == 2   ? max_window<T, 2, indexed>
                        : square && rows.count == 3 ? max_window<T, 3, indexed>
                                                    : max_window<T, 0, indexed>;
    const Index to = (i * g.out[1] + j) * g.row_stride;
    for (Index c = 0; c < g.channels; c += Vec<T>::lanes)
      window(x + c, g.row_stride, g.in[1], rows, columns, y + to + c,
             indexed ? argmax + to + c : nullptr);
  });
}

template <class T>
void max_forward(const PoolGeometry& g, const T* x, T* y, std::int32_t* argmax) {
  if (argmax)
    max_windows<T, true>(g, x, y, argmax);
  else
    max_windows<T, false>(g, x, y, nullptr);
}

// dx[pixel] += lane for each tap of the window where `lane(pixel)` says what to add.
template <class T, class Addend>
void scatter_window(const PoolGeometry& g, const Span& rows, const Span& columns, T* dx,
                    Addend addend) {
  for (Index i = 0; i < rows.count; ++i) {
    Index pixel = (rows.first + i * rows.step) * g.in[1] + columns.first;
    for (Index j = 0; j < columns.count; ++j, pixel += columns.step) {
      T* to = dx + pixel * g.row_stride;
      (Vec<T>::load(to) + addend(pixel)).store(to);
    }
  }
}

// Every tap adds the gradient or 0, lane by lane, instead of each lane adding to a pixel of its
// own: whole vectors, and a padded lane's argmax never becomes an address.
template <class T>
void max_backward(const PoolGeometry& g, const T* dy, const std::int32_t* argmax, T* dx) {
  zero(g, dx);
  for_each_window(g, window_span, [&](Index i, Index j, const Span& rows, const Span& columns) {
    const Index from = (i * g.out[1] + j) * g.row_stride;
    for (Index c = 0; c < g.channels; c += Vec<T>::lanes) {
      const auto gradient = Vec<T>::load(dy + from + c);
      const auto winner = load_pixels<T>(argmax + from + c);
      scatter_window(g, rows, columns, dx + c, [&](Index pixel) {
        return Vec<T>::select(winner == all_lanes<T>(pixel), gradient, Vec<T>::zero());
      });
    }
  });
}

// The sum of each row first, then of the rows: errors grow with the window's side, not its area.
template <class T, int fixed>
Vec<T> sum_window(const T* x, Index row_stride, Index width, const Span& rows,
                  const Span& columns) {
  const Index m = extent<fixed>(rows), n = extent<fixed>(columns);
  Vec<T> sum = Vec<T>::zero();
  for (Index i = 0; i < m; ++i) {
    const T* from = x + ((rows.first + i) * width + columns.first) * row_stride;
    Vec<T> row = Vec<T>::zero();
    for (Index j = 0; j < n; ++j) row += Vec<T>::load(from + j * row_stride);
    sum += row;
  }
  return sum;
}

template <class T, class SpanOf, class Divisor>
void mean_forward(const PoolGeometry& g, const T* x, T* y, SpanOf span_of, Divisor divisor) {
  for_each_window(g, span_of, [&](Index i, Index j, const Span& rows, const Span& columns) {
    const bool square = rows.count == columns.count;
    const auto window = square && rows.count == 2   ? sum_window<T, 2>
                        : square && rows.count == 3 ? sum_window<T, 3>
                                                    : sum_window<T, 0>;
    const Vec<T> by(static_cast<T>(divisor(i, j, rows, columns)));
    T* to = y + (i * g.out[1] + j) * g.row_stride;
    for (Index c = 0; c < g.channels; c += Vec<T>::lanes)
      (window(x + c, g.row_stride, g.in[1], rows, columns) / by).store(to + c);
  });
}

template <class T, class SpanOf, class Divisor>
void mean_backward(const PoolGeometry& g, const T* dy, T* dx, SpanOf span_of, Divisor divisor) {
  zero(g, dx);
  for_each_window(g, span_of, [&](Index i, Index j, const Span& rows, const Span& columns) {
    const Vec<T> by(static_cast<T>(divisor(i, j, rows, columns)));
    const T* from = dy + (i * g.out[1] + j) * g.row_stride;
    for (Index c = 0; c < g.channels; c += Vec<T>::lanes) {
      const Vec<T> share = Vec<T>::load(from + c) / by;
      scatter_window(g, rows, columns, dx + c, [&](Index) { return share; });
    }
  });
}

struct AvgDivisor {
  const PoolGeometry& g;
  bool count_include_pad;
  Index divisor_override;

  Index operator()(Index i, Index j, const Span& rows, const Span& columns) const {
    if (divisor_override) return divisor_override;
    if (!count_include_pad) return rows.count * columns.count;
    return padded_extent(g, 0, i) * padded_extent(g, 1, j);
  }
};

template <class T>
void avg_forward(const PoolGeometry& g, const T* x, T* y, bool count_include_pad,
                 Index divisor_override) {
  mean_forward(g, x, y, window_span, AvgDivisor{g, count_include_pad, divisor_override});
}

template <class T>
void avg_backward(const PoolGeometry& g, const T* dy, T* dx, bool count_include_pad,
                  Index divisor_override) {
  mean_backward(g, dy, dx, window_span, AvgDivisor{g, count_include_pad, divisor_override});
}

Index taps(Index, Index, const Span& rows, const Span& columns) {
  return rows.count * columns.count;
}

template <class T>
void adaptive_avg_forward(const PoolGeometry& g, const T* x, T* y) {
  mean_forward(g, x, y, adaptive_span, taps);
}

template <class T>
void adaptive_avg_backward(const PoolGeometry& g, const T* dy, T* dx) {
  mean_backward(g, dy, dx, adaptive_span, taps);
}

template <class T>
constexpr kernels::PoolKernels<T> kernels_of{max_forward<T>,          max_backward<T>,
                                             avg_forward<T>,          avg_backward<T>,
                                             adaptive_avg_forward<T>, adaptive_avg_backward<T>};

}  // namespace

extern const kernels::PoolKernels<float> pool_f32{kernels_of<float>};
extern const kernels::PoolKernels<double> pool_f64{kernels_of<double>};

}  // namespace piste::PISTE_ISA
