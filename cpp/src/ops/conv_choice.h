#pragma once

#include "ops/conv_nhwc.h"
#include "piste/algorithm.h"

namespace piste {

/// What decides how a convolution is computed. By measurement on Zen 3 and Zen 4 with AVX2, of
/// which bench/results/tune.md shows the latter and `python bench/tune.py` repeats it; those of
/// narrow rows on Zen 4, with AVX2 and AVX-512, that of strided rows there with AVX2, and those of
/// depthwise layers by bench/shapes/grid.json on Zen 3.
namespace conv_choice {

// Winograd's method from so many channels and filters on: with fewer its transforms cost more than
// the products they save.
inline constexpr Index winograd_channels = 8;
// From so many filters on already, where there are so many channels.
inline constexpr Index winograd_filters = 5, winograd_deep = 16;

// On the planes up to so many channels of a group: NHWC rows of fewer fill no vector.
inline constexpr Index planes_channels = 8;
// Forward, by NHWC rows already from more channels than these on, where rows of outputs fill no
// more of their vectors than that and the filters fill theirs.
inline constexpr Index narrow_channels = 4;
inline constexpr double narrow_row = 0.65;
// On the planes with more channels too, where a pixel's filters fill less of their one vector than
// rows of outputs, and what is copied beside them, of theirs. By a stride rows count so much of
// what they fill, half of it backward.
inline constexpr double strided_row = 0.7;
// As planes_channels, for pointwise convolutions, whose planes need no copy either way.
inline constexpr Index planes_pointwise_channels = 16;

// Depthwise, on single planes where outputs fill so much of the vectors that they take, with so
// many more for what is done once for each plane; else by NHWC rows.
inline constexpr double depthwise_full = 0.5;
inline constexpr Index depthwise_plane = 6;

// As a product of matrices from so many pixels of a sample on: fewer leave tiles empty, where NHWC
// rows have all samples' pixels.
inline constexpr Index pointwise_pixels = 64;

}  // namespace conv_choice

/// The ways to compute a convolution directly: conv_planes.h, conv_depthwise_planes.h,
/// conv_sampled.h, conv_pointwise.h, conv_nhwc.h.
enum class DirectWay { planes, depthwise_planes, sampled, pointwise, rows };
enum class Pass { forward, backward };

/// The way that `algorithm` names, where it takes the problem; else the one that pays with vectors
/// of so many lanes.
DirectWay direct_way(const ConvGeometry& g, Algorithm algorithm, Pass pass, Index lanes);

}  // namespace piste
