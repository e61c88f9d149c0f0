#pragma once
// Values of several vectors apart by the residue of their place, and together again. For *.isa.cpp
// only, like vec.h.

#include <utility>

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

template <class T, int stride, int r, int... J>
[[gnu::always_inline]] inline Vec<T> residue(const Vec<T> (&x)[stride],
                                             std::integer_sequence<int, J...>) {
  constexpr int lanes = Vec<T>::lanes;
  if constexpr (stride == 1) return x[0];
  if constexpr (stride == 2) return __builtin_shufflevector(x[0].v, x[1].v, (2 * J + r)...);
  if constexpr (stride == 3) {
    // Lane J of vector i stands at i * lanes + J: of the three, one has the residue. They are
    // brought together first, then in order.
    const auto two = __builtin_shufflevector(x[0].v, x[1].v, (J % 3 == r ? J : lanes + J)...);
    const auto all = __builtin_shufflevector(
        two, x[2].v, (J % 3 == r || (lanes + J) % 3 == r ? J : lanes + J)...);
    return __builtin_shufflevector(all, all, ((3 * J + r) % lanes)...);
  }
}

/// The values at places r, stride + r, 2 * stride + r, ... of `stride` (1 to 3) vectors.
template <class T, int stride, int r>
[[gnu::always_inline]] inline Vec<T> residue(const Vec<T> (&x)[stride]) {
  return residue<T, stride, r>(x, std::make_integer_sequence<int, Vec<T>::lanes>());
}

template <class T, int stride, int i, int... J>
[[gnu::always_inline]] inline Vec<T> merged(const Vec<T> (&parts)[stride],
                                            std::integer_sequence<int, J...>) {
  constexpr int lanes = Vec<T>::lanes, first = i * lanes;
  if constexpr (stride == 1) return parts[0];
  if constexpr (stride == 2)
    return __builtin_shufflevector(parts[0].v, parts[1].v, ((first + J) / 2 + (J % 2) * lanes)...);
  if constexpr (stride == 3) {
    const auto a = __builtin_shufflevector(parts[0].v, parts[0].v, ((first + J) / 3)...);
    const auto b = __builtin_shufflevector(parts[1].v, parts[1].v, ((first + J) / 3)...);
    const auto c = __builtin_shufflevector(parts[2].v, parts[2].v, ((first + J) / 3)...);
    const auto two = __builtin_shufflevector(a, b, ((first + J) % 3 == 0 ? J : lanes + J)...);
    return __builtin_shufflevector(two, c, ((first + J) % 3 == 2 ? lanes + J : J)...);
  }
}

/// The reverse: what residue() takes apart.
template <class T, int stride>
[[gnu::always_inline]] inline void merge_residues(const Vec<T> (&parts)[stride],
                                                  Vec<T> (&to)[stride]) {
  constexpr auto lanes = std::make_integer_sequence<int, Vec<T>::lanes>();
  to[0] = merged<T, stride, 0>(parts, lanes);
  if constexpr (stride > 1) to[1] = merged<T, stride, 1>(parts, lanes);
  if constexpr (stride > 2) to[2] = merged<T, stride, 2>(parts, lanes);
}

}  // namespace
}  // namespace piste::PISTE_ISA
