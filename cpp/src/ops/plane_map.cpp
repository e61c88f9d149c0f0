#include "ops/plane_map.h"

#include <algorithm>

namespace piste {

Index PlaneAxis::last() const { return *std::max_element(positions.begin(), positions.end()); }

ConvGeometry with_long_rows(const ConvGeometry& geometry) {
  ConvGeometry g = geometry;
  const auto passes = [&](int a) {
    return g.kernel[a] == 1 && g.stride[a] == 1 && g.pad[a] == 0 && g.in[a] == g.out[a];
  };
  for (int a = 1; a < 3; ++a)
    if (passes(a - 1) && passes(a)) {
      g.in[a] *= g.in[a - 1];
      g.out[a] *= g.out[a - 1];
      g.in[a - 1] = g.out[a - 1] = 1;
    }
  const auto single = [&](int a) { return passes(a) && g.in[a] == 1; };
  int order[3], count = 0;
  for (const bool first : {true, false})
    for (int a = 0; a < 3; ++a)
      if (single(a) == first) order[count++] = a;
  ConvGeometry sorted = g;
  for (int a = 0; a < 3; ++a) {
    sorted.in[a] = g.in[order[a]];
    sorted.out[a] = g.out[order[a]];
    sorted.kernel[a] = g.kernel[order[a]];
    sorted.stride[a] = g.stride[order[a]];
    sorted.dilation[a] = g.dilation[order[a]];
    sorted.pad[a] = g.pad[order[a]];
  }
  return sorted;
}

PlaneMap forward_map(const ConvGeometry& g) {
  PlaneMap map;
  for (int a = 0; a < 3; ++a) {
    map.axis[a] = {g.in[a], g.out[a], g.stride[a], g.pad[a], {}, {}};
    for (Index k = 0; k < g.kernel[a]; ++k) {
      map.axis[a].positions.push_back(k * g.dilation[a]);
      map.axis[a].ids.push_back(k);
    }
  }
  return map;
}

PlaneTarget forward_target(const ConvGeometry& g) {
  PlaneTarget target;
  for (int a = 0; a < 3; ++a) {
    target.extent[a] = g.out[a];
    target.step[a] = 1;
    target.residues[a].assign(g.kernel[a], 0);
  }
  return target;
}

// Input position i = o' * stride + residue gets, from kernel position k, output
// o = (i + pad - k * dilation) / stride where that is whole: o' + (residue + pad - k * dilation) /
// stride.
static Index residue_of(const ConvGeometry& g, int axis, Index k) {
  const Index stride = g.stride[axis], distance = g.pad[axis] - k * g.dilation[axis];
  return ((-distance) % stride + stride) % stride;
}

PlaneMap backward_map(const ConvGeometry& g) {
  PlaneMap map;
  for (int a = 0; a < 3; ++a) {
    const Index stride = g.stride[a];
    PlaneAxis& axis = map.axis[a];
    axis = {g.out[a], (g.in[a] + stride - 1) / stride, 1, 0, {}, {}};
    for (Index k = 0; k < g.kernel[a]; ++k) {
      axis.ids.push_back(k);
      axis.positions.push_back((residue_of(g, a, k) + g.pad[a] - k * g.dilation[a]) / stride);
    }
    axis.low = -*std::min_element(axis.positions.begin(), axis.positions.end());
    for (Index& position : axis.positions) position += axis.low;
  }
  return map;
}

PlaneTarget backward_target(const ConvGeometry& g) {
  PlaneTarget target;
  for (int a = 0; a < 3; ++a) {
    target.extent[a] = g.in[a];
    target.step[a] = g.stride[a];
    for (Index k = 0; k < g.kernel[a]; ++k) target.residues[a].push_back(residue_of(g, a, k));
  }
  return target;
}

}  // namespace piste
