// Threads, their number, giving up, splits and memory.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/cgroup.h"
#include "base/parallel.h"
#include "base/workspace.h"
#include "check.h"
#include "piste/errors.h"

namespace piste {
namespace {

void test_every_task_runs_once() {
  for (const int threads : {1, 2, 5, 70}) {  // 70: more than there are queues of tasks
    set_num_threads(threads);
    for (const Index tasks : {0, 1, 3, 100}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      const int workers = parallel_workers(tasks);
      std::atomic<bool> worker_in_range{true};
      parallel_for(tasks, [&](Index task, int worker) {
        ++runs[static_cast<std::size_t>(task)];
        if (worker < 0 || worker >= workers) worker_in_range = false;
      });
      EXPECT(worker_in_range);
      for (const auto& count : runs) EXPECT(count == 1);
    }
  }
}

void test_calls_from_several_threads_at_once() {
  set_num_threads(3);
  std::atomic<int> runs{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int call = 0; call < 200; ++call) {
        std::vector<int> own(16);  // seen by the caller without a lock, when the call has ended
        parallel_for(16, [&](Index task, int) { ++own[static_cast<std::size_t>(task)]; });
        for (const int times : own) runs += times;
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT(runs == 4 * 200 * 16);
}

void test_a_call_gets_on_without_threads_that_another_holds() {
  set_num_threads(2);
  std::atomic<int> held{0}, runs{0};
  std::atomic<bool> release{false};
  std::thread other([&] {
    parallel_for(2, [&](Index, int) {
      ++held;
      while (!release) std::this_thread::yield();
    });
  });
  while (held < 2) std::this_thread::yield();
  parallel_for(10, [&](Index, int) { ++runs; });
  EXPECT(runs == 10);
  release = true;
  other.join();
}

void test_helpers_take_faults_and_no_other_signals() {
  set_num_threads(2);
  std::atomic<int> held{0};
  sigset_t masks[2];
  parallel_for(2, [&](Index, int worker) {
    pthread_sigmask(SIG_SETMASK, nullptr, &masks[worker]);
    for (++held; held < 2;) std::this_thread::yield();
  });
  for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGCHLD}) {
    EXPECT(!sigismember(&masks[0], signal));
    EXPECT(sigismember(&masks[1], signal));
  }
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) EXPECT(!sigismember(&masks[1], fault));
}

std::atomic<bool> release_helper{false};
pid_t forked = -1;  // 0: this is the child

void fork_once() {
  if (forked >= 0) return;
  forked = fork();
  if (forked == 0) alarm(20);
  release_helper = true;  // in the parent: the child has no helper
}

void test_a_call_that_a_signal_handler_forks_ends_in_an_error_in_the_child() {
  set_num_threads(2);
  std::atomic<int> held{0};
  bool caught = false;
  Watch watch(fork_once);
  try {
    parallel_for(
        2,
        [&](Index, int worker) {
          for (++held; held < 2;) std::this_thread::yield();
          while (worker > 0 && !release_helper) std::this_thread::yield();
        },
        &watch);
  } catch (const std::runtime_error&) {
    caught = true;
  }
  if (forked == 0) _exit(caught ? 0 : 1);
  EXPECT(!caught);
  int status = -1;
  EXPECT(waitpid(forked, &status, 0) == forked && status == 0);
}

void test_an_exception_reaches_the_caller() {
  set_num_threads(3);
  bool caught = false;
  try {
    parallel_for(20, [](Index task, int) {
      if (task == 7) throw std::runtime_error("seven");
    });
  } catch (const std::runtime_error& error) {
    caught = std::strcmp(error.what(), "seven") == 0;
  }
  EXPECT(caught);
}

void test_nested_calls_run() {
  set_num_threads(3);
  std::atomic<int> runs{0};
  parallel_for(4, [&](Index, int) { parallel_for(5, [&](Index, int) { ++runs; }); });
  EXPECT(runs == 20);
}

void test_a_split_covers_everything_in_order() {
  for (const Index n : {0, 1, 7, 64, 1000, 99999})
    for (const Index grain : {1, 3, 64}) {
      const Split split(n, grain, 50);
      EXPECT(split.count <= 50);
      Index at = 0;
      for (Index i = 0; i < split.count; ++i) {
        EXPECT(split.begin(i) == at);
        EXPECT(split.end(i) > at);
        at = split.end(i);
      }
      EXPECT(at == n);
    }
}

void test_an_even_split_has_one_part_or_an_even_number_of_them() {
  EXPECT(even_split(5, 8).count == 1);
  EXPECT(even_split(100, 40).count == 4);
  EXPECT(even_split(100, 30).count == 4);
  EXPECT(even_split(3, 1).count == 3);  // there are no more items
  EXPECT(even_split(0, 1).count == 0);
  const Split split = even_split(100, 40);
  EXPECT(split.begin(0) == 0 && split.end(3) == 100);
}

void test_numbers_of_threads_out_of_range_are_refused() {
  set_num_threads(2);
  for (const int n : {0, -1, max_num_threads + 1}) {
    bool refused = false;
    try {
      set_num_threads(n);
    } catch (const ArgumentError&) {
      refused = true;
    }
    EXPECT(refused);
  }
  EXPECT(num_threads() == 2);
}

void test_scratch_memory_is_aligned_writable_and_comes_back() {
  std::byte* first = nullptr;
  {
    const Workspace memory(100000);
    first = memory.data();
    EXPECT(reinterpret_cast<std::uintptr_t>(first) % alignment == 0);
    std::memset(first, 1, 100000);
  }
  EXPECT(workspace_cache_bytes() >= 100000);
  const Workspace again(100000), other(100000);
  EXPECT(again.data() == first);
  EXPECT(other.data() != first);
  std::memset(other.data(), 1, 100000);
  const Workspace none(0);
  EXPECT(none.data() != nullptr);
}

