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

}  // namespace
}  // namespace piste::PISTE_ISA
