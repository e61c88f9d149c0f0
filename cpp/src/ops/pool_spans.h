#pragma once
// The windows of a pooling operation, one list per axis, as the kernels take them.

#include <array>
#include <vector>

#include "kernels/pool/pool.h"

namespace piste {

using kernels::PoolRow;
using kernels::PoolSpan;
using PoolSpans = std::array<std::vector<PoolSpan>, 3>;

/// Windows that start at o * stride - pad, clipped to the input. The divisor is what an average
/// divides by: the pixels within the input or, with count_include_pad, its padding (`pad` on both
/// sides; what a window of ceil mode has beyond that never counts). It has no dilation.
std::vector<PoolSpan> window_spans(Index in, Index out, Index kernel, Index stride, Index pad,
                                   Index dilation, bool count_include_pad);

/// [floor(o * in / out), ceil((o + 1) * in / out))
std::vector<PoolSpan> adaptive_spans(Index in, Index out);

}  // namespace piste
