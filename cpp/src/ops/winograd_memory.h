#pragma once

#include "base/aligned.h"
#include "piste/index.h"

namespace piste {

/// Parts of one workspace, each on a page of its own.
template <class T>
class WinogradLayout {
 public:
  /// Where, in bytes, so many values begin.
  Index add(Index values) {
    const Index at = bytes_;
    bytes_ += Index(round_up((values + slack) * sizeof(T), 4096));
    return at;
  }
  Index bytes() const { return bytes_; }

 private:
  static constexpr Index slack = 64;  // values that may be read or written past an end
  Index bytes_ = 0;
};

}  // namespace piste
