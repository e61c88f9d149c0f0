#include "ops/conv_sampled.h"

#include <algorithm>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"

namespace piste {
namespace {

constexpr Index task_values = 1 << 15;

/// Calls body(plane's first value, sampled plane's first value) for all (sample, channel) planes.
template <class Body>
void for_each_plane(const ConvGeometry& g, Index n, Body body) {
  const Split split(n * g.channels, task_values / g.in_pixels() + 1);
  parallel_for(split.count, [&](Index task, int) {
    for (Index i = split.begin(task); i < split.end(task); ++i)
      body(i * g.in_pixels(), i * g.out_pixels());
  });
}

/// The pixels at multiples of the strides.
template <class T>
void sample(const ConvGeometry& g, Index n, const T* x, T* sampled) {
  for_each_plane(g, n, [&](Index from, Index to) {
    kernels::PlaneCopy<T> rows{};
    rows.from = x + from;
    rows.from_plane = g.in[1] * g.in[2] * g.stride[0];
    rows.from_row = g.in[2] * g.stride[1];
    rows.step = g.stride[2];
    rows.to = sampled + to;
    rows.to_plane = g.out[1] * g.out[2];
    rows.to_row = rows.columns = g.out[2];
    rows.planes = g.out[0];
    rows.rows = g.out[1];
    kernel_table<T>().planes->copy(rows);
  });
}

/// The pixels back to where they were read, zeros elsewhere.
template <class T>
void put_back(const ConvGeometry& g, Index n, const T* sampled, T* x) {
  for_each_plane(g, n, [&](Index to, Index from) {
    std::fill_n(x + to, g.in_pixels(), T(0));
    for (Index d = 0; d < g.out[0]; ++d)
      for (Index h = 0; h < g.out[1]; ++h)
        kernel_table<T>().planes->spread(
            sampled + from + (d * g.out[1] + h) * g.out[2],
            x + to + (d * g.stride[0] * g.in[1] + h * g.stride[1]) * g.in[2], g.stride[2],
            g.out[2]);
  });
}

ConvOptions without_strides(ConvOptions options) {
  options.stride = {1, 1, 1};
  options.pad_high = {0, 0, 0};
  return options;
}

Shape sampled_shape(const ConvGeometry& g, Index n) {
  return {n, g.channels, g.out[0], g.out[1], g.out[2]};
}

}  // namespace

bool is_sampled(const ConvGeometry& g) {
  bool strided = false;
  for (int a = 0; a < 3; ++a) {
    strided |= g.stride[a] > 1;
    if (g.kernel[a] != 1 || g.pad[a] != 0 || (g.out[a] - 1) * g.stride[a] >= g.in[a]) return false;
  }
  return strided;
}

template <class T>
void conv_sampled(const ConvGeometry& g, View<const T> x, View<const T> weight, View<const T> bias,
                  const ConvOptions& options, View<T> y) {
  const Shape shape = sampled_shape(g, x.shape[0]);
  const Workspace workspace(shape.size() * sizeof(T));
  sample(g, x.shape[0], x.data, workspace.as<T>());
  conv<T>({workspace.as<T>(), shape}, weight, bias, without_strides(options), y);
}

template <class T>
void conv_sampled_backward(const ConvGeometry& g, View<const T> dy, View<const T> x,
                           View<const T> weight, const ConvOptions& options, View<T> dx,
                           View<T> dweight, View<T> dbias) {
  const Index n = x.shape[0];
  const Shape shape = sampled_shape(g, n);
  const std::size_t bytes = round_up(shape.size() * sizeof(T), alignment);
  const Workspace workspace((dx ? 2 : 1) * bytes);
  T *sampled = workspace.as<T>(), *dsampled = workspace.as<T>(bytes);
  if (dweight) sample(g, n, x.data, sampled);
  conv_backward<T>(dy, {sampled, shape}, weight, without_strides(options),
                   dx ? View<T>{dsampled, shape} : View<T>{}, dweight, dbias);
  if (dx) put_back(g, n, dsampled, dx.data);
}

template void conv_sampled(const ConvGeometry&, View<const float>, View<const float>,
                           View<const float>, const ConvOptions&, View<float>);
template void conv_sampled(const ConvGeometry&, View<const double>, View<const double>,
                           View<const double>, const ConvOptions&, View<double>);
template void conv_sampled_backward(const ConvGeometry&, View<const float>, View<const float>,
                                    View<const float>, const ConvOptions&, View<float>, View<float>,
                                    View<float>);
template void conv_sampled_backward(const ConvGeometry&, View<const double>, View<const double>,
                                    View<const double>, const ConvOptions&, View<double>,
                                    View<double>, View<double>);

}  // namespace piste
