#include "kernels/softmax/softmax.h"

#include "kernels/softmax/row.h"
#include "simd/map.h"

namespace piste::PISTE_ISA {
namespace {

template <class T>
void softmax(const T* x, T* y, Index rows, Index stride, Index channels) {
  for (Index row = 0; row < rows; ++row, x += stride, y += stride) {
    const Vec<T> inverse(T(1) / exp_sum(x, channels, row_max(x, channels), y));
    for_row(y, channels, T(0),
            [&](Vec<T> v, Index i, int count) { (v * inverse).store_partial(y + i, count); });
  }
}

template <class T>
void log_softmax(const T* x, T* y, Index rows, Index stride, Index channels) {
  for (Index row = 0; row < rows; ++row, x += stride, y += stride) {
    const T largest = row_max(x, channels);
    const Vec<T> log_sum = log(Vec<T>(exp_sum(x, channels, largest, static_cast<T*>(nullptr))));
    for_row(x, channels, T(0), [&](Vec<T> v, Index i, int count) {
      (v - Vec<T>(largest) - log_sum).store_partial(y + i, count);
    });
  }
}

/// Sum over a row of f(dy, y).
template <class T, class F>
T row_sum(const T* dy, const T* y, Index n, F f) {
  Vec<T> sum = Vec<T>::zero();
  for_row(dy, n, T(0),
          [&](Vec<T> g, Index i, int count) { sum += f(g, Vec<T>::load_partial(y + i, count)); });
  return sum.sum();
}

template <class T>
void softmax_backward(const T* dy, const T* y, T* dx, Index rows, Index stride, Index channels) {
  for (Index row = 0; row < rows; ++row, dy += stride, y += stride, dx += stride) {
    const Vec<T> dot(row_sum(dy, y, channels, [](Vec<T> g, Vec<T> v) { return g * v; }));
    for_row(dy, channels, T(0), [&](Vec<T> g, Index i, int count) {
      (Vec<T>::load_partial(y + i, count) * (g - dot)).store_partial(dx + i, count);
    });
  }
}

template <class T>
void log_softmax_backward(const T* dy, const T* y, T* dx, Index rows, Index stride,
                          Index channels) {
  for (Index row = 0; row < rows; ++row, dy += stride, y += stride, dx += stride) {
    const Vec<T> total(row_sum(dy, y, channels, [](Vec<T> g, Vec<T>) { return g; }));
    for_row(dy, channels, T(0), [&](Vec<T> g, Index i, int count) {
      (g - exp(Vec<T>::load_partial(y + i, count)) * total).store_partial(dx + i, count);
    });
  }
}

/// dx = e^(x - max), whose sum s is returned, with `dot` = the sum of f(dy, dx).
template <class T, class F>
T exponentials(const T* dy, const T* x, T* dx, Index n, T* dot, F f) {
  const Vec<T> shift(row_max(x, n));
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  Vec<T> sum = Vec<T>::zero(), products = Vec<T>::zero();
  for_row(x, n, lowest, [&](Vec<T> v, Index i, int count) {
    const Vec<T> e = exp(v - shift);
    sum += e;
    products += f(Vec<T>::load_partial(dy + i, count), e);
    e.store_partial(dx + i, count);
  });
  *dot = products.sum();
  return sum.sum();
}

template <class T>
void softmax_gradient(const T* dy, const T* x, T* dx, Index rows, Index stride, Index channels) {
  for (Index row = 0; row < rows; ++row, dy += stride, x += stride, dx += stride) {
    T products;
    const T sum =
        exponentials(dy, x, dx, channels, &products, [](Vec<T> g, Vec<T> e) { return g * e; });
    const Vec<T> inverse(T(1) / sum), dot(products / sum);
    for_row(dy, channels, T(0), [&](Vec<T> g, Index i, int count) {
      (Vec<T>::load_partial(dx + i, count) * inverse * (g - dot)).store_partial(dx + i, count);
    });
  }
}

template <class T>
void log_softmax_gradient(const T* dy, const T* x, T* dx, Index rows, Index stride,
                          Index channels) {
  for (Index row = 0; row < rows; ++row, dy += stride, x += stride, dx += stride) {
    T total;
    const T sum = exponentials(dy, x, dx, channels, &total, [](Vec<T> g, Vec<T>) { return g; });
    const Vec<T> factor(total / sum);
    for_row(dy, channels, T(0), [&](Vec<T> g, Index i, int count) {
      (g - Vec<T>::load_partial(dx + i, count) * factor).store_partial(dx + i, count);
    });
  }
}

/// to[i] = f(to[i], x[i]...) for i < n.
template <class T, class F, class... X>
void update(F f, T* to, Index n, const X*... x) {
  map(f, to, n, static_cast<const T*>(to), x...);
}

/// sums = over c of what add(partial, c) adds to a partial sum of n columns. Partial sums of a few
/// values each: errors grow with the root of their number, not with that of all values.
template <class T, class Add>
void sum_channels(T* sums, Index n, Index channels, Add add) {
  constexpr Index block = 32;
  T partial[kernels::softmax_columns];
  for (Index i = 0; i < n; ++i) sums[i] = T(0);
  for (Index first = 0; first < channels; first += block) {
    for (Index i = 0; i < n; ++i) partial[i] = T(0);
    for (Index c = first; c < channels && c < first + block; ++c) add(partial, c);
    update([](Vec<T> sum, Vec<T> part) { return sum + part; }, sums, n,
           static_cast<const T*>(partial));
  }
}

template <class T>
void columns(const T* x, T* y, Index channels, Index stride, Index n, bool log_of) {
  using V = Vec<T>;
  T largest[kernels::softmax_columns], sums[kernels::softmax_columns];
  const auto at = [=](const T* from, Index c) { return from + c * stride; };
  const T lowest = -static_cast<T>(__builtin_inf());
  for (Index i = 0; i < n; ++i) largest[i] = lowest;
  for (Index c = 0; c < channels; ++c)
    update([](V best, V v) { return larger(v, best); }, largest, n, at(x, c));
  const T* shift = largest;
  const T* total = sums;
  sum_channels(sums, n, channels, [&](T* partial, Index c) {
    if (log_of)
      return update([](V sum, V v, V m) { return sum + exp(v - m); }, partial, n, at(x, c), shift);
    map([](V v, V m) { return exp(v - m); }, y + c * stride, n, at(x, c), shift);
    update([](V sum, V e) { return sum + e; }, partial, n, at(y, c));
  });
  if (log_of)
    map([](V sum) { return log(sum); }, sums, n, total);
  else
    map([](V sum) { return V(T(1)) / sum; }, sums, n, total);
  for (Index c = 0; c < channels; ++c)
    if (log_of)
      map([](V v, V m, V l) { return v - m - l; }, y + c * stride, n, at(x, c), shift, total);
    else
      update([](V e, V inverse) { return e * inverse; }, y + c * stride, n, total);
}

template <class T>
void columns_backward(const T* dy, const T* y, T* dx, Index channels, Index stride, Index n,
                      bool log_of) {
  using V = Vec<T>;
  T sums[kernels::softmax_columns];
  const auto at = [=](const T* from, Index c) { return from + c * stride; };
  const T* total = sums;
  sum_channels(sums, n, channels, [&](T* partial, Index c) {
    if (log_of)
      update([](V sum, V g) { return sum + g; }, partial, n, at(dy, c));
    else
      update([](V sum, V g, V v) { return fma(g, v, sum); }, partial, n, at(dy, c), at(y, c));
  });
  for (Index c = 0; c < channels; ++c)
    if (log_of)
      map([](V g, V v, V sum) { return g - exp(v) * sum; }, dx + c * stride, n, at(dy, c), at(y, c),
          total);
    else
      map([](V g, V v, V dot) { return v * (g - dot); }, dx + c * stride, n, at(dy, c), at(y, c),
          total);
}

template <class T>
constexpr kernels::SoftmaxKernels<T> kernels_of{
    softmax<T>,          log_softmax<T>,          softmax_backward<T>, log_softmax_backward<T>,
    softmax_gradient<T>, log_softmax_gradient<T>, columns<T>,          columns_backward<T>};

}  // namespace

extern const kernels::SoftmaxKernels<float> softmax_f32{kernels_of<float>};
extern const kernels::SoftmaxKernels<double> softmax_f64{kernels_of<double>};

}  // namespace piste::PISTE_ISA
