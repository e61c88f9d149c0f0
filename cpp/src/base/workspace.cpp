#include "base/workspace.h"

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "piste/memory.h"

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
Workspace::Workspace(std::size_t bytes, Fit fit)
    : capacity_(round_up(std::max<std::size_t>(bytes, 1), 4096)) {
  Cache& c = cache();
  const std::size_t most = fit == Fit::any ? SIZE_MAX : capacity_ + capacity_ / 4;
  if (std::unique_lock lock(c.mutex, std::try_to_lock); lock) {
    auto best = c.blocks.end();
    for (auto block = c.blocks.begin(); block != c.blocks.end(); ++block)
      if (block->capacity >= capacity_ && block->capacity <= most &&
          (best == c.blocks.end() || block->capacity <= best->capacity))
        best = block;  // of several alike the newest, which caches may still hold
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

std::shared_ptr<std::byte> result_memory(std::size_t bytes) {
  const auto memory = std::make_shared<Workspace>(bytes, Workspace::Fit::close);
  return {memory, memory->data()};
}

std::size_t workspace_cache_bytes() {
  Cache& c = cache();
  std::unique_lock lock(c.mutex, std::try_to_lock);
  return lock ? c.bytes : 0;
}

}  // namespace piste
