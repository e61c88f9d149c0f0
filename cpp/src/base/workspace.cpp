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

// Never destroyed: threads may outlive static destructors. No static in a function: a child forked
// while another thread makes one would wait for that thread for ever.
Cache& cache = *new Cache;

constexpr std::size_t max_blocks = 16;

}  // namespace

// try_lock, never lock: a child of fork() may inherit the mutex locked by a thread that it does
// not have. Such a child (or a loser of a race) simply allocates.
Workspace::Workspace(std::size_t bytes, Fit fit)
    : capacity_(round_up(std::max<std::size_t>(bytes, 1), 4096)) {
  const std::size_t most = fit == Fit::any ? SIZE_MAX : capacity_ + capacity_ / 4;
  if (std::unique_lock lock(cache.mutex, std::try_to_lock); lock) {
    auto best = cache.blocks.end();
    for (auto block = cache.blocks.begin(); block != cache.blocks.end(); ++block)
      if (block->capacity >= capacity_ && block->capacity <= most &&
          (best == cache.blocks.end() || block->capacity <= best->capacity))
        best = block;  // of several alike the newest, which caches may still hold
    if (best != cache.blocks.end()) {
      memory_ = std::move(best->memory);
      capacity_ = best->capacity;
      cache.bytes -= capacity_;
      cache.blocks.erase(best);
      return;
    }
  }
  memory_ = aligned_bytes(capacity_, fit == Fit::any ? "scratch memory" : "a result");
}

Workspace::~Workspace() {
  std::unique_lock lock(cache.mutex, std::try_to_lock);
  if (!lock) return;
  // The newest block is the likeliest to be asked for again, so the oldest make room for it.
  while (!cache.blocks.empty() &&
         (cache.blocks.size() >= max_blocks || cache.bytes + capacity_ > workspace_cache_limit)) {
    cache.bytes -= cache.blocks.front().capacity;
    cache.blocks.erase(cache.blocks.begin());
  }
  if (capacity_ > workspace_cache_limit) return;
  cache.bytes += capacity_;
  cache.blocks.push_back({std::move(memory_), capacity_});
}

std::shared_ptr<std::byte> result_memory(std::size_t bytes) {
  const auto memory = std::make_shared<Workspace>(bytes, Workspace::Fit::close);
  return {memory, memory->data()};
}

std::shared_ptr<std::byte> lasting_memory(std::size_t bytes) {
  return aligned_bytes(bytes, "parameters");
}

std::size_t workspace_cache_bytes() {
  std::unique_lock lock(cache.mutex, std::try_to_lock);
  return lock ? cache.bytes : 0;
}

}  // namespace piste
