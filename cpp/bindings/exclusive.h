#pragma once
// One call at a time on an object that has a single set of buffers.

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>

namespace piste {

/// A lock that knows its holder: a signal handler which calls what it has interrupted gets an
/// error, where a mutex would wait for ever; and a child of fork() takes over what a thread that
/// it does not have was holding.
class Exclusive {
 public:
  class Hold {
   public:
    explicit Hold(Exclusive& lock) : lock_(lock) { lock_.acquire(); }
    ~Hold() { lock_.release(); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    Exclusive& lock_;
  };

 private:
  using Token = std::uint64_t;  // process id above, thread number below; 0: free

  static Token own_token() {
    static std::atomic<std::uint32_t> threads{0};
    thread_local const std::uint32_t thread = ++threads;
    return Token(static_cast<std::uint32_t>(getpid())) << 32 | thread;
  }

  void acquire() {
    const Token own = own_token();
    for (Token holder = 0; !holder_.compare_exchange_weak(holder, own);) {
      if (holder == own) throw std::runtime_error("the network is busy in the call interrupted");
      if (holder >> 32 == own >> 32) holder_.wait(holder), holder = 0;
      // else free, or left by a thread of the parent process: try with what stands there
    }
  }

  void release() {
    holder_.store(0);
    holder_.notify_one();
  }

  std::atomic<Token> holder_{0};
};

}  // namespace piste
