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

/// A whole number from 1 to max_num_threads from the environment, or 0.
int from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (!text) return 0;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);  // "4,2" (nested levels) counts as 4
  if (end == text || value < 1 || value > max_num_threads) return 0;
  return static_cast<int>(value);
}

int default_threads() {
  if (const int forced = from_environment("PISTE_NUM_THREADS")) return forced;
  const int cpus = available_cpus();
  const int openmp = from_environment("OMP_NUM_THREADS");
  return openmp ? std::min(cpus, openmp) : cpus;
}

std::atomic<int>& setting() {
  static std::atomic<int> threads{default_threads()};
  return threads;
}

thread_local int fixed_threads = 0;  // 0: by the setting

}  // namespace

int available_cpus() {
  const int affinity = affinity_cpus(), quota = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");
  return quota ? std::min(affinity, quota) : affinity;
}

int num_threads() {
  return fixed_threads ? fixed_threads : setting().load(std::memory_order_relaxed);
}

FixedThreads::FixedThreads() : before_(fixed_threads) { fixed_threads = num_threads(); }
FixedThreads::FixedThreads(int n) : before_(fixed_threads) { fixed_threads = n; }
FixedThreads::~FixedThreads() { fixed_threads = before_; }

void set_num_threads(int n) {
  check(n >= 1 && n <= max_num_threads, "set_num_threads", "expected 1 to ", max_num_threads,
        " threads, got ", n);
  setting().store(n, std::memory_order_relaxed);
}

}  // namespace piste
