#include "ops/conv_choice.h"

#include "ops/conv_depthwise_planes.h"
#include "ops/conv_sampled.h"

namespace piste {
namespace {

bool all(const Index (&values)[3], Index expected) {
  return values[0] == expected && values[1] == expected && values[2] == expected;
}

/// Whether vectors along a depthwise convolution's rows of outputs would be half empty, or a plane
/// has so few of them that what is done once for each plane takes longer.
bool short_rows(const ConvGeometry& g, Index lanes) {
  const Index vectors = g.out[0] * g.out[1] * ((g.out[2] + lanes - 1) / lanes);
  return static_cast<double>(g.out_pixels()) <
         conv_choice::depthwise_full *
             static_cast<double>((vectors + conv_choice::depthwise_plane) * lanes);
}

/// How much n values fill of the vectors that they take.
double fill(Index n, Index lanes) {
  return static_cast<double>(n) / static_cast<double>((n + lanes - 1) / lanes * lanes);
}

/// Whether some channels' planes have rows that leave much of their vectors empty, where the
/// filters fill theirs.
bool fills_rows(const ConvGeometry& g, Index lanes) {
  return g.taps() > 1 && g.channels / g.groups > conv_choice::narrow_channels &&
         fill(g.out[2], lanes) <= conv_choice::narrow_row && fill(g.filters / g.groups, lanes) >= 1;
}

/// Whether a pixel's filters leave more of their vector empty than rows of outputs do of theirs,
/// what is copied beside them counted.
bool few_filters(const ConvGeometry& g, Pass pass, Index lanes) {
  if (g.taps() == 1 || g.filters / g.groups >= lanes) return false;
  const Index row = g.out[2], border = g.dilation[2] * (g.kernel[2] - 1);
  double filled = fill(row, lanes) * static_cast<double>(row) / static_cast<double>(row + border);
  if (!all(g.stride, 1)) filled *= conv_choice::strided_row / (pass == Pass::forward ? 1 : 2);
  return fill(g.filters / g.groups, lanes) <= filled;
}

}  // namespace

DirectWay direct_way(const ConvGeometry& g, Algorithm algorithm, Pass pass, Index lanes) {
  const bool single = g.taps() == 1 && all(g.stride, 1);
  // Every output reads its own position alone: a sample's planes are a matrix.
  const bool pointwise = single && all(g.pad, 0) && g.in_pixels() == g.out_pixels();
  if (algorithm == Algorithm::planes) return DirectWay::planes;
  if (algorithm == Algorithm::rows) return DirectWay::rows;
  if (algorithm == Algorithm::pointwise && pointwise) return DirectWay::pointwise;
  if (is_sampled(g)) return DirectWay::sampled;
  const bool depthwise = g.channels == g.groups && g.filters == g.groups;
  if (depthwise && !pointwise && g.channels >= conv_choice::planes_channels && short_rows(g, lanes))
    return DirectWay::rows;
  // Gradients of single taps need no copy, which conv_planes leaves out.
  if (takes_depthwise_planes(g) && (pass == Pass::forward || !pointwise))
    return DirectWay::depthwise_planes;
  const Index few = single ? conv_choice::planes_pointwise_channels : conv_choice::planes_channels;
  if (g.channels / g.groups <= few)
    return pass == Pass::forward && fills_rows(g, lanes) ? DirectWay::rows : DirectWay::planes;
  if (few_filters(g, pass, lanes)) return DirectWay::planes;
  if (pointwise && g.out_pixels() >= conv_choice::pointwise_pixels) return DirectWay::pointwise;
  return DirectWay::rows;
}

}  // namespace piste
