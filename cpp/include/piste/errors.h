#pragma once

#include <cstdio>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

namespace piste {

/// An argument breaks an operation's contract. Python sees a ValueError.
class ArgumentError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// There is not so much memory. Python sees a MemoryError. To say so takes none.
class OutOfMemory : public std::bad_alloc {
 public:
  OutOfMemory(double bytes, const char* purpose) {
    std::snprintf(message_, sizeof message_, "cannot allocate %.0f bytes for %s", bytes, purpose);
  }
  const char* what() const noexcept override { return message_; }

 private:
  char message_[120];
};

/// Throws ArgumentError("[tag] part part ..."). The tag is the operation's public name.
template <class... Parts>
[[noreturn]] void fail(const char* tag, const Parts&... parts) {
  std::ostringstream message;
  message << '[' << tag << "] ";
  (message << ... << parts);
  throw ArgumentError(message.str());
}

template <class... Parts>
void check(bool holds, const char* tag, const Parts&... parts) {
  if (!holds) fail(tag, parts...);
}

}  // namespace piste
