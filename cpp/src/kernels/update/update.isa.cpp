#include "kernels/update/update.h"

#include <limits>

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

template <class T>
void sgd(T* p, const T* g, T* buffer, Index n, const SgdOptions<T>& o) {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  const V lr(o.lr), momentum(o.momentum), rest(1 - o.dampening), decay(o.weight_decay);
  for (Index i = 0; i < n; i += lanes) {
    const int count = static_cast<int>(n - i < lanes ? n - i : lanes);
    const bool whole = count == lanes;
    const auto load = [=](const T* from) {
      return whole ? V::load(from + i) : V::load_partial(from + i, count);
    };
    const auto store = [=](V v, T* to) {
      if (whole)
        v.store(to + i);
      else
        v.store_partial(to + i, count);
    };
    const V value = load(p);
    V step = o.maximize ? -load(g) : load(g);
    if (o.weight_decay != 0) step = fma(decay, value, step);
    if (o.momentum != 0) {
      const V b = o.first_step ? step : fma(momentum, load(buffer), rest * step);
      store(b, buffer);
      step = o.nesterov ? fma(momentum, b, step) : b;
    }
    store(value - lr * step, p);
  }
}

template <class T>
double sum_squares(const T* x, Index n) {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  constexpr Index block = 64 * lanes;  // partial sums in T stay short
  double total = 0;
  for (Index first = 0; first < n; first += block) {
    const Index last = n - first < block ? n : first + block;
    V sum = V::zero();
    for (Index i = first; i < last; i += lanes) {
      const V v =
          last - i < lanes ? V::load_partial(x + i, static_cast<int>(last - i)) : V::load(x + i);
      sum = fma(v, v, sum);
    }
    total += sum.sum();
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

}  // namespace

extern const kernels::UpdateKernels<float> update_f32{sgd<float>, sum_squares<float>,
                                                      all_finite<float>};
extern const kernels::UpdateKernels<double> update_f64{sgd<double>, sum_squares<double>,
                                                       all_finite<double>};

}  // namespace piste::PISTE_ISA