void test_zeroed_memory_is_aligned_and_zero() {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{5000000}}) {
    const AlignedBytes memory = zeroed_bytes(bytes, "a test");
    EXPECT(reinterpret_cast<std::uintptr_t>(memory.get()) % alignment == 0);
    bool zero = true;
    for (std::size_t i = 0; i < bytes; ++i) zero &= memory.get()[i] == std::byte{0};
    EXPECT(zero);
  }
}

struct Enough {};

void test_a_question_that_throws_ends_all_workers() {
  for (const int threads : {1, 2, 5}) {
    set_num_threads(threads);
    std::atomic<int> pieces{0};
    Watch watch([] { throw Enough(); });
    bool caught = false;
    try {
      // Tasks that would take minutes: only a watch that all look at ends them.
      parallel_for(
          2,
          [&](Index, int worker) {
            for (int i = 0; i < 100000 && !watch.stop(worker); ++i, ++pieces)
              std::this_thread::sleep_for(std::chrono::milliseconds(1));
          },
          &watch);
    } catch (const Enough&) {
      caught = true;
    }
    EXPECT(caught);
    EXPECT(pieces < 10000);
  }
}

void test_the_calling_thread_asks_while_it_waits() {
  set_num_threads(2);
  Watch watch([] { throw Enough(); });
  std::atomic<bool> other_has_begun{false};
  bool caught = false;
  try {
    parallel_for(
        2,
        [&](Index, int worker) {
          if (worker == 0) {  // waits until the other task is taken, then has no more to do
            while (!other_has_begun) std::this_thread::yield();
            return;
          }
          other_has_begun = true;
          for (int i = 0; i < 100000 && !watch.stop(worker); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        },
        &watch);
  } catch (const Enough&) {
    caught = true;
  }
  EXPECT(caught);
}

void test_the_number_of_threads_stands_still_in_a_call() {
  set_num_threads(2);
  {
    const FixedThreads fixed;
    set_num_threads(7);
    EXPECT(num_threads() == 2);
    {
      const FixedThreads inner;
      EXPECT(num_threads() == 2);
    }
    EXPECT(num_threads() == 2);
    int elsewhere = 0;
    std::thread([&] { elsewhere = num_threads(); }).join();
    EXPECT(elsewhere == 7);
  }
  EXPECT(num_threads() == 7);
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

void test_cgroup_quotas() {
  const auto folder = std::filesystem::temp_directory_path() / "piste-test-cgroup";
  const auto cpus = [&](const std::string& membership) {
    write(folder / "membership", membership);
    return cgroup_cpus((folder / "membership").string(), (folder / "mount").string());
  };
  std::filesystem::remove_all(folder);
  EXPECT(cgroup_cpus((folder / "none").string(), (folder / "none").string()) == 0);
  EXPECT(cpus("0::/\n") == 0);
  const auto mount = folder / "mount";
  write(mount / "cpu.max", "max 100000\n");
  EXPECT(cpus("0::/\n") == 0);
  write(mount / "cpu.max", "250000 100000\n");
  EXPECT(cpus("0::/\n") == 3);  // two and a half
  write(mount / "a/cpu.max", "800000 100000\n");
  write(mount / "a/b/cpu.max", "max 100000\n");
  EXPECT(cpus("0::/a/b\n") == 3);  // the tightest of all above
  write(mount / "a/b/cpu.max", "1000 100000\n");
  EXPECT(cpus("0::/a/b\n") == 1);  // never less than one
  EXPECT(cpus("0::/a\n") == 3);
  EXPECT(cpus("0::/gone\n") == 3);
  write(mount / "cpu.max", "nonsense\n");
  EXPECT(cpus("0::/\n") == 0);
  // Version 1: only the hierarchy that has the cpu controller counts.
  write(mount / "cpu/box/cpu.cfs_quota_us", "400000\n");
  write(mount / "cpu/box/cpu.cfs_period_us", "100000\n");
  EXPECT(cpus("3:cpuset:/other\n2:cpuacct,cpu:/box\n1:memory:/box\n") == 4);
  EXPECT(cpus("3:cpuset:/box\n") == 0);
  write(mount / "cpu/box/cpu.cfs_quota_us", "-1\n");
  EXPECT(cpus("2:cpu:/box\n") == 0);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace piste

int main() {
  piste::test_every_task_runs_once();
  piste::test_calls_from_several_threads_at_once();
  piste::test_a_call_gets_on_without_threads_that_another_holds();
  piste::test_helpers_take_faults_and_no_other_signals();
  piste::test_a_call_that_a_signal_handler_forks_ends_in_an_error_in_the_child();
  piste::test_an_exception_reaches_the_caller();
  piste::test_nested_calls_run();
  piste::test_a_split_covers_everything_in_order();
  piste::test_an_even_split_has_one_part_or_an_even_number_of_them();
  piste::test_numbers_of_threads_out_of_range_are_refused();
  piste::test_scratch_memory_is_aligned_writable_and_comes_back();
  piste::test_zeroed_memory_is_aligned_and_zero();
  piste::test_a_question_that_throws_ends_all_workers();
  piste::test_the_calling_thread_asks_while_it_waits();
  piste::test_the_number_of_threads_stands_still_in_a_call();
  piste::test_cgroup_quotas();
  return piste::test::failures != 0;
}
