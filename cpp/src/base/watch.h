#pragma once

#include <atomic>
#include <chrono>

namespace piste {

/// Lets a long parallel_for be given up. Worker 0, the calling thread, asks the caller's question
/// every few dozen milliseconds; where it throws, every worker gives its task up at its next
/// stop(), and parallel_for rethrows.
class Watch {
 public:
  using Question = void (*)();

  explicit Watch(Question question) : question_(question), asked_(Clock::now()) {}

  /// Whether to give the running task up; for every worker, between two pieces of a task.
  bool stop(int worker) {
    if (worker == 0) ask();
    return stopped_.load(std::memory_order_relaxed);
  }

  void ask() {
    const Clock::time_point now = Clock::now();
    if (!question_ || now - asked_ < std::chrono::milliseconds(30)) return;
    question_();
    asked_ = Clock::now();
  }

  void give_up() { stopped_.store(true, std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;

  Question question_;
  Clock::time_point asked_;  // by worker 0 alone
  std::atomic<bool> stopped_{false};
};

}  // namespace piste
