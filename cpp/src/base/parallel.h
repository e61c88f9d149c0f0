#pragma once

#include "base/call_ref.h"
#include "base/watch.h"
#include "piste/tensor.h"
#include "piste/threads.h"

namespace piste {

using TaskRef = CallRef<Index, int>;

/// Runs body(task, worker) for every task in [0, tasks), on at most num_threads() workers, with
/// denormals flushed to zero. `worker` is below the value of parallel_workers(tasks) and no two
/// tasks run on one worker at a time, so it may index scratch memory. Which worker takes which
/// task is not fixed: results must depend on the task alone. An exception leaves the region after
/// the running tasks have ended; the first one is rethrown. Nested calls run on the caller.
///
/// Worker 0 is the calling thread. Tasks that may take long are given a watch to look at; the
/// calling thread then goes on asking while it waits for the others.
void parallel_for(Index tasks, TaskRef body, Watch* watch = nullptr);

/// Upper bound of the workers that parallel_for(tasks, ...) uses when called now.
int parallel_workers(Index tasks);

/// Splits n items into parts of about `grain` items or more: [begin(i), end(i)) for i < count.
/// The split depends on n and grain only, never on the number of threads.
struct Split {
  Index n, count;
  Split(Index items, Index grain, Index max_parts = 1 << 12)
      : n(items), count(items <= 0 ? 0 : (items + grain - 1) / grain) {
    if (count > max_parts) count = max_parts;
  }
  Index begin(Index i) const { return n / count * i + (i < n % count ? i : n % count); }
  Index end(Index i) const { return begin(i + 1); }
};

/// A Split into one part or an even number of them: two threads get as much each.
inline Split even_split(Index n, Index grain, Index max_parts = 1 << 12) {
  const Split parts(n, grain, max_parts);
  return parts.count > 1 ? Split(n, 1, parts.count + parts.count % 2) : parts;
}

}  // namespace piste
