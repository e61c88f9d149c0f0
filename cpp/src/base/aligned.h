#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "piste/errors.h"

namespace piste {

inline constexpr std::size_t alignment = 64;  // a cache line, and the widest vector

struct FreeDeleter {
  void* block = nullptr;  // what was allocated, where the pointer lies inside it
  void operator()(void* pointer) const { std::free(block ? block : pointer); }
};

/// Owned, 64-byte aligned bytes.
using AlignedBytes = std::unique_ptr<std::byte, FreeDeleter>;

inline std::size_t round_up(std::size_t bytes, std::size_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

/// Asks for large pages where there is much memory: far fewer of them have to be made and looked
/// up. A wish only: systems that grant none go on with small ones.
inline void prefer_large_pages([[maybe_unused]] void* pointer, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  constexpr std::size_t page = 4096, much = std::size_t{4} << 20;
  if (bytes < much) return;
  const std::size_t skipped = -reinterpret_cast<std::uintptr_t>(pointer) % page;
  madvise(static_cast<std::byte*>(pointer) + skipped, (bytes - skipped) / page * page,
          MADV_HUGEPAGE);
#endif
}

/// Throws OutOfMemory, whose message says what for.
inline AlignedBytes aligned_bytes(std::size_t bytes, const char* purpose) {
  void* pointer = std::aligned_alloc(alignment, round_up(bytes ? bytes : 1, alignment));
  if (!pointer) throw OutOfMemory(double(bytes), purpose);
  prefer_large_pages(pointer, bytes);
  return AlignedBytes(static_cast<std::byte*>(pointer));
}

/// Zeros. Many of them are fresh pages of the system, which cost time only where they are used
/// and on the thread that uses them.
inline AlignedBytes zeroed_bytes(std::size_t bytes, const char* purpose) {
  void* block = std::calloc(bytes + alignment, 1);
  if (!block) throw OutOfMemory(double(bytes), purpose);
  void* pointer = block;
  std::size_t space = bytes + alignment;
  std::align(alignment, bytes, pointer, space);
  return AlignedBytes(static_cast<std::byte*>(pointer), FreeDeleter{block});
}

}  // namespace piste
