#pragma once
// Transposes and sums of vectors in registers. Included by *.isa.cpp only, as vec.h.

#include <utility>

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

// One of log2(n) steps of an n x n transpose: rows i and i + K exchange the blocks of K columns
// that are off the diagonal.
template <class T, int K, int... J>
[[gnu::always_inline]] inline void exchange(Vec<T>& a, Vec<T>& b,
                                            std::integer_sequence<int, J...>) {
  constexpr int lanes = Vec<T>::lanes;
  const auto low = __builtin_shufflevector(a.v, b.v, ((J & K) ? lanes + J - K : J)...);
  const auto high = __builtin_shufflevector(a.v, b.v, ((J & K) ? lanes + J : J + K)...);
  a = low;
  b = high;
}

/// Takes n vectors (a power of two, at most lanes) for blocks of n x n values side by side, and
/// transposes each block.
template <class T, int n = Vec<T>::lanes, int K = 1>
[[gnu::always_inline]] inline void transpose_blocks(Vec<T>* rows) {
  if constexpr (K < n) {
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i)
      if (!(i & K))
        exchange<T, K>(rows[i], rows[i + K], std::make_integer_sequence<int, Vec<T>::lanes>());
    transpose_blocks<T, n, 2 * K>(rows);
  }
}

/// Stores the vector's blocks of n values each at its place: to, to + step, ...
template <class T, int n, int Block = 0, int... J>
[[gnu::always_inline]] inline void store_blocks(Vec<T> x, T* to, std::int64_t step,
                                                std::integer_sequence<int, J...> each) {
  const auto block = __builtin_shufflevector(x.v, x.v, (Block * n + J)...);
  std::memcpy(to, &block, sizeof(block));
  if constexpr ((Block + 1) * n < Vec<T>::lanes)
    store_blocks<T, n, Block + 1>(x, to + step, step, each);
}

template <class T, int K, int... J>
[[gnu::always_inline]] inline Vec<T> swapped(Vec<T> x, std::integer_sequence<int, J...>) {
  return __builtin_shufflevector(x.v, x.v, (J ^ K)...);
}

/// The sum of each of n vectors (a power of two, at most lanes) in the first n lanes of the result,
/// added up in one fixed order.
template <class T, int n, int K = n>
[[gnu::always_inline]] inline Vec<T> lane_sums(Vec<T>* rows) {
  if constexpr (K == n) {
    transpose_blocks<T, n>(rows);
#pragma GCC unroll 16
    for (int width = n / 2; width > 0; width /= 2)
#pragma GCC unroll 16
      for (int i = 0; i < width; ++i) rows[i] += rows[i + width];
  }
  if constexpr (K < Vec<T>::lanes) {
    rows[0] += swapped<T, K>(rows[0], std::make_integer_sequence<int, Vec<T>::lanes>());
    return lane_sums<T, n, 2 * K>(rows);
  }
  return rows[0];
}

}  // namespace
}  // namespace piste::PISTE_ISA
