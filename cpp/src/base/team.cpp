#include "base/team.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "piste/threads.h"

namespace piste {
namespace {

using Clock = std::chrono::steady_clock;

// How long helpers stay awake for the next call, and a call for its helpers. To wake a thread takes
// 10 to 50 microseconds; a step's gap between two calls is shorter, most of the time.
constexpr std::chrono::microseconds idle_awake{500}, wait_awake{200}, nap{50};
// After the system granted no thread. To ask takes 10 microseconds or more, at every call.
constexpr std::chrono::milliseconds ask_again{100};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Asks done() until it is true or the time is up: at first with no break, then between any other
/// threads that want the CPU.
template <class Done>
bool poll(Done&& done, std::chrono::microseconds most) {
  for (int i = 0; i < 100; ++i) {
    if (done()) return true;
    relax();
  }
  for (const auto end = Clock::now() + most; Clock::now() < end; std::this_thread::yield())
    if (done()) return true;
  return done();
}

/// One helping thread. On its desk lies a team's address, its own when it has begun with it
/// (marked by a bit), or nothing.
struct alignas(64) Helper {
  std::atomic<std::uintptr_t> desk{0};
  std::atomic<std::uint32_t> bell{0};

  bool replace(std::uintptr_t what, std::uintptr_t by) {
    return desk.compare_exchange_strong(what, by, std::memory_order_acq_rel);
  }
  void ring() {
    bell.fetch_add(1);
    bell.notify_one();
  }
};

constexpr std::uintptr_t begun = 1;

std::uintptr_t address(const Team& team) { return reinterpret_cast<std::uintptr_t>(&team); }

[[noreturn]] void live(Helper& helper, int worker) {
  for (;;) {
    const std::uint32_t heard = helper.bell.load();
    std::uintptr_t offer = 0;
    if (!poll([&] { return (offer = helper.desk.load(std::memory_order_acquire)) != 0; },
              idle_awake)) {
      helper.bell.wait(heard);
    } else if (helper.replace(offer, offer | begun)) {
      reinterpret_cast<Team*>(offer)->work(worker);
      helper.desk.store(0, std::memory_order_release);
    }
  }
}

/// While it lives, threads start with the signals blocked that other threads can take as well:
/// those are for the threads of the program. A fault is for the thread that made it, and its
/// handler.
class SignalsElsewhere {
 public:
  SignalsElsewhere() {
    sigset_t others;
    sigfillset(&others);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT})
      sigdelset(&others, fault);
    pthread_sigmask(SIG_BLOCK, &others, &before_);
  }
  ~SignalsElsewhere() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsElsewhere(const SignalsElsewhere&) = delete;
  SignalsElsewhere& operator=(const SignalsElsewhere&) = delete;

 private:
  sigset_t before_;
};

/// All helpers there are; more start when they are first asked for.
class Helpers {
 public:
  Helpers();
  /// As many of the first `n` as there are.
  int ready(int n) {
    if (started_.load(std::memory_order_acquire) < n) start(n);
    return std::min(n, started_.load(std::memory_order_acquire));
  }
  /// Forks from the first process to this one.
  int forks() const { return forks_; }
  Helper& operator[](int i) { return *helpers_[static_cast<std::size_t>(i)]; }

 private:
  void start(int n) {
    const SignalsElsewhere signals;  // outside the lock: a handler that forks takes it
    const std::lock_guard lock(starting_);
    if (Clock::now() < refused_until_) return;
    try {
      for (int i = started_; i < n; started_ = ++i) {
        auto helper = std::make_unique<Helper>();
        std::thread([desk = helper.get(), i] { live(*desk, i + 1); }).detach();
        helpers_[static_cast<std::size_t>(i)] = helper.release();
      }
    } catch (const std::exception&) {  // no thread or no memory for it: fewer help
      refused_until_ = Clock::now() + ask_again;
    }
  }

  std::mutex starting_;
  std::atomic<int> started_{0};
  std::atomic<int> forks_{0};
  Clock::time_point refused_until_{};
  std::array<Helper*, max_num_threads> helpers_{};
};

// It outlives its threads, which never end. No static in a function: a child forked while another
// thread makes one would wait for that thread for ever.
Helpers& all = *new Helpers;

Helpers::Helpers() {
  pthread_atfork([] { all.starting_.lock(); }, [] { all.starting_.unlock(); },
                 [] {
                   all.started_ = 0;  // a child has none of its parent's threads
                   ++all.forks_;
                   all.starting_.unlock();
                 });
}

}  // namespace

Team::Team(int helpers, CallRef<int> work) : work_(work) {
  helpers_ = all.ready(helpers);
  forks_ = all.forks();
  for (int i = 0; i < helpers_; ++i)
    if (all[i].replace(0, address(*this))) all[i].ring();
}

void Team::wait(Watch* watch) {
  if (!take_back(watch))
    throw std::runtime_error("the process forked within this call: its threads are the parent's");
}

bool Team::take_back(Watch* watch) {
  for (; helpers_ > 0; --helpers_) {
    const auto forked = [&] { return all.forks() != forks_; };  // by the program's signal handler
    if (forked()) return false;
    Helper& helper = all[helpers_ - 1];
    if (helper.replace(address(*this), 0)) continue;  // it has not begun
    const auto ended = [&] {
      if (watch) watch->ask();
      return helper.desk.load(std::memory_order_acquire) != (address(*this) | begun) || forked();
    };
    while (!poll(ended, wait_awake)) std::this_thread::sleep_for(nap);
    if (forked()) return false;
  }
  return true;
}

}  // namespace piste
