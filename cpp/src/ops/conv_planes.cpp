#include "ops/conv_planes.h"

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "base/workspace.h"

namespace piste {
namespace {

constexpr Index task_flops = 1 << 20;   // at least so much work per task
constexpr Index pack_values = 1 << 14;  // and so many weights per task

PlaneWeights weights_of(const ConvGeometry& g) {
  const Index filters = g.filters / g.groups, channels = g.channels / g.groups, taps = g.taps();
  return {g.groups,        filters, channels,
          channels * taps, taps,    {g.kernel[0], g.kernel[1], g.kernel[2]}};
}

template <class T>
PlaneProduct<T> backward_product(const ConvGeometry& g, Index n) {
  return {backward_map(g), backward_target(g), weights_of(g).turned(), n};
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

template <class T>
PlaneProduct<T> forward_product(const ConvGeometry& g, Index n) {
  return {forward_map(g), forward_target(g), weights_of(g), n};
}

template <class T>
PlaneGradient<T> weight_gradient(const ConvGeometry& g, Index n, Index most_parts) {
  return {forward_map(g), g.groups, g.channels / g.groups, g.filters / g.groups, n, most_parts};
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
  const PlaneGradient<T> gradient = weight_gradient<T>(g, n);
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

template PlaneProduct<float> forward_product(const ConvGeometry&, Index);
template PlaneProduct<double> forward_product(const ConvGeometry&, Index);
template PlaneGradient<float> weight_gradient(const ConvGeometry&, Index, Index);
template PlaneGradient<double> weight_gradient(const ConvGeometry&, Index, Index);

}  // namespace piste
