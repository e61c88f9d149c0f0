#include "piste/pool.h"

#include <algorithm>
#include <limits>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"

namespace piste {

namespace {

using kernels::PoolGeometry;

constexpr Index largest_pixel = std::numeric_limits<std::int32_t>::max();  // argmax is int32

// What both passes need: x and dx are (N, C, H, W), y and dy (N, C, Ho, Wo).
PoolGeometry plane_geometry(const char* tag, const Shape& x, const Shape& y) {
  check(x.rank() == 4, tag, "input: expected (N, C, H, W), got shape ", x);
  check(y.rank() == 4 && y[0] == x[0] && y[1] == x[1], tag, "output of shape ", y,
        " does not fit the input's ", x);
  for (int axis = 1; axis < 4; ++axis)
    check(x[axis] > 0, tag, "input: only the batch may be empty, got shape ", x);
  check(checked_mul(x[2], x[3]) <= largest_pixel, tag, "input: planes may have at most ",
        largest_pixel, " pixels, got shape ", x);
  check(checked_mul(y[2], y[3]) <= largest_pixel, tag, "output: planes may have at most ",
        largest_pixel, " pixels, got shape ", y);
  return {.channels = x[1],
          .row_stride = 0,
          .in = {x[2], x[3]},
          .out = {y[2], y[3]},
          .kernel = {1, 1},
          .stride = {1, 1},
          .pad = {0, 0},
          .dilation = {1, 1}};
}

PoolGeometry window_geometry(const char* tag, const Shape& x, const Shape& y,
                             const PoolWindow& window) {
  PoolGeometry g = plane_geometry(tag, x, y);
  for (int axis = 0; axis < 2; ++axis) {
    g.kernel[axis] = window.kernel[axis];
    g.stride[axis] = window.stride[axis];
    g.pad[axis] = window.padding[axis];
    g.dilation[axis] = window.dilation[axis];
    const Index expected = pool_extent(g.in[axis], g.kernel[axis], g.stride[axis], g.pad[axis],
                                       g.dilation[axis], window.ceil_mode);
    check(g.out[axis] == expected, tag, "output: expected extent ", expected, ", got shape ", y);
  }
  return g;
}

// Runs body(geometry, channel group, scratch) for each sample's groups of one vector of channels.
// A group's pixels are transposed in scratch that stays in cache, whatever the number of channels.
template <class T, class Body>
void for_each_group(const PoolGeometry& whole, Index samples, Index scratch_bytes, Body&& body) {
  const Index lanes = kernel_table<T>().lanes;
  const Index groups = (whole.channels + lanes - 1) / lanes;
  const Index tasks = checked_mul(samples, groups);
  const Workspace workspace(checked_mul(parallel_workers(tasks), scratch_bytes));
  parallel_for(tasks, [&](Index task, int worker) {
    const Index sample = task / groups, channel = task % groups * lanes;
    PoolGeometry g = whole;
    g.row_stride = lanes;
    g.channels = std::min(lanes, whole.channels - channel);
    body(g, sample * whole.channels + channel, workspace.data() + worker * scratch_bytes);
  });
}

// One group's planes, contiguous in NCHW, to rows of one vector per pixel.
template <class T>
void gather(const PoolGeometry& g, const T* planes, Index pixels, T* rows) {
  kernel_table<T>().layout->transpose(planes, pixels, rows, g.row_stride, g.channels, pixels,
                                      g.row_stride);
}

// And back.
template <class T>
void scatter(const PoolGeometry& g, const T* rows, Index pixels, T* planes) {
  kernel_table<T>().layout->transpose(rows, g.row_stride, planes, pixels, pixels, g.channels,
                                      pixels);
}

// Scratch arrays of one group, laid one after another on cache lines.
template <class T>
struct Scratch {
  Index in_bytes, out_bytes, argmax_bytes;

