#pragma once

#include <cstdint>

namespace piste {

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): numbers that differ in a bit become numbers
/// that have nothing in common.
inline std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// A key for what one user of random numbers (layers count from 0) draws in one step.
inline std::uint64_t step_key(std::uint64_t seed, std::int64_t step, std::int64_t user) {
  return mixed(seed + 0x9e3779b97f4a7c15u * static_cast<std::uint64_t>(step + 1) +
               0xbf58476d1ce4e5b9u * static_cast<std::uint64_t>(user + 1));
}

}  // namespace piste
