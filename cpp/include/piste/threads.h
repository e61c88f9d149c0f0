#pragma once

#include <functional>
#include <vector>

namespace piste {

/// Threads that the next parallel operation uses, the calling thread included.
int num_threads();

/// Overrides the number of threads; throws ArgumentError unless 1 <= n <= max_num_threads.
void set_num_threads(int n);

inline constexpr int max_num_threads = 1024;

/// Keeps this thread's num_threads() as it is: what a call has made room for must not change under
/// it because another thread calls set_num_threads().
class FixedThreads {
 public:
  FixedThreads();
  explicit FixedThreads(int n);  // or at n
  ~FixedThreads();
  FixedThreads(const FixedThreads&) = delete;
  FixedThreads& operator=(const FixedThreads&) = delete;

 private:
  int before_;
};

/// What the machine grants: min(CPU affinity, cgroup CPU quota), at least 1.
int available_cpus();

/// Runs whole calls of this library at the same time, one thread each, as long as there is a call
/// for every thread; those left over run one after another on all threads. An exception ends the
/// others when their calls have ended; calls that had not begun are not made.
void side_by_side(const std::vector<std::function<void()>>& calls);

}  // namespace piste
