#pragma once
// A row's maximum and the sum of its exponentials, for softmax and cross-entropy.

#include "piste/index.h"
#include "simd/math.h"

namespace piste::PISTE_ISA {
namespace {

/// Calls f(vector, place, count) over a row; the last, partial vector is padded with `fill`.
template <class T, class F>
void for_row(const T* x, Index n, T fill, F f) {
  constexpr int lanes = Vec<T>::lanes;
  Index i = 0;
  for (; i + lanes <= n; i += lanes) f(Vec<T>::load(x + i), i, lanes);
  if (i < n)
    f(Vec<T>::load_partial(x + i, static_cast<int>(n - i), fill), i, static_cast<int>(n - i));
}

/// The larger of the two; NaN where one is.
template <class T>
Vec<T> larger(Vec<T> v, Vec<T> best) {
  best = Vec<T>::select(v > best, v, best);
  return Vec<T>::select(v == v, best, v);
}

/// Largest value of a row; NaN where any is.
template <class T>
T row_max(const T* x, Index n) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  constexpr int lanes = Vec<T>::lanes;
  // Four at a time, which do not wait for each other.
  Vec<T> best[4] = {lowest, lowest, lowest, lowest};
  const Index whole = n / (4 * lanes) * 4 * lanes;
  for (Index i = 0; i < whole; i += 4 * lanes)
    for (int u = 0; u < 4; ++u) best[u] = larger(Vec<T>::load(x + i + u * lanes), best[u]);
  for_row(x + whole, n - whole, lowest,
          [&](Vec<T> v, Index, int) { best[0] = larger(v, best[0]); });
  const Vec<T> largest = larger(larger(best[0], best[1]), larger(best[2], best[3]));
  T result = largest.v[0];
  for (int i = 1; i < lanes; ++i) {
    const T v = largest.v[i];
    if (v > result || v != v) result = v;
  }
  return result;
}

/// Sum of e^(x - shift); written to y unless that is null.
template <class T>
T exp_sum(const T* x, Index n, T shift, T* y) {
  Vec<T> sum = Vec<T>::zero();
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  for_row(x, n, lowest, [&](Vec<T> v, Index i, int count) {
    const Vec<T> e = exp(v - Vec<T>(shift));
    sum += e;
    if (y) e.store_partial(y + i, count);
  });
  return sum.sum();
}

}  // namespace
}  // namespace piste::PISTE_ISA
