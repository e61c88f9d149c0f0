#include <vector>

#include "ops/row_norm.h"
#include "piste/norm.h"

namespace piste {
namespace {

// Shorter planes are taken as part of rows whose values have weights of their own.
constexpr Index long_plane = 64;

template <class T>
struct Groups {
  Index samples, channels, pixels, groups, per_group;

  Groups(const View<const T>& x, Index count, const Shape& other) : groups(count) {
    check(x.shape.rank() == 3, "group_norm", "expected (n, channels, pixels), got ", x.shape);
    check(other == x.shape, "group_norm", "expected an output of ", x.shape, ", got ", other);
    samples = x.shape[0];
    channels = x.shape[1];
    pixels = x.shape[2];
    check(groups >= 1 && channels % groups == 0, "group_norm", channels,
          " channels cannot be split into ", groups, " groups");
    per_group = channels / groups;
  }
  void check_channels(const View<const T>& view, const char* name) const {
    check(!view || view.shape == Shape{channels}, "group_norm", name, " has shape ", view.shape,
          ", expected ", Shape{channels});
  }
  void check_statistics(const View<const T>& view, const char* name) const {
    check(!view || view.shape == Shape{samples, groups}, "group_norm", name, " has shape ",
          view.shape, ", expected ", Shape{samples, groups});
  }

  Index values() const { return per_group * pixels; }  // of a group
  bool as_rows() const { return pixels < long_plane; }
  RowNorm<T> rows(const Affine<T>& affine, double eps) const {
    return {samples * groups, values(), groups, eps, affine.weight(), affine.bias()};
  }

