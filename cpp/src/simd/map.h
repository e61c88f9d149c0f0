#pragma once
// Loops over arrays: whole vectors, then once more over the tail, padded to a vector, so that
// every value goes through the same arithmetic wherever it stands. Flattened: a formula that is
// called from two places would not be inlined. For *.isa.cpp only, like vec.h.

#include "simd/stream.h"
#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

/// y[i] = f(x[i]...) for i < n.
template <class T, class F, class... X>
[[gnu::flatten]] void map(F f, T* y, std::int64_t n, const X*... x) {
  constexpr int lanes = Vec<T>::lanes;
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) f(Vec<T>::load(x + i)...).store(y + i);
  if (const int tail = static_cast<int>(n - i))
    f(Vec<T>::load_partial(x + i, tail)...).store_partial(y + i, tail);
}

/// The same past the caches, where reaches_stream(y); stream_fence() has to follow before others
/// read y.
template <class T, class F, class... X>
[[gnu::flatten]] void map_streamed(F f, T* y, std::int64_t n, const X*... x) {
  constexpr int lanes = Vec<T>::lanes;
  std::int64_t i = stream_distance(y) < n ? stream_distance(y) : n;
  if (const int head = static_cast<int>(i))
    f(Vec<T>::load_partial(x, head)...).store_partial(y, head);
  for (; i + lanes <= n; i += lanes) stream(f(Vec<T>::load(x + i)...), y + i);
  if (const int tail = static_cast<int>(n - i))
    f(Vec<T>::load_partial(x + i, tail)...).store_partial(y + i, tail);
}

/// map() or, where `past_caches` and y allows it, map_streamed(), finished for others to read.
template <class T, class F, class... X>
[[gnu::always_inline]] inline void map_to(bool past_caches, F f, T* y, std::int64_t n,
                                          const X*... x) {
  if (!past_caches || !reaches_stream(y)) return map(f, y, n, x...);
  map_streamed(f, y, n, x...);
  stream_fence();
}

/// Several vectors that are summed side by side.
template <class T, int count>
struct Sums {
  Vec<T> v[count];
  Sums& operator+=(const Sums& other) {
    for (int k = 0; k < count; ++k) v[k] += other.v[k];
    return *this;
  }
  T total(int k) const { return v[k].sum(); }
};

/// Sum of f(x[i]...), which gives Sums<T, count>, over i < n: four at a time, which do not wait for
/// each other, joined in one fixed order.
template <int count, class T, class F, class... X>
[[gnu::flatten]] Sums<T, count> reduce(F f, std::int64_t n, const T* first, const X*... x) {
  constexpr int lanes = Vec<T>::lanes;
  Sums<T, count> sums[4]{};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes)
    for (int u = 0; u < 4; ++u)
      sums[u] += f(Vec<T>::load(first + i + u * lanes), Vec<T>::load(x + i + u * lanes)...);
  for (; i + lanes <= n; i += lanes) sums[0] += f(Vec<T>::load(first + i), Vec<T>::load(x + i)...);
  if (const int tail = static_cast<int>(n - i)) {
    Sums<T, count> last =
        f(Vec<T>::load_partial(first + i, tail), Vec<T>::load_partial(x + i, tail)...);
    for (Vec<T>& v : last.v) v = Vec<T>::select(Vec<T>::first(tail), v, Vec<T>::zero());
    sums[1] += last;
  }
  sums[0] += sums[1];
  sums[2] += sums[3];
  return sums[0] += sums[2];
}

}  // namespace
}  // namespace piste::PISTE_ISA
