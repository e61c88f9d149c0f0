#include "ops/conv_choice.h"

#include "ops/conv_sampled.h"
#include "ops/conv_strided_planes.h"

namespace piste {
namespace {

bool all(const Index (&values)[3], Index expected) {
  return values[0] == expected && values[1] == expected && values[2] == expected;
}

}  // namespace

DirectWay direct_way(const ConvGeometry& g, Algorithm algorithm, Pass pass, Index lanes) {
  const bool single = g.taps() == 1 && all(g.stride, 1);
  // Every output reads its own position alone: a sample's planes are a matrix.
  const bool pointwise = single && all(g.pad, 0) && g.in_pixels() == g.out_pixels();
  if (algorithm == Algorithm::planes) return DirectWay::planes;
  if (algorithm == Algorithm::rows) return DirectWay::rows;
  if (algorithm == Algorithm::pointwise && pointwise) return DirectWay::pointwise;
  if (pass == Pass::forward && takes_strided_planes(g, lanes)) return DirectWay::strided_planes;
  if (is_sampled(g)) return DirectWay::sampled;
  const bool depthwise = g.channels == g.groups && g.filters == g.groups;
  const Index row =
      g.stride[2] == 1 ? conv_choice::depthwise_row : conv_choice::depthwise_strided_row;
  if (depthwise && g.channels >= conv_choice::planes_channels && g.out[2] < row)
    return DirectWay::rows;
  const Index few = single ? conv_choice::planes_pointwise_channels : conv_choice::planes_channels;
  if (g.channels / g.groups <= few) return DirectWay::planes;
  if (pointwise && g.out_pixels() >= conv_choice::pointwise_pixels) return DirectWay::pointwise;
  return DirectWay::rows;
}

}  // namespace piste
