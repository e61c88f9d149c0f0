#include "base/workspace.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

namespace piste {
namespace {

struct Block {
  AlignedBytes memory;
  std::size_t capacity;
};

struct Cache {
  std::mutex mutex;
  std::vector<Block> blocks;
  std::size_t bytes = 0;
};

Cache& cache() {
  static Cache* instance = new Cache;  // never destroyed: threads may outlive static destructors
  return *instance;
}

constexpr std::size_t max_blocks = 16;

}  // namespace

// try_lock, never lock: a child of fork() may inherit the mutex locked by a thread that it does
// not have. Such a child (or a loser of a race) simply allocates.
Workspace::Workspace(std::size_t bytes)
    : capacity_(round_up(std::max<std::size_t>(bytes, 1), 4096)) {
  Cache& c = cache();
  if (std::unique_lock lock(c.mutex, std::try_to_lock); lock) {
    auto best = c.blocks.end();
    for (auto block = c.blocks.begin(); block != c.blocks.end(); ++block)
      if (block->capacity >= capacity_ &&
          (best == c.blocks.end() || block->capacity < best->capacity))
        best = block;
    if (best != c.blocks.end()) {
      memory_ = std::move(best->memory);
      capacity_ = best->capacity;
      c.bytes -= capacity_;
      c.blocks.erase(best);
      return;
    }
  }
  memory_ = aligned_bytes(capacity_);
}

Workspace::~Workspace() {
  Cache& c = cache();
  std::unique_lock lock(c.mutex, std::try_to_lock);
  if (!lock) return;
  // The newest block is the likeliest to be asked for again, so the oldest make room for it.
  while (!c.blocks.empty() &&
         (c.blocks.size() >= max_blocks || c.bytes + capacity_ > workspace_cache_limit)) {
    c.bytes -= c.blocks.front().capacity;
    c.blocks.erase(c.blocks.begin());
  }
  if (capacity_ > workspace_cache_limit) return;
  c.bytes += capacity_;
  c.blocks.push_back({std::move(memory_), capacity_});
}

std::size_t workspace_cache_bytes() {
  Cache& c = cache();
  std::unique_lock lock(c.mutex, std::try_to_lock);
  return lock ? c.bytes : 0;
}

}  // namespace piste
