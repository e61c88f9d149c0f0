#pragma once

namespace piste::kernels {

/// Where a kernel's results go: to the caches, or past them to memory, for results that would not
/// stay in a cache until they are read. An ordinary store first reads the line that it begins.
enum class Stores { cached, streamed };

}  // namespace piste::kernels
