#include "kernels/update/update.h"

#include <limits>

#include "simd/map.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

/// A whole vector's place in the arrays.
template <class T>
struct Whole {
  Index at;
  Vec<T> load(const T* from) const { return Vec<T>::load(from + at); }
  void store(Vec<T> v, T* to) const { v.store(to + at); }
};

/// That of the `count` values at their end.
template <class T>
struct Part {
  Index at;
  int count;
  Vec<T> load(const T* from) const { return Vec<T>::load_partial(from + at, count); }
  void store(Vec<T> v, T* to) const { v.store_partial(to + at, count); }
};

/// p = step(p, gradient with its sign and coupled weight decay, place), vector by vector.
template <class T, class Step>
[[gnu::always_inline]] inline void for_each_vector(T* p, const T* g, Index n, UpdateOptions<T> o,
                                                   Step step) {
  using V = Vec<T>;
  const V decay(o.weight_decay);
  const auto visit = [&](auto place) {
    const V value = place.load(p);
    V gradient = o.maximize ? -place.load(g) : place.load(g);
    if (o.weight_decay != 0) gradient = fma(decay, value, gradient);
    place.store(step(value, gradient, place), p);
  };
  Index i = 0;
  for (; i + V::lanes <= n; i += V::lanes) visit(Whole<T>{i});
  if (i < n) visit(Part<T>{i, static_cast<int>(n - i)});
}

template <class T>
void sgd(T* p, const T* g, T* const* states, Index n, UpdateOptions<T> o) {
  using V = Vec<T>;
  T* const buffer = states[0];
  const V lr(o.lr), momentum(o.momentum), rest(1 - o.dampening);
  for_each_vector(p, g, n, o, [&](V value, V step, auto place) {
    if (o.momentum != 0) {
      const V b = o.first_step ? step : fma(momentum, place.load(buffer), rest * step);
      place.store(b, buffer);
      step = o.nesterov ? fma(momentum, b, step) : b;
    }
    return value - lr * step;
  });
}

template <class T>
void adam(T* p, const T* g, T* const* states, Index n, UpdateOptions<T> o) {
  using V = Vec<T>;
  T *const mean = states[0], *const square = states[1], *const largest = states[2];
  const V lr(o.lr), rest1(o.rest1), beta2(o.beta2), rest2(o.rest2), eps(o.eps);
  const V shrink(o.shrink), correction(o.correction);
  for_each_vector(p, g, n, o, [&](V value, V gradient, auto place) {
    const V m0 = place.load(mean), m = fma(rest1, gradient - m0, m0);
    V v = fma(beta2, place.load(square), rest2 * gradient * gradient);
    place.store(m, mean);
    place.store(v, square);
    if (o.amsgrad) {
      const V before = place.load(largest);
      v = V::select(before >= v, before, v);  // NaN is taken over
      place.store(v, largest);
    }
    return shrink * value - lr * m / fma(correction, sqrt(v), eps);
  });
}

template <class T>
void rmsprop(T* p, const T* g, T* const* states, Index n, UpdateOptions<T> o) {
  using V = Vec<T>;
  T *const square = states[0], *const mean = states[1], *const buffer = states[2];
  const V lr(o.lr), beta2(o.beta2), rest2(o.rest2), eps(o.eps), momentum(o.momentum);
  for_each_vector(p, g, n, o, [&](V value, V gradient, auto place) {
    V v = fma(beta2, place.load(square), rest2 * gradient * gradient);
    place.store(v, square);
    if (o.centered) {
      const V m0 = place.load(mean), m = fma(rest2, gradient - m0, m0);
      place.store(m, mean);
      v = v - m * m;
      v = at_least_zero(v);  // a variance that rounding took below 0
    }
    V step = gradient / (sqrt(v) + eps);
    if (o.momentum != 0) {
      step = fma(momentum, place.load(buffer), step);
      place.store(step, buffer);
    }
    return value - lr * step;
  });
}

template <class T>
void adagrad(T* p, const T* g, T* const* states, Index n, UpdateOptions<T> o) {
  using V = Vec<T>;
  T* const sum = states[0];
  const V lr(o.lr), eps(o.eps);
  for_each_vector(p, g, n, o, [&](V value, V gradient, auto place) {
    const V v = fma(gradient, gradient, place.load(sum));
    place.store(v, sum);
    return value - lr * gradient / (sqrt(v) + eps);
  });
}

template <class T>
double sum_squares(const T* x, Index n) {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  constexpr Index block = 256 * lanes;  // partial sums in T stay short
  double total = 0;
  for (Index first = 0; first < n; first += block) {
    const Index last = n - first < block ? n : first + block;
    V sums[4] = {};
    Index i = first;
    for (; i + 4 * lanes <= last; i += 4 * lanes)
      for (int s = 0; s < 4; ++s) {
        const V v = V::load(x + i + s * lanes);
        sums[s] = fma(v, v, sums[s]);
      }
    for (; i < last; i += lanes) {
      const V v =
          last - i < lanes ? V::load_partial(x + i, static_cast<int>(last - i)) : V::load(x + i);
      sums[0] = fma(v, v, sums[0]);
    }
    total += ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum();
  }
  return total;
}

template <class T>
bool all_finite(const T* x, Index n) {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  V sum = V::zero();  // x - x is 0 for finite values and NaN for all others
  for (Index i = 0; i < n; i += lanes) {
    const V v = n - i < lanes ? V::load_partial(x + i, static_cast<int>(n - i)) : V::load(x + i);
    sum += v - v;
  }
  return sum.sum() == 0;
}

template <class T>
void clip(T* g, Index n, T limit, T scale) {
  using V = Vec<T>;
  const V most(limit), least(-limit), factor(scale);
  map(
      [=](V v) {
        v = V::select(v > most, most, v);
        return factor * V::select(v < least, least, v);
      },
      g, n, g);
}

template <class T>
void average(T* mean, const T* x, Index n, T weight) {
  using V = Vec<T>;
  const V w(weight);
  map([=](V m, V v) { return fma(w, v - m, m); }, mean, n, mean, x);
}

}  // namespace

extern const kernels::UpdateKernels<float> update_f32{
    {sgd<float>, adam<float>, rmsprop<float>, adagrad<float>},
    sum_squares<float>,
    all_finite<float>,
    clip<float>,
    average<float>};
extern const kernels::UpdateKernels<double> update_f64{
    {sgd<double>, adam<double>, rmsprop<double>, adagrad<double>},
    sum_squares<double>,
    all_finite<double>,
    clip<double>,
    average<double>};

}  // namespace piste::PISTE_ISA
