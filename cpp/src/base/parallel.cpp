#include "base/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <thread>

#include "base/ftz.h"

namespace piste {
namespace {

thread_local bool inside_region = false;

// libgomp hangs in a child of fork() whose parent thread owned a pool: give the pool back before.
void release_pool_before_fork() { omp_pause_resource_all(omp_pause_hard); }

void run_serially(Index tasks, TaskRef body) {
  FlushToZero guard;
  for (Index task = 0; task < tasks; ++task) body(task, 0);
}

/// The calling thread has no task left: it keeps asking until `ended` of the others have none.
void ask_until(const std::atomic<int>& ended, int others, Watch& watch) {
  const auto start = std::chrono::steady_clock::now();
  while (ended.load(std::memory_order_acquire) < others) {
    watch.ask();
    if (std::chrono::steady_clock::now() - start < std::chrono::microseconds(200))
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

}  // namespace

int parallel_workers(Index tasks) {
  if (inside_region) return 1;
  return static_cast<int>(std::clamp<Index>(tasks, 1, num_threads()));
}

void parallel_for(Index tasks, TaskRef body, Watch* watch) {
  if (tasks <= 0) return;
  const int workers = parallel_workers(tasks);
  if (workers == 1) return run_serially(tasks, body);

  static const int registered = pthread_atfork(release_pool_before_fork, nullptr, nullptr);
  (void)registered;

  std::atomic<Index> next{0};
  std::exception_ptr error;
  std::atomic<bool> failed{false};
  std::atomic<int> ended{0};
  const auto guarded = [&](auto&& part) {
    try {
      part();
    } catch (...) {  // an exception must not leave the region: the process would end
      if (!failed.exchange(true)) error = std::current_exception();
      if (watch) watch->give_up();
    }
  };
  // A team of one size, whatever the number of tasks: libgomp ends the threads that a smaller team
  // doesn't need, and starts others for the next one.
#pragma omp parallel num_threads(num_threads())
  {
    FlushToZero guard;
    inside_region = true;
    const int worker = omp_get_thread_num();
    guarded([&] {
      for (Index task; worker < workers && !failed.load(std::memory_order_relaxed) &&
                       (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;)
        body(task, worker);
    });
    inside_region = false;
    if (worker != 0)
      ended.fetch_add(1, std::memory_order_release);
    else if (watch)
      guarded([&] { ask_until(ended, omp_get_num_threads() - 1, *watch); });
  }
  if (error) std::rethrow_exception(error);
}

void side_by_side(const std::vector<std::function<void()>>& calls) {
  const FixedThreads fixed;
  const Index n = static_cast<Index>(calls.size()), together = n - n % num_threads();
  parallel_for(together, [&](Index i, int) { calls[i](); });
  for (Index i = together; i < n; ++i) calls[i]();
}

}  // namespace piste
