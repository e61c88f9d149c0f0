#include "kernels/pool/pool.h"

#include "simd/strided.h"

namespace piste::PISTE_ISA {
namespace {

using kernels::PoolGeometry;
using kernels::PoolSpan;

template <class T>
void zero(const PoolGeometry& g, T* dx) {
  __builtin_memset(dx, 0, g.in[0] * g.in[1] * g.in[2] * g.row_stride * sizeof(T));
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

struct Window {
  PoolSpan depth, rows, columns;  // copies: what is stored might else be one of them

  Index taps() const { return depth.count * rows.count * columns.count; }
  Index divisor() const { return depth.divisor * rows.divisor * columns.divisor; }
  /// The first pixel of row i in plane d of the window.
  Index pixel(const PoolGeometry& g, Index d, Index i) const {
    const Index plane = (depth.first + d * depth.step) * g.in[1];
    return (plane + rows.first + i * rows.step) * g.in[2] + columns.first;
  }
};

// Calls body(window, its place in y) for all windows.
template <class Body>
void for_each_window(const PoolGeometry& g, Body body) {
  Index place = 0;
  for (Index d = 0; d < g.out[0]; ++d)
    for (Index i = 0; i < g.out[1]; ++i) {
      Window w{g.spans[0][d], g.spans[1][i], {}};
      for (Index j = 0; j < g.out[2]; ++j, place += g.row_stride) {
        w.columns = g.spans[2][j];
        body(w, place);
      }
    }
}

/// Whether every pixel of the input is in exactly one window.
bool tiles(const PoolGeometry& g) {
  for (int axis = 0; axis < 3; ++axis) {
    Index next = 0;
    for (Index o = 0; o < g.out[axis]; ++o) {
      const PoolSpan& span = g.spans[axis][o];
      if (span.first != next || (span.step != 1 && span.count > 1)) return false;
      next += span.count;
    }
    if (next != g.in[axis]) return false;
  }
  return true;
}

/// Whether windows of 2x2 tile the planes: the usual pooling, whose four pixels stand at the same
/// distances everywhere.
bool quads(const PoolGeometry& g) {
  bool fit = g.in[0] == g.out[0] && tiles(g);
  for (int axis = 1; axis < 3; ++axis)
    for (Index o = 0; fit && o < g.out[axis]; ++o) fit = g.spans[axis][o].count == 2;
  return fit;
}

/// body(first pixel, its place in y) for all windows.
template <class Body>
void for_each_quad(const PoolGeometry& g, Body body) {
  Index place = 0;
  for (Index row = 0; row < g.out[0] * g.out[1]; ++row)
    for (Index j = 0; j < g.out[2]; ++j, place += g.row_stride)
      body(2 * (row * g.in[2] + j), place);
}

/// A window's rows and columns; 0 where they are known at run time only.
template <int rows, int columns>
struct Extent {
  static Index rows_of(const Window& w) { return rows ? rows : w.rows.count; }
  static Index columns_of(const Window& w) { return columns ? columns : w.columns.count; }
};

/// body(extent): compile-time extents let the compiler unroll the usual small windows.
template <class Body>
inline __attribute__((always_inline)) void with_extent(const Window& w, Body body) {
  const Index m = w.rows.count, n = w.columns.count;
  if (m == 2 && n == 2) return body(Extent<2, 2>());
  if (m == 3 && n == 3) return body(Extent<3, 3>());
  if (m == 1 && n == 2) return body(Extent<1, 2>());
  if (m == 1 && n == 3) return body(Extent<1, 3>());
  body(Extent<0, 0>());
}

template <class T>
Vec<T> lowest() {
  return Vec<T>(-static_cast<T>(__builtin_inf()));
}

// A comparison with NaN is false: a NaN comes in by the second test and, no number being greater,
// stays. The max instructions would drop it on one of their two sides.
template <class T>
typename Vec<T>::Mask beats(Vec<T> value, Vec<T> best) {
  return (value > best) | (value != value);
}

// The window's maximum in each lane of one vector of channels, with its pixel if `argmax`.
template <bool indexed, class T, class Extent>
inline __attribute__((always_inline)) void max_window(const PoolGeometry& g, const Window& w,
                                                      Extent extent, const T* x, T* y,
                                                      std::int32_t* argmax) {
  const Index m = extent.rows_of(w), n = extent.columns_of(w);
  Vec<T> best = lowest<T>();
  auto best_pixel = all_lanes<T>(w.taps() ? w.pixel(g, 0, 0) : -1);
  for (Index d = 0; d < w.depth.count; ++d)
    for (Index i = 0; i < m; ++i) {
      Index pixel = w.pixel(g, d, i);
      for (Index j = 0; j < n; ++j, pixel += w.columns.step) {
        const Vec<T> value = Vec<T>::load(x + pixel * g.row_stride);
        const auto wins = beats(value, best);
        best = Vec<T>::select(wins, value, best);
        if constexpr (indexed) best_pixel = wins ? all_lanes<T>(pixel) : best_pixel;
      }
    }
  best.store(y);
  if constexpr (indexed) store_pixels<T>(best_pixel, argmax);
}

// As max_window; from one to the next only the first pixel changes.
template <bool indexed, class T>
void max_quads(const PoolGeometry& g, const T* x, T* y, std::int32_t* argmax) {
  const Index steps[] = {0, 1, g.in[2], g.in[2] + 1};
  for_each_quad(g, [&](Index pixel, Index to) {
    for (Index c = 0; c < g.channels; c += Vec<T>::lanes) {
      const T* from = x + pixel * g.row_stride + c;
      Vec<T> best = lowest<T>();
      auto step = all_lanes<T>(0);
#pragma GCC unroll 4
      for (const Index s : steps) {
        const Vec<T> value = Vec<T>::load(from + s * g.row_stride);
        const auto wins = beats(value, best);
        best = Vec<T>::select(wins, value, best);
        if constexpr (indexed) step = wins ? all_lanes<T>(s) : step;
      }
      best.store(y + to + c);
      if constexpr (indexed) store_pixels<T>(step + all_lanes<T>(pixel), argmax + to + c);
    }
  });
}

template <class T, bool indexed>
void max_windows(const PoolGeometry& g, const T* x, T* y, std::int32_t* argmax) {
  if (quads(g)) return max_quads<indexed>(g, x, y, argmax);
  for_each_window(g, [&](const Window& w, Index to) {
    with_extent(w, [&](auto extent) {
      for (Index c = 0; c < g.channels; c += Vec<T>::lanes)
        max_window<indexed>(g, w, extent, x + c, y + to + c, indexed ? argmax + to + c : nullptr);
    });
  });
}

template <class T>
void max_forward(const PoolGeometry& g, const T* x, T* y, std::int32_t* argmax) {
  if (argmax)
    max_windows<T, true>(g, x, y, argmax);
  else
    max_windows<T, false>(g, x, y, nullptr);
}

struct Largest {
  template <class T>
  static Vec<T> fold(Vec<T> best, Vec<T> value) {
    return Vec<T>::select(beats(value, best), value, best);
  }
  template <class T>
  static T fold(T best, T value) {
    return value > best || value != value ? value : best;
  }
  template <class T>
  static constexpr T none = -static_cast<T>(__builtin_inf());
};

struct Sum {
  template <class Value>
  static Value fold(Value sum, Value value) {
    return sum + value;
  }
  template <class T>
  static constexpr T none = 0;
};

/// y = ended(fold of a window's pixels, the window). `taps` is the kernel's size, or 0 where it is
/// known at run time only.
template <class Fold, int stride, int taps, class T, class Ended>
void fold_row_of(const kernels::PoolRow& r, const T* x, T* y, Ended ended) {
  constexpr int lanes = Vec<T>::lanes;
  const Index kernel = taps ? taps : r.kernel;
  for (Index o = 0; o < r.out; ++o) {
    if (o == r.first) o = r.end;
    if (o == r.out) break;
    const PoolSpan& span = r.spans[o];
    T all = Fold::template none<T>;
    for (const T *at = x + span.first, *end = at + span.count; at != end; ++at)
      all = Fold::fold(all, *at);
    y[o] = ended(Vec<T>(all), span).v[0];
  }
  const PoolSpan& whole = r.spans[r.first];
  for (Index o = r.first; o < r.end; o += lanes) {
    // The last vector begins earlier rather than end behind the last output.
    const Index at = o + lanes <= r.end ? o : r.end - lanes;
    const T* tap = x + whole.first + (at - r.first) * stride;
    Vec<T> all(Fold::template none<T>);
    for (Index k = 0; k < kernel; ++k) all = Fold::fold(all, strided<T, stride>(tap + k, stride));
    ended(all, whole).store(y + at);
  }
}

template <class Fold, int stride, class T, class Ended>
void fold_row_by(const kernels::PoolRow& r, const T* x, T* y, Ended ended) {
  if (r.kernel == 2) return fold_row_of<Fold, stride, 2>(r, x, y, ended);
  if (r.kernel == 3) return fold_row_of<Fold, stride, 3>(r, x, y, ended);
  fold_row_of<Fold, stride, 0>(r, x, y, ended);
}

template <class Fold, class T, class Ended>
void fold_row(const kernels::PoolRow& r, const T* x, T* y, Ended ended) {
  if (r.stride == 1) return fold_row_by<Fold, 1>(r, x, y, ended);
  fold_row_by<Fold, 2>(r, x, y, ended);
}

template <class T>
void max_row(const kernels::PoolRow& r, const T* x, T* y) {
  fold_row<Largest>(r, x, y, [](Vec<T> all, const PoolSpan&) { return all; });
}

template <class T>
void avg_row(const kernels::PoolRow& r, const T* x, T* y, Index divisor_override) {
  fold_row<Sum>(r, x, y, [&](Vec<T> all, const PoolSpan& span) {
    const Index divisor = divisor_override ? divisor_override : r.divisor * span.divisor;
    return all / Vec<T>(static_cast<T>(divisor));
  });
}

// dx[pixel] += addend(pixel) for each tap of the window; = where no other window has the pixel.
template <bool alone, class T, class Extent, class Addend>
inline __attribute__((always_inline)) void scatter_window(const PoolGeometry& g, const Window& w,
                                                          Extent extent, T* dx, Addend addend) {
  const Index m = extent.rows_of(w), n = extent.columns_of(w);
  for (Index d = 0; d < w.depth.count; ++d)
    for (Index i = 0; i < m; ++i) {
      Index pixel = w.pixel(g, d, i);
      for (Index j = 0; j < n; ++j, pixel += w.columns.step) {
        T* to = dx + pixel * g.row_stride;
        Vec<T> value = addend(pixel);
        if constexpr (!alone) value += Vec<T>::load(to);
        value.store(to);
      }
    }
}

// Every tap takes the gradient or 0, lane by lane, instead of each lane adding to a pixel of its
// own: whole vectors, and a padded lane's argmax never becomes an address.
template <class T, bool alone>
void max_scatter(const PoolGeometry& g, const T* dy, const std::int32_t* argmax, T* dx) {
  if constexpr (!alone) zero(g, dx);
  for_each_window(g, [&](const Window& w, Index from) {
    with_extent(w, [&](auto extent) {
      for (Index c = 0; c < g.channels; c += Vec<T>::lanes) {
        const auto gradient = Vec<T>::load(dy + from + c);
        const auto winner = load_pixels<T>(argmax + from + c);
        scatter_window<alone>(g, w, extent, dx + c, [&](Index pixel) {
          return Vec<T>::select(winner == all_lanes<T>(pixel), gradient, Vec<T>::zero());
        });
      }
    });
  });
}

template <class T>
void max_scatter_quads(const PoolGeometry& g, const T* dy, const std::int32_t* argmax, T* dx) {
  const Index steps[] = {0, 1, g.in[2], g.in[2] + 1};
  for_each_quad(g, [&](Index pixel, Index from) {
    for (Index c = 0; c < g.channels; c += Vec<T>::lanes) {
      const auto gradient = Vec<T>::load(dy + from + c);
      const auto step = load_pixels<T>(argmax + from + c) - all_lanes<T>(pixel);
      T* to = dx + pixel * g.row_stride + c;
#pragma GCC unroll 4
      for (const Index s : steps)
        Vec<T>::select(step == all_lanes<T>(s), gradient, Vec<T>::zero())
            .store(to + s * g.row_stride);
    }
  });
}

template <class T>
void max_backward(const PoolGeometry& g, const T* dy, const std::int32_t* argmax, T* dx) {
  if (quads(g)) return max_scatter_quads(g, dy, argmax, dx);
  tiles(g) ? max_scatter<T, true>(g, dy, argmax, dx) : max_scatter<T, false>(g, dy, argmax, dx);
}

// The sum of each row first, then of the rows: errors grow with the window's side, not its area.
template <class T, class Extent>
inline __attribute__((always_inline)) Vec<T> sum_window(const PoolGeometry& g, const Window& w,
                                                        Extent extent, const T* x) {
  const Index m = extent.rows_of(w), n = extent.columns_of(w);
  Vec<T> sum = Vec<T>::zero();
  for (Index d = 0; d < w.depth.count; ++d) {
    Vec<T> plane = Vec<T>::zero();
    for (Index i = 0; i < m; ++i) {
      const T* from = x + w.pixel(g, d, i) * g.row_stride;
      Vec<T> row = Vec<T>::zero();
      for (Index j = 0; j < n; ++j) row += Vec<T>::load(from + j * g.row_stride);
      plane += row;
    }
    sum += plane;
  }
  return sum;
}

template <class T>
Vec<T> divisor_of(const Window& w, Index divisor_override) {
  return Vec<T>(static_cast<T>(divisor_override ? divisor_override : w.divisor()));
}

template <class T>
void avg_forward(const PoolGeometry& g, const T* x, T* y, Index divisor_override) {
  for_each_window(g, [&](const Window& w, Index to) {
    const Vec<T> divisor = divisor_of<T>(w, divisor_override);
    with_extent(w, [&](auto extent) {
      for (Index c = 0; c < g.channels; c += Vec<T>::lanes)
        (sum_window(g, w, extent, x + c) / divisor).store(y + to + c);
    });
  });
}

template <class T, bool alone>
void avg_scatter(const PoolGeometry& g, const T* dy, T* dx, Index divisor_override) {
  if constexpr (!alone) zero(g, dx);
  for_each_window(g, [&](const Window& w, Index from) {
    const Vec<T> divisor = divisor_of<T>(w, divisor_override);
    with_extent(w, [&](auto extent) {
      for (Index c = 0; c < g.channels; c += Vec<T>::lanes) {
        const Vec<T> share = Vec<T>::load(dy + from + c) / divisor;
        scatter_window<alone>(g, w, extent, dx + c, [&](Index) { return share; });
      }
    });
  });
}

template <class T>
void avg_backward(const PoolGeometry& g, const T* dy, T* dx, Index divisor_override) {
  tiles(g) ? avg_scatter<T, true>(g, dy, dx, divisor_override)
           : avg_scatter<T, false>(g, dy, dx, divisor_override);
}

template <class T>
constexpr kernels::PoolKernels<T> kernels_of{max_forward<T>, max_row<T>, max_backward<T>,
                                             avg_forward<T>, avg_row<T>, avg_backward<T>};

}  // namespace

extern const kernels::PoolKernels<float> pool_f32{kernels_of<float>};
extern const kernels::PoolKernels<double> pool_f64{kernels_of<double>};

}  // namespace piste::PISTE_ISA
