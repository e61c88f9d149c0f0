#pragma once

#include <cstddef>
#include <memory>

namespace piste {

/// Memory for a large result, aligned for vectors. It comes from the process' bounded cache, and
/// goes back there: memory that is new to the process has to be zeroed page by page, which takes
/// longer than most operations do. Contents are undefined.
std::shared_ptr<std::byte> result_memory(std::size_t bytes);

/// Aligned memory of its own, undefined too: for what lives as long as a model.
std::shared_ptr<std::byte> lasting_memory(std::size_t bytes);

}  // namespace piste
