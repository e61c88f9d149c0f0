// Threads, splits and scratch memory.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "base/parallel.h"
#include "base/workspace.h"
#include "check.h"
#include "piste/errors.h"

namespace piste {
namespace {

void test_every_task_runs_once() {
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    for (const Index tasks : {0, 1, 3, 100}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      const int workers = parallel_workers(tasks);
      std::atomic<bool> worker_in_range{true};
      parallel_for(tasks, [&](Index task, int worker) {
        ++runs[static_cast<std::size_t>(task)];
        if (worker < 0 || worker >= workers) worker_in_range = false;
      });
      EXPECT(worker_in_range);
      for (const auto& count : runs) EXPECT(count == 1);
    }
  }
}

void test_an_exception_reaches_the_caller() {
  set_num_threads(3);
  bool caught = false;
  try {
    parallel_for(20, [](Index task, int) {
      if (task == 7) throw std::runtime_error("seven");
    });
  } catch (const std::runtime_error& error) {
    caught = std::strcmp(error.what(), "seven") == 0;
  }
  EXPECT(caught);
}

void test_nested_calls_run() {
  set_num_threads(3);
  std::atomic<int> runs{0};
  parallel_for(4, [&](Index, int) { parallel_for(5, [&](Index, int) { ++runs; }); });
  EXPECT(runs == 20);
}

void test_a_split_covers_everything_in_order() {
  for (const Index n : {0, 1, 7, 64, 1000, 99999})
    for (const Index grain : {1, 3, 64}) {
      const Split split(n, grain, 50);
      EXPECT(split.count <= 50);
      Index at = 0;
      for (Index i = 0; i < split.count; ++i) {
        EXPECT(split.begin(i) == at);
        EXPECT(split.end(i) > at);
        at = split.end(i);
      }
      EXPECT(at == n);
    }
}

void test_numbers_of_threads_out_of_range_are_refused() {
  set_num_threads(2);
  for (const int n : {0, -1, max_num_threads + 1}) {
    bool refused = false;
    try {
      set_num_threads(n);
    } catch (const ArgumentError&) {
      refused = true;
    }
    EXPECT(refused);
  }
  EXPECT(num_threads() == 2);
}

void test_scratch_memory_is_aligned_writable_and_comes_back() {
  std::byte* first = nullptr;
  {
    const Workspace memory(100000);
    first = memory.data();
    EXPECT(reinterpret_cast<std::uintptr_t>(first) % alignment == 0);
    std::memset(first, 1, 100000);
  }
  EXPECT(workspace_cache_bytes() >= 100000);
  const Workspace again(100000), other(100000);
  EXPECT(again.data() == first);
  EXPECT(other.data() != first);
  std::memset(other.data(), 1, 100000);
  const Workspace none(0);
  EXPECT(none.data() != nullptr);
}

}  // namespace
}  // namespace piste

int main() {
  piste::test_every_task_runs_once();
  piste::test_an_exception_reaches_the_caller();
  piste::test_nested_calls_run();
  piste::test_a_split_covers_everything_in_order();
  piste::test_numbers_of_threads_out_of_range_are_refused();
  piste::test_scratch_memory_is_aligned_writable_and_comes_back();
  return piste::test::failures != 0;
}
