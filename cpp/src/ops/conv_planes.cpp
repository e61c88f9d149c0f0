#include "ops/conv_planes.h"

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "base/workspace.h"
#include "ops/plane_gradient.h"
#include "ops/plane_products.h"

namespace piste {
namespace {

constexpr Index few_channels = 8, pointwise_channels = 64;  // of a group
// Rows of outputs below which vectors along channels are faster, where each has its own kernel.
constexpr Index short_row = 12, short_strided_row = 32;

constexpr Index task_flops = 1 << 20;   // at least so much work per task
constexpr Index pack_values = 1 << 14;  // and so many weights per task

/// Where every output reads only its own position, all axes up to there are one; axes of extent 1
/// go first. Rows are then as long as they can be.
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
PlaneMap backward_map(const ConvGeometry& g, PlaneTarget& target) {
  PlaneMap map;
  for (int a = 0; a < 3; ++a) {
    const Index stride = g.stride[a];
    PlaneAxis& axis = map.axis[a];
    axis = {g.out[a], (g.in[a] + stride - 1) / stride, 1, 0, {}, {}};
    target.extent[a] = g.in[a];
    target.step[a] = stride;
    for (Index k = 0; k < g.kernel[a]; ++k) {
      const Index distance = g.pad[a] - k * g.dilation[a];
      const Index residue = ((-distance) % stride + stride) % stride;
      axis.ids.push_back(k);
      axis.positions.push_back((residue + distance) / stride);
      target.residues[a].push_back(residue);
    }
    axis.low = -*std::min_element(axis.positions.begin(), axis.positions.end());
    for (Index& position : axis.positions) position += axis.low;
  }
  return map;
}

template <class T>
PlaneProduct<T> forward_product(const ConvGeometry& g, Index n) {
  const Index filters = g.filters / g.groups, channels = g.channels / g.groups, taps = g.taps();
  return {
      forward_map(g),
      forward_target(g),
      {g.groups, filters, channels, channels * taps, taps, {g.kernel[0], g.kernel[1], g.kernel[2]}},
      n};
}

template <class T>
PlaneProduct<T> backward_product(const ConvGeometry& g, Index n) {
  const Index filters = g.filters / g.groups, channels = g.channels / g.groups, taps = g.taps();
  PlaneTarget target;
  const PlaneMap map = backward_map(g, target);
  return {
      map,
      target,
      {g.groups, channels, filters, taps, channels * taps, {g.kernel[0], g.kernel[1], g.kernel[2]}},
      n};
}

/// Products run unit by unit over one task range; the split depends on the shape only.
template <class T>
Split tasks_of(const PlaneProduct<T>& product) {
  const Index grain = task_flops / std::max<Index>(product.unit_flops(), 1);
  return Split(product.units(), std::max<Index>(grain, 1));
}

template <class T>
void pack(const PlaneProduct<T>& product, const T* weight, T* packed) {
  const Index panels = product.panels();
  const Split split(panels, pack_values * panels / product.packed_size() + 1);
  parallel_for(split.count, [&](Index task, int) {
    for (Index panel = split.begin(task); panel < split.end(task); ++panel)
      product.pack(weight, panel, packed);
  });
}

Index pages(Index values, std::size_t size) { return Index(round_up(values * size, 4096)); }

}  // namespace

// By measurement on AVX2: where a pixel has few channels, rows of them fill no vector; a pointwise
// convolution of some more still gains, as planes need no copy for it.
bool conv_planes_takes(const ConvGeometry& g) {
  const Index channels = g.channels / g.groups;
  const bool depthwise = g.channels == g.groups && g.filters == g.groups;
  if (depthwise && g.channels >= few_channels &&
      g.out[2] < (g.stride[2] == 1 ? short_row : short_strided_row))
    return false;
  const bool pointwise = g.taps() == 1 && g.stride[0] * g.stride[1] * g.stride[2] == 1;
  return channels <= (pointwise ? pointwise_channels : few_channels);
}

template <class T>
void conv_planes(const ConvGeometry& geometry, Index n, const T* x, const T* weight, const T* bias,
                 T* y) {
  const ConvGeometry g = with_long_rows(geometry);
  const PlaneProduct<T> product = forward_product<T>(g, n);
  const Split split = tasks_of(product);
  const Index packed_bytes = pages(product.packed_size(), sizeof(T));
  const Index bias_bytes = pages(g.filters, sizeof(T));
  Workspace workspace(packed_bytes + bias_bytes +
                      parallel_workers(split.count) * product.scratch_bytes());
  T* packed = workspace.as<T>();
  T* zeros = workspace.as<T>(packed_bytes);
  if (!bias) std::fill_n(zeros, g.filters, T(0));
  pack(product, weight, packed);
  parallel_for(split.count, [&](Index task, int worker) {
    std::byte* scratch =
        workspace.data() + packed_bytes + bias_bytes + worker * product.scratch_bytes();
    for (Index unit = split.begin(task); unit < split.end(task); ++unit)
      product.run(unit, x, packed, bias ? bias : zeros, y, scratch);
  });
}

template <class T>
void conv_planes_backward(const ConvGeometry& geometry, Index n, const T* dy, const T* x,
                          const T* weight, T* dx, T* dweight, T* dbias) {
  const ConvGeometry g = with_long_rows(geometry);
  const PlaneProduct<T> product = backward_product<T>(g, n);
  const PlaneGradient<T> gradient(forward_map(g), g.groups, g.channels / g.groups,
                                  g.filters / g.groups, n);
  const Split split = tasks_of(product);
  const Index gradient_tasks = dweight || dbias ? gradient.tasks() : 0;
  const Index tasks = gradient_tasks + (dx ? split.count : 0);
  const Index scratch_bytes = std::max(product.scratch_bytes(), gradient.scratch_bytes());
  const Index packed_bytes = pages(product.packed_size() + g.channels, sizeof(T));
  const Index gradient_bytes = pages(gradient.size() * gradient.parts(), sizeof(T));
  Workspace workspace(packed_bytes + gradient_bytes + parallel_workers(tasks) * scratch_bytes);
  T* packed = workspace.as<T>();
  T* zeros = packed + product.packed_size();  // dx has no bias
  T* gradients = workspace.as<T>(packed_bytes);
  std::fill_n(zeros, g.channels, T(0));
  if (dx) pack(product, weight, packed);
  parallel_for(tasks, [&](Index task, int worker) {
    std::byte* scratch = workspace.data() + packed_bytes + gradient_bytes + worker * scratch_bytes;
    if (task < gradient_tasks) return gradient.run(task, x, dy, gradients, scratch);
    const Index share = task - gradient_tasks;
    for (Index unit = split.begin(share); unit < split.end(share); ++unit)
      product.run(unit, dy, packed, zeros, dx, scratch);
  });
  if (dweight)
    parallel_for(gradient.join_tasks(),
                 [&](Index task, int) { gradient.join(task, gradients, dweight); });
  if (dbias) gradient.join_bias(gradients, dbias);
}

template void conv_planes(const ConvGeometry&, Index, const float*, const float*, const float*,
                          float*);
template void conv_planes(const ConvGeometry&, Index, const double*, const double*, const double*,
                          double*);
template void conv_planes_backward(const ConvGeometry&, Index, const float*, const float*,
                                   const float*, float*, float*, float*);
template void conv_planes_backward(const ConvGeometry&, Index, const double*, const double*,
                                   const double*, double*, double*, double*);

}  // namespace piste
