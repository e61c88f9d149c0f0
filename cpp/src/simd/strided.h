#pragma once
// Vectors of values that don't stand side by side.

#include <utility>

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

template <class T, int... J>
Vec<T> every_second(const T* from, std::integer_sequence<int, J...>) {
  constexpr int lanes = Vec<T>::lanes;
  // The second load begins one earlier, so that it reads nothing behind the last value.
  return __builtin_shufflevector(Vec<T>::load(from).v, Vec<T>::load(from + lanes - 1).v,
                                 (J < lanes / 2 ? 2 * J : 2 * J + 1)...);
}

/// Every second of the 2 * lanes - 1 values from `from` on.
template <class T>
Vec<T> every_second(const T* from) {
  return every_second(from, std::make_integer_sequence<int, Vec<T>::lanes>());
}

/// The values at from + i * step; `known` is the step where it is 1 or 2, else 0.
template <class T, int known>
Vec<T> strided(const T* from, std::int64_t step) {
  if constexpr (known == 1) return Vec<T>::load(from);
  if constexpr (known == 2) return every_second(from);
  Vec<T> result;
  for (int i = 0; i < Vec<T>::lanes; ++i) result.v[i] = from[i * step];
  return result;
}

}  // namespace
}  // namespace piste::PISTE_ISA
