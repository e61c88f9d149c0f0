#pragma once

#include <vector>

#include "ops/conv_nhwc.h"

namespace piste {

/// One axis of a correlation. Tap t reads, for output o, source position
/// o * stride - low + positions[t], which is a zero outside [0, in).
struct PlaneAxis {
  Index in, out, stride, low;
  std::vector<Index> positions;  // at least 0
  std::vector<Index> ids;        // which of the kernel's positions each tap is

  Index last() const;  // the largest of `positions`
};

struct PlaneMap {
  PlaneAxis axis[3];
  Index taps() const { return Index(axis[0].ids.size() * axis[1].ids.size() * axis[2].ids.size()); }
  Index source_pixels() const { return axis[0].in * axis[1].in * axis[2].in; }
};

/// Where outputs stand in their planes: along an axis, output o of residue r at o * step + r. A tap
/// of the map serves the residue that `residues` says. step 1 is a forward pass; a larger one
/// spreads the outputs of backward-data, whose residues read the same values with other taps.
struct PlaneTarget {
  Index extent[3], step[3];
  std::vector<Index> residues[3];
  Index pixels() const { return extent[0] * extent[1] * extent[2]; }
  bool dense() const { return step[0] == 1 && step[1] == 1 && step[2] == 1; }
};

/// Where every output reads only its own position, all axes up to there are one; axes of extent 1
/// go first. Rows are then as long as they can be.
ConvGeometry with_long_rows(const ConvGeometry& geometry);

// A convolution as a correlation from x, and its gradient by x as one from dy.
PlaneMap forward_map(const ConvGeometry& g);
PlaneTarget forward_target(const ConvGeometry& g);
PlaneMap backward_map(const ConvGeometry& g);
PlaneTarget backward_target(const ConvGeometry& g);

}  // namespace piste
