#pragma once

#include <chrono>

namespace piste {

/// Adds the seconds that it lives to a sum; without one it does nothing.
class Lap {
 public:
  explicit Lap(double* sum) : sum_(sum) {
    if (sum_) start_ = Clock::now();
  }
  ~Lap() {
    if (sum_) *sum_ += std::chrono::duration<double>(Clock::now() - start_).count();
  }
  Lap(const Lap&) = delete;
  Lap& operator=(const Lap&) = delete;

 private:
  using Clock = std::chrono::steady_clock;

  double* sum_;
  Clock::time_point start_;
};

}  // namespace piste
