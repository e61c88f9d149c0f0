#include "piste/conv.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/conv_nhwc.h"
#include "ops/conv_planes.h"

namespace piste {
namespace {

constexpr Index max_partials = 8;             // partial sums of a weight's gradient
constexpr Index task_flops = Index{1} << 22;  // at least so much work per task

template <class T>
ConvGeometry geometry_of(const View<const T>& x, const View<const T>& weight, const Shape& y,
                         const ConvOptions& o) {
  check(x.shape.rank() == 5 && weight.shape.rank() == 5 && y.rank() == 5, "conv",
        "expected 5 dimensions, got input ", x.shape, ", weight ", weight.shape, ", output ", y);
  ConvGeometry g{};
  g.channels = x.shape[1];
  g.filters = weight.shape[0];
  g.groups = o.groups;
  check(g.groups >= 1 && g.filters % g.groups == 0 && weight.shape[1] * g.groups == g.channels,
        "conv", "weight ", weight.shape, " does not fit input ", x.shape, " in ", g.groups,
        " groups");
  for (int axis = 0; axis < 3; ++axis) {
    g.in[axis] = x.shape[axis + 2];
    g.kernel[axis] = weight.shape[axis + 2];
    g.stride[axis] = o.stride[axis];
    g.dilation[axis] = o.dilation[axis];
    g.pad[axis] = o.pad_low[axis];
    check(g.stride[axis] >= 1 && g.dilation[axis] >= 1 && g.kernel[axis] >= 1 &&
              o.pad_low[axis] >= 0 && o.pad_high[axis] >= 0,
          "conv", "stride, dilation and kernel must be at least 1 and padding at least 0");
    const Index reach = g.dilation[axis] * (g.kernel[axis] - 1) + 1;
    const Index room = g.in[axis] + o.pad_low[axis] + o.pad_high[axis] - reach;
    check(room >= 0, "conv", "a kernel that reaches over ", reach, " does not fit an input of ",
          g.in[axis], " and its padding");
    g.out[axis] = room / g.stride[axis] + 1;
  }
  const Shape expected{x.shape[0], g.filters, g.out[0], g.out[1], g.out[2]};
  check(y == expected, "conv", "expected an output of shape ", expected, ", got ", y);
  const Index lanes = kernel_table<T>().lanes;
  g.x_stride = (g.channels + lanes - 1) / lanes * lanes;
  g.y_stride = (g.filters + lanes - 1) / lanes * lanes;
  return g;
}

/// Samples per task: enough work to be worth one, and a number that the shape alone fixes.
Index samples_per_task(const ConvGeometry& g, Index n) {
  const Index flops = 2 * g.out_pixels() * g.taps() * g.channels / g.groups * g.filters;
  return std::clamp<Index>(task_flops / std::max<Index>(flops, 1), 1, std::max<Index>(n, 1));
}

/// Values of one sample in the kernels' layout, with the vector that may be read past its end.
Index padded_values(Index pixels, Index stride) { return pixels * stride + 64; }

template <class T>
void to_rows(const T* nchw, Index channels, Index pixels, T* rows, Index stride) {
  kernel_table<T>().layout->transpose(nchw, pixels, rows, stride, channels, pixels, stride);
}
template <class T>
void from_rows(const T* rows, Index channels, Index pixels, T* nchw, Index stride) {
  kernel_table<T>().layout->transpose(rows, stride, nchw, pixels, pixels, channels, pixels);
}

/// Bytes that one worker needs: rows of some samples of x and of y, and the kernels' scratch.
template <class T>
struct WorkerLayout {
  Index x, y, bytes;
  WorkerLayout(const Conv<T>& conv, const ConvGeometry& g, Index samples) {
    const Index size = sizeof(T);
    x = static_cast<Index>(round_up(conv.scratch_bytes(), alignment));
    y = x + Index(round_up(padded_values(samples * g.in_pixels(), g.x_stride) * size, alignment));
    bytes = y + Index(round_up(padded_values(samples * g.out_pixels(), g.y_stride) * size, 4096));
  }
};

}  // namespace

template <class T>
void conv(View<const T> x, View<const T> weight, View<const T> bias, const ConvOptions& options,
          View<T> y) {
  const ConvGeometry g = geometry_of(x, weight, y.shape, options);
  check(!bias || bias.shape == Shape{g.filters}, "conv", "bias has shape ", bias.shape,
        ", expected ", Shape{g.filters});
  const Index n = x.shape[0], per_task = samples_per_task(g, n);
  if (n == 0 || g.filters == 0) return;
  if (conv_planes_takes(g)) return conv_planes(g, n, x.data, weight.data, bias.data, y.data);
  const Conv<T> conv(g);
  const WorkerLayout<T> layout(conv, g, per_task);
  const Split split(n, per_task, n);
  const Index packed_bytes = Index(round_up(conv.packed_forward_size() * sizeof(T), 4096));
  const Index bias_bytes = Index(round_up((g.y_stride + 64) * sizeof(T), 4096));
  Workspace workspace(packed_bytes + bias_bytes + parallel_workers(split.count) * layout.bytes);
  T* packed = workspace.as<T>();
  T* padded_bias = workspace.as<T>(packed_bytes);
  if (bias) {
    std::fill_n(padded_bias, g.y_stride + 64, T(0));
    std::copy_n(bias.data, g.filters, padded_bias);
  }
  parallel_for(conv.pack_tasks(),
               [&](Index task, int) { conv.pack_forward(weight.data, packed, task); });
  parallel_for(split.count, [&](Index task, int worker) {
    std::byte* base = workspace.data() + packed_bytes + bias_bytes + worker * layout.bytes;
    T* x_rows = reinterpret_cast<T*>(base + layout.x);
    T* y_rows = reinterpret_cast<T*>(base + layout.y);
    const Index first = split.begin(task), count = split.end(task) - first;
    const Index in = g.in_pixels(), out = g.out_pixels();
    for (Index i = 0; i < count; ++i)
      to_rows(x.data + (first + i) * g.channels * in, g.channels, in, x_rows + i * in * g.x_stride,
              g.x_stride);
    conv.forward(x_rows, packed, bias ? padded_bias : nullptr, false, y_rows, count, 0, count * out,
                 base);
    for (Index i = 0; i < count; ++i)
      from_rows(y_rows + i * out * g.y_stride, g.filters, out,
                y.data + (first + i) * g.filters * out, g.y_stride);
  });
}

template <class T>
void conv_backward(View<const T> dy, View<const T> x, View<const T> weight,
                   const ConvOptions& options, View<T> dx, View<T> dweight, View<T> dbias) {
  const ConvGeometry g = geometry_of(x, weight, dy.shape, options);
  const Index n = x.shape[0];
  if (n == 0) {
    if (dweight) std::fill_n(dweight.data, dweight.size(), T(0));
    if (dbias) std::fill_n(dbias.data, dbias.size(), T(0));
    return;
  }
  if (conv_planes_takes(g))
    return conv_planes_backward(g, n, dy.data, x.data, weight.data, dx.data, dweight.data,
                                dbias.data);
  const Conv<T> conv(g);
  const Split groups(n, 1, max_partials);  // each has partial sums of its own
  const WorkerLayout<T> layout(conv, g, 1);
  const Index size = sizeof(T);
  const Index packed_bytes = Index(round_up(conv.packed_backward_size() * size, 4096));
  const Index gradient_bytes = Index(round_up((conv.gradient_size() + g.y_stride) * size, 4096));
  Workspace workspace(packed_bytes + groups.count * gradient_bytes +
                      parallel_workers(groups.count) * layout.bytes);
  T* packed = workspace.as<T>();
  std::byte* gradients = workspace.data() + packed_bytes;
  std::byte* workers = gradients + groups.count * gradient_bytes;
  if (dx)
    parallel_for(conv.pack_tasks(),
                 [&](Index task, int) { conv.pack_backward(weight.data, packed, task); });
  parallel_for(groups.count, [&](Index group, int worker) {
    std::byte* base = workers + worker * layout.bytes;
    T* x_rows = reinterpret_cast<T*>(base + layout.x);
    T* y_rows = reinterpret_cast<T*>(base + layout.y);
    T* gradient = reinterpret_cast<T*>(gradients + group * gradient_bytes);
    const Index in = g.in_pixels(), out = g.out_pixels();
    for (Index i = groups.begin(group); i < groups.end(group); ++i) {
      to_rows(dy.data + i * g.filters * out, g.filters, out, y_rows, g.y_stride);
      to_rows(x.data + i * g.channels * in, g.channels, in, x_rows, g.x_stride);
      conv.backward_weight(x_rows, y_rows, gradient, gradient + conv.gradient_size(), 1,
                           i > groups.begin(group), base);
      if (!dx) continue;
      conv.backward_data(y_rows, packed, x_rows, 1, 0, 1, base);
      from_rows(x_rows, g.channels, in, dx.data + i * g.channels * in, g.x_stride);
    }
  });
  const T* parts[max_partials];
  for (Index p = 0; p < groups.count; ++p)
    parts[p] = reinterpret_cast<T*>(gradients + p * gradient_bytes);
  if (dweight)
    parallel_for(conv.pack_tasks(), [&](Index task, int) {
      conv.unpack_gradient(parts, groups.count, dweight.data, task);
    });
  if (dbias)
    kernel_table<T>().gemm->sum(parts, groups.count, conv.gradient_size(), dbias.data, g.filters);
}

template void conv(View<const float>, View<const float>, View<const float>, const ConvOptions&,
                   View<float>);
template void conv(View<const double>, View<const double>, View<const double>, const ConvOptions&,
                   View<double>);
template void conv_backward(View<const float>, View<const float>, View<const float>,
                            const ConvOptions&, View<float>, View<float>, View<float>);
template void conv_backward(View<const double>, View<const double>, View<const double>,
                            const ConvOptions&, View<double>, View<double>, View<double>);

}  // namespace piste
