#pragma once

#include <cstddef>

#include "base/aligned.h"

namespace piste {

/// Scratch memory for one operation, taken from a bounded process-wide cache so that repeated
/// calls neither allocate nor touch new pages. Contents are undefined.
class Workspace {
 public:
  enum class Fit { any, close };

  /// `close` takes no block of the cache that is much larger: for memory that may be kept.
  explicit Workspace(std::size_t bytes, Fit fit = Fit::any);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  std::byte* data() const { return memory_.get(); }
  template <class T>
  T* as(std::size_t byte_offset = 0) const {
    return reinterpret_cast<T*>(memory_.get() + byte_offset);
  }

 private:
  AlignedBytes memory_;
  std::size_t capacity_;
};

/// Bytes that the cache holds now; never more than workspace_cache_limit.
std::size_t workspace_cache_bytes();
inline constexpr std::size_t workspace_cache_limit = std::size_t{256} << 20;

}  // namespace piste
