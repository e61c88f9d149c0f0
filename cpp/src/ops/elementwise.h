#pragma once

#include "base/parallel.h"
#include "kernels/stores.h"
#include "piste/tensor.h"

namespace piste {

inline constexpr Index elementwise_grain = 1 << 14;  // values per task: about 2 µs of work

using kernels::Stores;

/// Results from so many bytes on, half of a large last-level cache, go past the caches.
inline constexpr std::size_t streamed_bytes = std::size_t{16} << 20;

template <class T>
Stores stores_of(Index values) {
  const std::size_t bytes = static_cast<std::size_t>(values) * sizeof(T);
  return bytes < streamed_bytes ? Stores::cached : Stores::streamed;
}
template <class T>
Stores stores_of(const View<T>& result) {
  return stores_of<T>(result.size());
}

/// Runs kernel(begin, count) over [0, n) in parallel, in parts that depend on n alone.
template <class Kernel>
void for_each_part(Index n, Kernel&& kernel) {
  const Split split = even_split(n, elementwise_grain);
  parallel_for(split.count, [&](Index part, int) {
    kernel(split.begin(part), split.end(part) - split.begin(part));
  });
}

template <class A, class B>
void check_same_shape(const char* tag, const char* what_a, const A& a, const char* what_b,
                      const B& b) {
  check(a.shape == b.shape, tag, what_a, " has shape ", a.shape, " but ", what_b, " has ", b.shape);
}

}  // namespace piste
