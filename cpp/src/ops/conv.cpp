#include "piste/conv.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/conv_choice.h"
#include "ops/conv_depthwise_planes.h"
#include "ops/conv_nhwc.h"
#include "ops/conv_planes.h"
#include "ops/conv_pointwise.h"
#include "ops/conv_sampled.h"
#include "ops/conv_winograd.h"
#include "ops/plane_sums.h"
#include "piste/linear.h"

namespace piste {
namespace {

constexpr Index few_samples = 8;              // fewer are too few to share a gradient out
constexpr Index enough_tasks = 16;            // fewer samples are cut into parts
constexpr Index shared_pixels = 128;          // that use weights while they are near
constexpr Index max_partials = 8;             // partial sums of a weight's gradient
constexpr Index max_ranges = 16;              // of its parts, each a task's
constexpr Index rows_bytes = 24 << 20;        // of the samples that stand as rows at a time
constexpr Index task_flops = Index{1} << 22;  // at least so much work per task
constexpr Index copy_flops = 32;              // that take as long as a value from plane to row

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

/// Samples whose pixels share a visit of the weights, where that leaves enough tasks.
Index sharing_samples(const ConvGeometry& g, Index n) {
  return std::max<Index>(std::min(shared_pixels / g.out_pixels(), n / enough_tasks), 1);
}

/// Of one sample. A depthwise layer's are few beside what its planes take to become rows and back:
/// as much as so many flops for each value.
Index flops_of(const ConvGeometry& g) {
  const Index per_value = g.channels == g.groups ? copy_flops : 0;
  return g.out_pixels() * g.filters * (2 * g.taps() * g.channels / g.groups + per_value) +
         g.in_pixels() * g.channels * per_value;
}

/// Samples per task: as many, or enough work to be worth one. The shape alone fixes it.
Index samples_per_task(const ConvGeometry& g, Index n) {
  const Index flops = flops_of(g);
  return std::clamp<Index>(task_flops / std::max<Index>(flops, 1), sharing_samples(g, n),
                           std::max<Index>(n, 1));
}

/// Parts of each sample's lines that are tasks of their own, where samples are few.
Index parts_of_samples(const ConvGeometry& g, Index n) {
  const Index flops = flops_of(g);
  const Index most = std::min(flops / task_flops + 1, g.out[0] * g.out[1]);
  const Index sharing = std::max(g.out_pixels() / shared_pixels, (few_samples + n - 1) / n);
  return std::clamp<Index>(std::min((enough_tasks + n - 1) / n, sharing), 1, most);
}

/// Values of one sample in the kernels' layout, with the vector that may be read past its end.
Index padded_values(Index pixels, Index stride) { return pixels * stride + 64; }

/// Whether the kernel covers the whole input: every sample is then a row of a linear layer.
bool is_linear(const ConvGeometry& g) {
  for (int a = 0; a < 3; ++a)
    if (g.out[a] != 1 || g.kernel[a] != g.in[a] || g.pad[a] != 0 ||
        (g.dilation[a] != 1 && g.kernel[a] != 1))
      return false;
  return g.groups == 1;
}

/// Pixels [begin, end) of a sample from planes to rows, and back.
template <class T>
void to_rows(const T* nchw, Index channels, Index pixels, T* rows, Index stride, Index begin,
             Index end) {
  kernel_table<T>().layout->transpose(nchw + begin, pixels, rows + begin * stride, stride, channels,
                                      end - begin, stride);
}
template <class T>
void from_rows(const T* rows, Index channels, Index pixels, T* nchw, Index stride, Index begin,
               Index end) {
  kernel_table<T>().layout->transpose(rows + begin * stride, stride, nchw + begin, pixels,
                                      end - begin, channels, end - begin);
}

/// Whether every sum of products has no term: the algorithms below need not think of it.
bool no_products(const ConvGeometry& g, Index n) {
  return n == 0 || g.channels == 0 || g.filters == 0 || g.in_pixels() == 0 || g.out_pixels() == 0;
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

/// Whether all weights are finite, by looks at parts of them.
template <class T>
class FiniteWeight {
 public:
  explicit FiniteWeight(const View<const T>& weight) : weight_(weight) {}
  void look_at(Index part, Index parts) {
    const Index size = weight_.size(), begin = size * part / parts, end = size * (part + 1) / parts;
    if (!kernel_table<T>().update->all_finite(weight_.data + begin, end - begin))
      all_.store(false, std::memory_order_relaxed);
  }
  bool all() const { return all_.load(std::memory_order_relaxed); }

 private:
  View<const T> weight_;
  std::atomic<bool> all_{true};
};

}  // namespace

template <class T>
void conv(View<const T> x, View<const T> weight, View<const T> bias, const ConvOptions& options,
          View<T> y) {
  const ConvGeometry g = geometry_of(x, weight, y.shape, options);
  check(!bias || bias.shape == Shape{g.filters}, "conv", "bias has shape ", bias.shape,
        ", expected ", Shape{g.filters});
  const Index n = x.shape[0], per_task = samples_per_task(g, n);
  if (no_products(g, n)) {
    for (Index plane = 0; plane < n * g.filters; ++plane)
      std::fill_n(y.data + plane * g.out_pixels(), g.out_pixels(),
                  bias ? bias.data[plane % g.filters] : T(0));
    return;
  }
  if (is_linear(g)) {
    const Index in = g.channels * g.taps();
    return linear<T>({x.data, {n, in}}, {weight.data, {g.filters, in}}, bias,
                     {y.data, {n, g.filters}});
  }
  const Algorithm algorithm = options.algorithm.value_or(default_algorithm());
  if (Winograd<T>::chosen(g, algorithm) &&
      winograd_map<T>(Winograd<T>::forward_pass(g), Winograd<T>::tile_size(g), n, x.data,
                      weight.data, bias.data, y.data))
    return;
  const DirectWay way = direct_way(g, algorithm, Pass::forward, kernel_table<T>().lanes);
  if (way == DirectWay::depthwise_planes)
    return conv_depthwise_planes(g, n, x.data, weight.data, bias.data, y.data);
  if (way == DirectWay::sampled) return conv_sampled(g, x, weight, bias, options, y);
  if (way == DirectWay::planes) return conv_planes(g, n, x.data, weight.data, bias.data, y.data);
  if (way == DirectWay::pointwise)
    return conv_pointwise(g, n, x.data, weight.data, bias.data, y.data);
  Conv<T> conv(g, true, false);
  conv.lay_out(false);
  const WorkerLayout<T> layout(conv, g, per_task);
  const Split split(n, per_task, n);
  const Index parts = parts_of_samples(g, n), in = g.in_pixels(), out = g.out_pixels();
  const Index packed_bytes = Index(round_up(conv.packed_forward_size() * sizeof(T), 4096));
  const Index bias_bytes = Index(round_up((g.y_stride + 64) * sizeof(T), 4096));
  Workspace workspace(packed_bytes + bias_bytes +
                      parallel_workers(split.count * parts) * layout.bytes);
  T* packed = workspace.as<T>();
  T* padded_bias = workspace.as<T>(packed_bytes);
  if (bias) {
    std::fill_n(padded_bias, g.y_stride + 64, T(0));
    std::copy_n(bias.data, g.filters, padded_bias);
  }
  FiniteWeight<T> finite(weight);
  parallel_for(conv.pack_tasks(), [&](Index task, int) {
    finite.look_at(task, conv.pack_tasks());
    conv.pack_forward(weight.data, packed, task);
  });
  // Parts of a sample each read it as rows: less work than the products, and nothing to wait for.
  parallel_for(split.count * parts, [&](Index task, int worker) {
    std::byte* base = workspace.data() + packed_bytes + bias_bytes + worker * layout.bytes;
    T* x_rows = reinterpret_cast<T*>(base + layout.x);
    T* y_rows = reinterpret_cast<T*>(base + layout.y);
    const Index part = task % parts, first = split.begin(task / parts);
    const Index count = split.end(task / parts) - first;
    const Index height = g.out[0] * g.out[1];
    const typename Conv<T>::Lines lines{height * part / parts, height * (part + 1) / parts};
    const auto source = conv.source_lines(lines);
    for (Index i = 0; i < count; ++i)
      to_rows(x.data + (first + i) * g.channels * in, g.channels, in, x_rows + i * in * g.x_stride,
              g.x_stride, source.first * g.in[2], source.end * g.in[2]);
    conv.forward(x_rows, packed, bias ? padded_bias : nullptr, false, y_rows, count, lines, base,
                 finite.all());
    for (Index i = 0; i < count; ++i)
      from_rows(y_rows + i * out * g.y_stride, g.filters, out,
                y.data + (first + i) * g.filters * out, g.y_stride, lines.first * g.out[2],
                lines.end * g.out[2]);
  });
}

template <class T>
void conv_backward(View<const T> dy, View<const T> x, View<const T> weight,
                   const ConvOptions& options, View<T> dx, View<T> dweight, View<T> dbias) {
  const ConvGeometry g = geometry_of(x, weight, dy.shape, options);
  const Index n = x.shape[0];
  if (no_products(g, n)) {
    if (dx) std::fill_n(dx.data, dx.size(), T(0));
    if (dweight) std::fill_n(dweight.data, dweight.size(), T(0));
    if (dbias) sum_planes(dy, dbias);
    return;
  }
  if (is_linear(g)) {
    const Shape rows{n, g.channels * g.taps()}, filters{g.filters, g.channels * g.taps()};
    return linear_backward<T>({dy.data, {n, g.filters}}, {x.data, rows}, {weight.data, filters},
                              {dx.data, dx ? rows : Shape()},
                              {dweight.data, dweight ? filters : Shape()}, dbias);
  }
  const Algorithm algorithm = options.algorithm.value_or(default_algorithm());
  if (Winograd<T>::chosen(g, algorithm)) {
    const int m = Winograd<T>::tile_size(g);
    if (dbias) sum_planes(dy, dbias);
    if (dx && winograd_map<T>(Winograd<T>::backward_pass(g), m, n, dy.data, weight.data, nullptr,
                              dx.data))
      dx = {};
    if (dweight && winograd_weight_gradient(g, m, n, x.data, dy.data, dweight.data)) dweight = {};
    dbias = {};
    if (!dx && !dweight) return;
  }
  const DirectWay way = direct_way(g, algorithm, Pass::backward, kernel_table<T>().lanes);
  if (way == DirectWay::depthwise_planes)
    return conv_depthwise_planes_backward(g, n, dy.data, x.data, weight.data, dx.data, dweight.data,
                                          dbias.data);
  if (way == DirectWay::sampled)
    return conv_sampled_backward(g, dy, x, weight, options, dx, dweight, dbias);
  if (way == DirectWay::planes)
    return conv_planes_backward(g, n, dy.data, x.data, weight.data, dx.data, dweight.data,
                                dbias.data);
  if (dbias) sum_planes(dy, dbias);
  if (way == DirectWay::pointwise)
    return conv_pointwise_backward(g, n, dy.data, x.data, weight.data, dx.data, dweight.data);
  Conv<T> conv(g, true);
  conv.lay_out(bool(dx));
  // Samples [0, chunk) at a time as rows, x with its border: then all pixels are there for every
  // part of the weight gradient, whose sums need no second memory.
  const Index size = sizeof(T), in = g.in_pixels(), out = g.out_pixels();
  const Index x_values = padded_values(1, conv.bordered_values());
  const Index y_values = padded_values(out, g.y_stride);
  const Index chunk = std::clamp<Index>(rows_bytes / ((x_values + y_values) * size), 1, n);
  // A gradient that is small beside the rows is summed by shares of the samples, each of which
  // reads its rows once; a large one part by part, by as many shares as make up for few parts.
  const bool small =
      n >= few_samples && conv.gradient_size() * max_partials * 4 < chunk * (x_values + y_values);
  const Split ranges(conv.weight_parts(), 1, small ? 1 : max_ranges);
  const Index parts = ranges.count;
  const Split shares(chunk, (chunk * parts + max_partials - 1) / max_partials, max_partials);
  const WorkerLayout<T> layout(conv, g, 1);
  const Index dx_parts = parts_of_samples(g, n);
  const auto pages = [&](Index values) { return Index(round_up(values * size, 4096)); };
  const Index packed_at = 0, x_at = pages(conv.packed_backward_size());
  const Index y_at = x_at + pages(chunk * x_values);
  const Index gradients_at = y_at + pages(chunk * y_values);
  const Index workers_at = gradients_at + shares.count * pages(conv.gradient_size());
  Workspace workspace(workers_at +
                      parallel_workers(chunk * dx_parts + shares.count * parts) * layout.bytes);
  T* packed = workspace.as<T>(packed_at);
  T *x_rows = workspace.as<T>(x_at), *y_rows = workspace.as<T>(y_at);
  const auto scratch = [&](int worker) {
    return workspace.data() + workers_at + worker * layout.bytes;
  };
  const auto share_gradient = [&](Index share) {
    return workspace.as<T>(gradients_at + share * pages(conv.gradient_size()));
  };
  FiniteWeight<T> finite(weight);
  if (dx)
    parallel_for(conv.pack_tasks(), [&](Index task, int) {
      finite.look_at(task, conv.pack_tasks());
      conv.pack_backward(weight.data, packed, task);
    });
  // Its sums are, where they were asked for.
  const bool dy_finite = dbias && kernel_table<T>().update->all_finite(dbias.data, g.filters);
  for (Index first = 0; first < n; first += chunk) {
    const Index count = std::min(chunk, n - first);
    parallel_for(count, [&](Index i, int worker) {
      T* dense = reinterpret_cast<T*>(scratch(worker) + layout.x);
      to_rows(dy.data + (first + i) * g.filters * out, g.filters, out,
              y_rows + i * out * g.y_stride, g.y_stride, 0, out);
      if (!dweight) return;
      to_rows(x.data + (first + i) * g.channels * in, g.channels, in, dense, g.x_stride, 0, in);
      conv.add_border(dense, x_rows + i * conv.bordered_values());
    });
    if (dweight)
      parallel_for(shares.count * parts, [&](Index task, int worker) {
        const Index share = task / parts, part = task % parts;
        const Index begin = std::min(shares.begin(share), count);
        const Index end = std::min(shares.end(share), count);
        conv.outer_products(x_rows + begin * conv.bordered_values(),
                            y_rows + begin * out * g.y_stride, share_gradient(share), end - begin,
                            ranges.begin(part), ranges.end(part), first > 0, scratch(worker),
                            dy_finite);
      });
    if (!dx) continue;
    // The rows of x are not read again: those of dx take their place.
    const auto dx_rows = [&](Index i) { return x_rows + i * in * g.x_stride; };
    const Split tasks(count, sharing_samples(g, count));
    const Index parts_of_dx = tasks.count < count ? 1 : dx_parts;
    const auto dx_to_planes = [&](Index i, Index begin, Index end) {
      from_rows(dx_rows(i), g.channels, in, dx.data + (first + i) * g.channels * in, g.x_stride,
                begin, end);
    };
    parallel_for(tasks.count * parts_of_dx, [&](Index task, int worker) {
      const Index begin = tasks.begin(task / parts_of_dx), end = tasks.end(task / parts_of_dx);
      conv.backward_data(y_rows, packed, x_rows, begin, end, scratch(worker), task % parts_of_dx,
                         parts_of_dx, finite.all());
      for (Index i = begin; i < end && parts_of_dx == 1; ++i) dx_to_planes(i, 0, in);
    });
    if (parts_of_dx > 1)
      parallel_for(count * dx_parts, [&](Index task, int) {
        const Index part = task % dx_parts;
        dx_to_planes(task / dx_parts, in * part / dx_parts, in * (part + 1) / dx_parts);
      });
  }
  const T* sums[max_partials];
  for (Index p = 0; p < shares.count; ++p) sums[p] = share_gradient(p);
  if (dweight)
    parallel_for(conv.pack_tasks(), [&](Index task, int) {
      conv.unpack_gradient(sums, shares.count, dweight.data, task);
    });
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
