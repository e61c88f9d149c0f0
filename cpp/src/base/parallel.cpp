#include "base/parallel.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>

#include "base/ftz.h"
#include "base/team.h"

namespace piste {
namespace {

thread_local bool inside_region = false;

void run_serially(Index tasks, TaskRef body) {
  FlushToZero guard;
  for (Index task = 0; task < tasks; ++task) body(task, 0);
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

  Queues queues(tasks, workers);
  std::exception_ptr error;
  std::atomic<bool> failed{false};
  const auto guarded = [&](auto&& part) {
    try {
      part();
    } catch (...) {  // where a helper's thread threw, the process would end
      if (!failed.exchange(true)) error = std::current_exception();
      if (watch) watch->give_up();
    }
  };
  const auto work = [&](int worker) {
    FlushToZero guard;
    inside_region = true;
    guarded([&] {
      queues.for_each_task(worker, [&](Index task) {
        if (failed.load(std::memory_order_relaxed)) return false;
        body(task, worker);
        return true;
      });
    });
    inside_region = false;
  };
  {
    Team team(workers - 1, work);
    work(0);
    guarded([&] { team.wait(watch); });
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
