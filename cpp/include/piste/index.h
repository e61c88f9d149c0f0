#pragma once

#include <cstdint>

namespace piste {

/// Sizes, offsets and strides, in values unless said otherwise.
using Index = std::int64_t;

}  // namespace piste
