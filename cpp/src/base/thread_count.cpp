// How many threads to use: min(affinity, cgroup quota, OMP_NUM_THREADS) unless PISTE_NUM_THREADS
// or set_num_threads says otherwise.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

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

/// Ceiling of quota/period of one cgroup folder, or 0 where it sets no limit.
int quota_of(const std::string& folder) {
  if (std::ifstream v2(folder + "/cpu.max"); v2) {
    std::string quota;
    double period = 0;
    if (v2 >> quota >> period && quota != "max" && period > 0)
      return std::max(1, static_cast<int>(std::ceil(std::atof(quota.c_str()) / period)));
  }
  std::ifstream v1_quota(folder + "/cpu.cfs_quota_us"), v1_period(folder + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0)
    return std::max(1, static_cast<int>(std::ceil(quota / period)));
  return 0;
}

/// The tightest CPU quota of this process's cgroup and its parents, or 0 where there is none.
int cgroup_cpus() {
  int limit = 0;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // hierarchy:controllers:path
    std::istringstream fields(line);
    std::string id, controllers, path;
    std::getline(fields, id, ':');
    std::getline(fields, controllers, ':');
    std::getline(fields, path);
    const bool v2 = id == "0" && controllers.empty();
    if (!v2 && controllers.find("cpu") == std::string::npos) continue;
    const std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    for (;;) {  // a parent's quota binds its children
      if (const int cpus = quota_of(root + (path == "/" ? "" : path)))
        limit = limit ? std::min(limit, cpus) : cpus;
      if (path.empty() || path == "/") break;
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
  }
  return limit;
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
  const int affinity = affinity_cpus(), quota = cgroup_cpus();
  return quota ? std::min(affinity, quota) : affinity;
}

int num_threads() {
  return fixed_threads ? fixed_threads : setting().load(std::memory_order_relaxed);
}

FixedThreads::FixedThreads() : before_(fixed_threads) { fixed_threads = num_threads(); }
FixedThreads::~FixedThreads() { fixed_threads = before_; }

void set_num_threads(int n) {
  check(n >= 1 && n <= max_num_threads, "set_num_threads", "expected 1 to ", max_num_threads,
        " threads, got ", n);
  setting().store(n, std::memory_order_relaxed);
}

}  // namespace piste
