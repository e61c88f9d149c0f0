#include "base/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <array>
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

/// The tasks cut into one run of neighbours per worker: memory that tasks go through in order is
/// read by each worker in order, which its prefetching likes. Who has none left takes from others.
class Queues {
 public:
  Queues(Index tasks, int workers)
      : tasks_(tasks), count_(std::min(workers, static_cast<int>(queues_.size()))) {
    for (int i = 0; i < count_; ++i) queues_[i].next = begin(i);
  }
  /// body(task), which returns whether to go on, for the tasks that fall to a worker.
  template <class Body>
  void for_each_task(int worker, Body&& body) {
    for (int i = 0; i < count_; ++i) {
      const int queue = (worker + i) % count_;
      std::atomic<Index>& next = queues_[queue].next;
      for (Index task; (task = next.fetch_add(1, std::memory_order_relaxed)) < begin(queue + 1);)
        if (!body(task)) return;
    }
  }

 private:
  struct alignas(64) Queue {  // a cache line each
    std::atomic<Index> next;
  };
  Index begin(int queue) const {
    return tasks_ / count_ * queue + tasks_ % count_ * queue / count_;
  }

  Index tasks_;
  int count_;
  std::array<Queue, 64> queues_;
};

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

  Queues queues(tasks, workers);
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
      if (worker >= workers) return;
      queues.for_each_task(worker, [&](Index task) {
        if (failed.load(std::memory_order_relaxed)) return false;
        body(task, worker);
        return true;
      });
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
