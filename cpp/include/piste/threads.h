#pragma once

namespace piste {

/// Threads that the next parallel operation uses, the calling thread included.
int num_threads();

/// Overrides the number of threads; throws ArgumentError unless 1 <= n <= max_num_threads.
void set_num_threads(int n);

inline constexpr int max_num_threads = 1024;

/// What the machine grants: min(CPU affinity, cgroup CPU quota), at least 1.
int available_cpus();

}  // namespace piste
