#include "ops/pool_spans.h"

#include <algorithm>

namespace piste {

std::vector<PoolSpan> window_spans(Index in, Index out, Index kernel, Index stride, Index pad,
                                   Index dilation, bool count_include_pad) {
  std::vector<PoolSpan> spans;
  for (Index o = 0; o < out; ++o) {
    const Index start = o * stride - pad;
    const Index skipped = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const Index reached = in > start ? (in - start + dilation - 1) / dilation : 0;
    const Index count = std::max<Index>(std::min(reached, kernel) - skipped, 0);
    const Index padded = std::min(kernel, in + pad - start);
    spans.push_back(
        {start + skipped * dilation, count, dilation, count_include_pad ? padded : count});
  }
  return spans;
}

std::vector<PoolSpan> adaptive_spans(Index in, Index out) {
  std::vector<PoolSpan> spans;
  for (Index o = 0; o < out; ++o) {
    const Index first = o * in / out, count = ((o + 1) * in + out - 1) / out - first;
    spans.push_back({first, count, 1, count});
  }
  return spans;
}

}  // namespace piste
