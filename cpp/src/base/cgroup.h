#pragma once

#include <string>

namespace piste {

/// The tightest CPU quota, rounded up to whole CPUs, of a process's cgroup and its parents; 0
/// where there is none. `membership` is its /proc/.../cgroup, `mount` where cgroups are mounted.
int cgroup_cpus(const std::string& membership, const std::string& mount);

}  // namespace piste
