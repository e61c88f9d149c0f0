#pragma once

#include "base/aligned.h"
#include "base/parallel.h"

namespace piste {

constexpr Index slack = 64;  // values that may be read or written past an end

/// Parts of one workspace, in values, each on a page of its own.
template <class T>
class Layout {
 public:
  Index add(Index values) {
    const Index at = bytes_;
    bytes_ += Index(round_up((values + slack) * sizeof(T), 4096));
    return at;
  }
  Index bytes() const { return bytes_; }

 private:
  Index bytes_ = 0;
};

}  // namespace piste