  explicit Scratch(const PoolGeometry& g) {
    const Index lanes = kernel_table<T>().lanes;
    const Index in = g.in[0] * g.in[1] * lanes, out = g.out[0] * g.out[1] * lanes;
    in_bytes = round_up(in * sizeof(T), alignment);
    out_bytes = round_up(out * sizeof(T), alignment);
    argmax_bytes = round_up(out * sizeof(std::int32_t), alignment);
  }
};

// y = kernel(x), one group at a time: x and y as rows in scratch.
template <class T, class Kernel>
void run_forward(const PoolGeometry& whole, View<const T> x, View<T> y, Kernel&& kernel) {
  const Scratch<T> size(whole);
  const Index in = whole.in[0] * whole.in[1], out = whole.out[0] * whole.out[1];
  for_each_group<T>(whole, x.shape[0], size.in_bytes + size.out_bytes,
                    [&](const PoolGeometry& g, Index plane, std::byte* scratch) {
                      T* x_rows = reinterpret_cast<T*>(scratch);
                      T* y_rows = reinterpret_cast<T*>(scratch + size.in_bytes);
                      gather(g, x.data + plane * in, in, x_rows);
                      kernel(g, x_rows, y_rows);
                      scatter(g, y_rows, out, y.data + plane * out);
                    });
}

// dx = kernel(dy), likewise.
template <class T, class Kernel>
void run_backward(const PoolGeometry& whole, View<const T> dy, View<T> dx, Kernel&& kernel) {
  const Scratch<T> size(whole);
  const Index in = whole.in[0] * whole.in[1], out = whole.out[0] * whole.out[1];
  for_each_group<T>(whole, dx.shape[0], size.in_bytes + size.out_bytes,
                    [&](const PoolGeometry& g, Index plane, std::byte* scratch) {
                      T* dx_rows = reinterpret_cast<T*>(scratch);
                      T* dy_rows = reinterpret_cast<T*>(scratch + size.in_bytes);
                      gather(g, dy.data + plane * out, out, dy_rows);
                      kernel(g, dy_rows, dx_rows);
                      scatter(g, dx_rows, in, dx.data + plane * in);
                    });
}

void check_avg(const char* tag, const PoolWindow& window, Index divisor_override) {
  check(window.dilation == Pair{1, 1}, tag, "dilation: average pooling has none");
  check(divisor_override >= 0, tag, "divisor_override: must not be negative, got ",
        divisor_override);
}

}  // namespace

Index pool_extent(Index in, Index kernel, Index stride, Index padding, Index dilation,
                  bool ceil_mode) {
  constexpr const char* tag = "pool";
  check(in >= 0 && in <= largest_pixel, tag, "input: extent ", in, " is out of range");
  check(kernel >= 1 && kernel <= largest_pixel, tag, "kernel_size: must be at least 1, got ",
        kernel);
  check(stride >= 1 && stride <= largest_pixel, tag, "stride: must be at least 1, got ", stride);
  check(dilation >= 1 && dilation <= largest_pixel, tag, "dilation: must be at least 1, got ",
        dilation);
  const Index reach = dilation * (kernel - 1) + 1;
  check(padding >= 0 && padding <= kernel / 2, tag, "padding: expected 0 to ", kernel / 2,
        ", half of kernel_size, got ", padding);
  const Index room = in + 2 * padding - reach;
  // With ceil_mode a window may stick out at the end, but must start before it.
  Index windows = room < 0 ? 0 : room / stride + 1;
  if (ceil_mode && room > -stride) {
    windows = (room + stride - 1) / stride + 1;
    if ((windows - 1) * stride >= in + padding) --windows;
  }
  check(windows >= 1, tag, "the window of ", reach, " pixels is larger than the input of ", in,
        " pixels with padding ", padding, " on both sides");
  return windows;
}

template <class T>
void max_pool2d(View<const T> x, View<T> y, View<Index> indices, const PoolWindow& window) {
  const PoolGeometry whole = window_geometry("max_pool2d", x.shape, y.shape, window);
  const auto& kernels = *kernel_table<T>().pool;
  if (!indices) {
    run_forward(whole, x, y, [&](const PoolGeometry& g, const T* from, T* to) {
      kernels.max_forward(g, from, to, nullptr);
    });
    return;
  }
  check(indices.shape == y.shape, "max_pool2d", "indices: expected shape ", y.shape, ", got ",
        indices.shape);
  const Scratch<T> size(whole);
  const Index in = whole.in[0] * whole.in[1], out = whole.out[0] * whole.out[1];
  for_each_group<T>(
      whole, x.shape[0], size.in_bytes + size.out_bytes + size.argmax_bytes,
      [&](const PoolGeometry& g, Index plane, std::byte* scratch) {
        T* x_rows = reinterpret_cast<T*>(scratch);
        T* y_rows = reinterpret_cast<T*>(scratch + size.in_bytes);
        auto* argmax = reinterpret_cast<std::int32_t*>(scratch + size.in_bytes + size.out_bytes);
        gather(g, x.data + plane * in, in, x_rows);
        kernels.max_forward(g, x_rows, y_rows, argmax);
        scatter(g, y_rows, out, y.data + plane * out);
        for (Index c = 0; c < g.channels; ++c)
          for (Index pixel = 0; pixel < out; ++pixel)
            indices.data[(plane + c) * out + pixel] = argmax[pixel * g.row_stride + c];
      });
}

template <class T>
void max_pool2d_backward(View<const T> dy, View<const T> x, View<T> dx, const PoolWindow& window) {
  const PoolGeometry whole = window_geometry("max_pool2d", x.shape, dy.shape, window);
  check(dx.shape == x.shape, "max_pool2d", "grad_input: expected shape ", x.shape, ", got ",
        dx.shape);
  const auto& kernels = *kernel_table<T>().pool;
  const Scratch<T> size(whole);
  const Index in = whole.in[0] * whole.in[1], out = whole.out[0] * whole.out[1];
  for_each_group<T>(whole, x.shape[0], size.in_bytes + size.out_bytes + size.argmax_bytes,
                    [&](const PoolGeometry& g, Index plane, std::byte* scratch) {
                      // x's rows serve as dx's, and y's as dy's, once the maxima are found.
                      T* in_rows = reinterpret_cast<T*>(scratch);
                      T* out_rows = reinterpret_cast<T*>(scratch + size.in_bytes);
                      auto* argmax =
                          reinterpret_cast<std::int32_t*>(scratch + size.in_bytes + size.out_bytes);
                      gather(g, x.data + plane * in, in, in_rows);
                      kernels.max_forward(g, in_rows, out_rows, argmax);
                      gather(g, dy.data + plane * out, out, out_rows);
                      kernels.max_backward(g, out_rows, argmax, in_rows);
                      scatter(g, in_rows, in, dx.data + plane * in);
                    });
}

template <class T>
void avg_pool2d(View<const T> x, View<T> y, const PoolWindow& window, bool count_include_pad,
                Index divisor_override) {
  check_avg("avg_pool2d", window, divisor_override);
  const PoolGeometry whole = window_geometry("avg_pool2d", x.shape, y.shape, window);
  const auto& kernels = *kernel_table<T>().pool;
  run_forward(whole, x, y, [&](const PoolGeometry& g, const T* from, T* to) {
    kernels.avg_forward(g, from, to, count_include_pad, divisor_override);
  });
}

template <class T>
void avg_pool2d_backward(View<const T> dy, View<T> dx, const PoolWindow& window,
                         bool count_include_pad, Index divisor_override) {
  check_avg("avg_pool2d", window, divisor_override);
  const PoolGeometry whole = window_geometry("avg_pool2d", dx.shape, dy.shape, window);
  const auto& kernels = *kernel_table<T>().pool;
  run_backward(whole, dy, dx, [&](const PoolGeometry& g, const T* from, T* to) {
    kernels.avg_backward(g, from, to, count_include_pad, divisor_override);
  });
}

template <class T>
void adaptive_avg_pool2d(View<const T> x, View<T> y) {
  const PoolGeometry whole = plane_geometry("adaptive_avg_pool2d", x.shape, y.shape);
  run_forward(whole, x, y, kernel_table<T>().pool->adaptive_avg_forward);
}

template <class T>
void adaptive_avg_pool2d_backward(View<const T> dy, View<T> dx) {
  const PoolGeometry whole = plane_geometry("adaptive_avg_pool2d", dx.shape, dy.shape);
  run_backward(whole, dy, dx, kernel_table<T>().pool->adaptive_avg_backward);
}

template void max_pool2d(View<const float>, View<float>, View<Index>, const PoolWindow&);
template void max_pool2d_backward(View<const float>, View<const float>, View<float>,
                                  const PoolWindow&);
template void avg_pool2d(View<const float>, View<float>, const PoolWindow&, bool, Index);
template void avg_pool2d_backward(View<const float>, View<float>, const PoolWindow&, bool, Index);
template void adaptive_avg_pool2d(View<const float>, View<float>);
template void adaptive_avg_pool2d_backward(View<const float>, View<float>);

template void max_pool2d(View<const double>, View<double>, View<Index>, const PoolWindow&);
template void max_pool2d_backward(View<const double>, View<const double>, View<double>,
                                  const PoolWindow&);
template void avg_pool2d(View<const double>, View<double>, const PoolWindow&, bool, Index);
template void avg_pool2d_backward(View<const double>, View<double>, const PoolWindow&, bool, Index);
template void adaptive_avg_pool2d(View<const double>, View<double>);
template void adaptive_avg_pool2d_backward(View<const double>, View<double>);

}  // namespace piste
