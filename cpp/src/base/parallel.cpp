#include "base/parallel.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>

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

}  // namespace

int parallel_workers(Index tasks) {
  if (inside_region) return 1;
  return static_cast<int>(std::clamp<Index>(tasks, 1, num_threads()));
}

void parallel_for(Index tasks, TaskRef body) {
  if (tasks <= 0) return;
  const int workers = parallel_workers(tasks);
  if (workers == 1) return run_serially(tasks, body);

  static const int registered = pthread_atfork(release_pool_before_fork, nullptr, nullptr);
  (void)registered;

  std::atomic<Index> next{0};
  std::exception_ptr error;
  std::atomic<bool> failed{false};
#pragma omp parallel num_threads(workers)
  {
    FlushToZero guard;
    inside_region = true;
    const int worker = omp_get_thread_num();
    try {
      for (Index task; !failed.load(std::memory_order_relaxed) &&
                       (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;)
        body(task, worker);
    } catch (...) {  // an exception must not leave the region: the process would end
      if (!failed.exchange(true)) error = std::current_exception();
    }
    inside_region = false;
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace piste