  /// body(channel, its place in the group's memory) for the channels of a group: in parallel where
  /// the groups are not.
  template <class Body>
  void for_channels(Index group, Body&& body) const {
    const Split split(per_group, std::max<Index>(norm_task_values / pixels, 1));
    parallel_for(split.count, [&](Index task, int) {
      for (Index i = split.begin(task); i < split.end(task); ++i)
        body(group * per_group + i, i * pixels);
    });
  }
};

}  // namespace

template <class T>
void group_norm(View<const T> x, Index groups, View<const T> weight, View<const T> bias, double eps,
                View<T> y, View<T> mean, View<T> var) {
  const Groups<T> g(x, groups, y.shape);
  g.check_channels(weight, "weight");
  g.check_channels(bias, "bias");
  g.check_statistics(mean, "mean");
  g.check_statistics(var, "var");
  if (g.as_rows()) {
    const Affine<T> affine(weight.data, bias.data, weight || bias, g.channels, g.pixels);
    return g.rows(affine, eps).forward(x.data, y.data, mean.data, var.data);
  }
  const auto& kernels = *kernel_table<T>().norm;
  const Stores stores = stores_of(y);
  RunTasks(g.samples * groups, g.values(), 1 << 12)([&](Index run, Index) {
    const T* from = x.data + run * g.values();
    T* to = y.data + run * g.values();
    const RunMoments<T> moments(from, g.values());
    const T inverse = moments.inverse_std(eps);
    if (mean) mean.data[run] = moments.mean;
    if (var) var.data[run] = moments.var;
    g.for_channels(run % groups, [&](Index c, Index at) {
      kernels.plane_scale_shift(from + at, to + at, g.pixels, moments.mean,
                                weight ? weight.data[c] * inverse : inverse,
                                bias ? bias.data[c] : T(0), stores);
    });
  });
}

namespace {

/// Adds the gradients of rows' weights, one per value, to those of the channels.
template <class T>
void backward_as_rows(const Groups<T>& g, View<const T> dy, View<const T> x, View<const T> weight,
                      double eps, View<T> dx, View<T> dweight, View<T> dbias) {
  const Affine<T> affine(weight.data, nullptr, weight || dbias, g.channels, g.pixels);
  const Index values = g.channels * g.pixels;
  std::vector<T> dweights(dweight ? values : 0), dbiases(dbias ? values : 0);
  g.rows(affine, eps)
      .backward(dy.data, x.data, dx.data, dweight ? dweights.data() : nullptr,
                dbias ? dbiases.data() : nullptr);
  const auto sum_pixels = [&](const std::vector<T>& from, View<T> to) {
    std::fill_n(to.data, to ? g.channels : 0, T(0));
    for (std::size_t i = 0; i < from.size(); ++i) to.data[i / g.pixels] += from[i];
  };
  sum_pixels(dweights, dweight);
  sum_pixels(dbiases, dbias);
}

}  // namespace

// As RowNorm::backward, with a weight per channel; each plane's sums are kept for dweight and
// dbias, which add them in the samples' order.
template <class T>
void group_norm_backward(View<const T> dy, View<const T> x, Index groups, View<const T> weight,
                         double eps, View<T> dx, View<T> dweight, View<T> dbias) {
  const Groups<T> g(x, groups, dx.shape);
  check(dy.shape == x.shape, "group_norm", "expected a gradient of ", x.shape, ", got ", dy.shape);
  g.check_channels(weight, "weight");
  g.check_channels(dweight, "the gradient by weight");
  g.check_channels(dbias, "the gradient by bias");
  if (g.as_rows()) return backward_as_rows(g, dy, x, weight, eps, dx, dweight, dbias);
  const auto& kernels = *kernel_table<T>().norm;
  const Stores stores = stores_of(dx);
  const Index planes = g.samples * g.channels;
  const Workspace workspace(2 * planes * sizeof(T));
  T *sums = workspace.as<T>(), *sums_x = sums + planes;  // of dy, and of dy * (x - mean) / std
  RunTasks(g.samples * groups, g.values(), 1 << 12)([&](Index run, Index) {
    const Index first = run * g.values(), first_plane = run * g.per_group;
    const RunMoments<T> moments(x.data + first, g.values());
    const T mean = moments.mean, inverse = moments.inverse_std(eps);
    g.for_channels(run % groups, [&](Index, Index at) {
      T sum = 0, sum_x = 0;
      kernels.plane_backward_sums(dy.data + first + at, x.data + first + at, g.pixels, mean, &sum,
                                  &sum_x);
      sums[first_plane + at / g.pixels] = sum;
      sums_x[first_plane + at / g.pixels] = sum_x * inverse;
    });
    T sum = 0, sum_x = 0;
    for (Index i = 0; i < g.per_group; ++i) {
      const T w = weight ? weight.data[run % groups * g.per_group + i] : T(1);
      sum += w * sums[first_plane + i];
      sum_x += w * sums_x[first_plane + i];
    }
    const T count = static_cast<T>(g.values());
    const T slope = -inverse * inverse * sum_x / count, shift = -inverse * sum / count;
    g.for_channels(run % groups, [&](Index c, Index at) {
      kernels.plane_backward_apply(dy.data + first + at, x.data + first + at, dx.data + first + at,
                                   g.pixels, mean, weight ? weight.data[c] * inverse : inverse,
                                   slope, shift, stores);
    });
  });
  for (Index c = 0; c < g.channels; ++c) {
    T sum = 0, sum_x = 0;
    for (Index plane = c; plane < planes; plane += g.channels) {
      sum += sums[plane];
      sum_x += sums_x[plane];
    }
    if (dweight) dweight.data[c] = sum_x;
    if (dbias) dbias.data[c] = sum;
  }
}

template void group_norm(View<const float>, Index, View<const float>, View<const float>, double,
                         View<float>, View<float>, View<float>);
template void group_norm(View<const double>, Index, View<const double>, View<const double>, double,
                         View<double>, View<double>, View<double>);
template void group_norm_backward(View<const float>, View<const float>, Index, View<const float>,
                                  double, View<float>, View<float>, View<float>);
template void group_norm_backward(View<const double>, View<const double>, Index, View<const double>,
                                  double, View<double>, View<double>, View<double>);

}  // namespace piste
