#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace piste {

inline constexpr std::size_t alignment = 64;  // a cache line, and the widest vector

struct FreeDeleter {
  void operator()(void* pointer) const { std::free(pointer); }
};

/// Owned, 64-byte aligned bytes.
using AlignedBytes = std::unique_ptr<std::byte, FreeDeleter>;

inline std::size_t round_up(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

inline AlignedBytes aligned_bytes(std::size_t bytes) {
  void* pointer = std::aligned_alloc(alignment, round_up(bytes ? bytes : 1, alignment));
  if (!pointer) throw std::bad_alloc();
  return AlignedBytes(static_cast<std::byte*>(pointer));
}

}  // namespace piste
