// How many threads to use: min(affinity, cgroup quota, OMP_NUM_THREADS) unless PISTE_NUM_THREADS
// or set_num_threads says otherwise.

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "base/cgroup.h"
#include "piste/errors.h"
#include "piste/threads.h"

namespace piste {
namespace {

int affinity_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

/// The number from 1 to max_num_threads that a text begins with, or 0, and where it ends.
int leading_number(const char* text, char** end) {
  const long value = std::strtol(text, end, 10);
  return *end != text && value >= 1 && value <= max_num_threads ? static_cast<int>(value) : 0;
}

int default_threads() {
  char* end = nullptr;
  if (const char* forced = std::getenv("PISTE_NUM_THREADS"); forced && *forced) {
    const int threads = leading_number(forced, &end);
    check(threads && !*end, "threads", "PISTE_NUM_THREADS=", forced,
          " is no whole number from 1 to ", max_num_threads);
    return threads;
  }
  const int cpus = available_cpus();
  const char* openmp = std::getenv("OMP_NUM_THREADS");
  const int most = openmp ? leading_number(openmp, &end) : 0;  // "4,2" (nested levels) counts as 4
  return most ? std::min(cpus, most) : cpus;
}

std::atomic<int> setting{0};  // 0: by default_threads(). No static in a function: a child forked
                              // while another thread makes one would wait for that thread for ever.

thread_local int fixed_threads = 0;  // 0: by the setting

}  // namespace

int available_cpus() {
  const int affinity = affinity_cpus(), quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
  return quota ? std::min(affinity, quota) : affinity;
}

int num_threads() {
  if (fixed_threads) return fixed_threads;
  int threads = setting.load(std::memory_order_relaxed);
  if (threads) return threads;
  const int found = default_threads();
  return setting.compare_exchange_strong(threads, found) ? found : threads;
}

FixedThreads::FixedThreads() : before_(fixed_threads) { fixed_threads = num_threads(); }
FixedThreads::FixedThreads(int n) : before_(fixed_threads) { fixed_threads = n; }
FixedThreads::~FixedThreads() { fixed_threads = before_; }

void set_num_threads(int n) {
  check(n >= 1 && n <= max_num_threads, "set_num_threads", "expected 1 to ", max_num_threads,
        " threads, got ", n);
  setting.store(n, std::memory_order_relaxed);
}

}  // namespace piste
