#include "piste/norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "dispatch/dispatch.h"
#include "ops/batch_stats.h"
#include "ops/elementwise.h"

namespace piste {
namespace {

constexpr Index task_values = 1 << 15;  // at least so many values per task

template <class T>
struct Planes {
  Index samples, channels, pixels;

  explicit Planes(const View<const T>& x) {
    check(x.shape.rank() == 3, "batch_norm", "expected (n, channels, pixels), got ", x.shape);
    samples = x.shape[0];
    channels = x.shape[1];
    pixels = x.shape[2];
  }
  Index count() const { return samples * pixels; }
  Index at(Index sample, Index channel) const { return (sample * channels + channel) * pixels; }
  /// Planes of a task that takes some wherever they are.
  Index grain() const { return std::max<Index>(elementwise_grain / std::max<Index>(pixels, 1), 1); }
  /// body(channel) for all of them, in parallel.
  template <class Body>
  void for_channels(Body&& body) const {
    const Split split(channels, std::max<Index>(task_values / std::max<Index>(count(), 1), 1));
    parallel_for(split.count, [&](Index task, int) {
      for (Index c = split.begin(task); c < split.end(task); ++c) body(c);
    });
  }
  void check_channels(const View<const T>& view, const char* name) const {
    check(!view || view.shape == Shape{channels}, "batch_norm", name, " has shape ", view.shape,
          ", expected ", Shape{channels});
  }
};

template <class T>
Planes<T> checked_planes(const View<const T>& x, const View<const T>& running_mean,
                         const View<const T>& running_var, const View<const T>& weight,
                         bool training) {
  const Planes<T> planes(x);
  planes.check_channels(running_mean, "running_mean");
  planes.check_channels(running_var, "running_var");
  planes.check_channels(weight, "weight");
  check(bool(running_mean) == bool(running_var), "batch_norm",
        "expected both running statistics or neither");
  check(training || running_mean, "batch_norm", "evaluation needs the running statistics");
  check(!training || planes.count() > 1, "batch_norm",
        "expected more than 1 value per channel in training, got ", planes.count());
  return planes;
}

template <class T>
struct Moments {
  T mean, m2;
};

/// One channel's moments over the batch: those of its planes, joined in the samples' order.
template <class T>
Moments<T> batch_moments(const Planes<T>& planes, const T* x, Index channel) {
  const auto& kernels = *kernel_table<T>().norm;
  Moments<T> all{}, part{};
  kernels.plane_moments(x + planes.at(0, channel), planes.pixels, &all.mean, &all.m2);
  for (Index i = 1; i < planes.samples; ++i) {
    kernels.plane_moments(x + planes.at(i, channel), planes.pixels, &part.mean, &part.m2);
    combine_moments(i * planes.pixels, &all.mean, &all.m2, planes.pixels, &part.mean, &part.m2, 1);
  }
  return all;
}

template <class T>
T inverse_std(T var, const BatchNormOptions& options) {
  return T(1) / std::sqrt(var + static_cast<T>(options.eps));
}

}  // namespace

template <class T>
void batch_norm(View<const T> x, View<T> running_mean, View<T> running_var, View<const T> weight,
                View<const T> bias, const BatchNormOptions& options, View<T> y) {
  const Planes<T> planes =
      checked_planes<T>(x, running_mean, running_var, weight, options.training);
  planes.check_channels(bias, "bias");
  check(y.shape == x.shape, "batch_norm", "expected an output of ", x.shape, ", got ", y.shape);
  const auto& kernels = *kernel_table<T>().norm;
  const T count = static_cast<T>(planes.count()), momentum = static_cast<T>(options.momentum);
  const Stores stores = stores_of(y);
  const auto scale_of = [&](Index c, T var) {
    return (weight ? weight.data[c] : T(1)) * inverse_std(var, options);
  };
  const auto apply = [&](Index sample, Index c, T mean, T scale) {
    const Index at = planes.at(sample, c);
    kernels.plane_scale_shift(x.data + at, y.data + at, planes.pixels, mean, scale,
                              bias ? bias.data[c] : T(0), stores);
  };
  if (!options.training) {  // in the order of memory, as no channel is read twice
    std::vector<T> scales(static_cast<std::size_t>(planes.channels));
    for (Index c = 0; c < planes.channels; ++c) scales[c] = scale_of(c, running_var.data[c]);
    const Split split = even_split(planes.samples * planes.channels, planes.grain());
    return parallel_for(split.count, [&](Index task, int) {
      for (Index i = split.begin(task); i < split.end(task); ++i) {
        const Index c = i % planes.channels;
        apply(i / planes.channels, c, running_mean.data[c], scales[c]);
      }
    });
  }
  planes.for_channels([&](Index c) {
    const Moments<T> moments = batch_moments(planes, x.data, c);
    const T scale = scale_of(c, moments.m2 / count);
    for (Index i = 0; i < planes.samples; ++i) apply(i, c, moments.mean, scale);
    if (!running_mean) return;
    const T unbiased = moments.m2 / (count - T(1));
    running_mean.data[c] += momentum * (moments.mean - running_mean.data[c]);
    running_var.data[c] += momentum * (unbiased - running_var.data[c]);
  });
}

// With z = (x - mean) / std: dx = scale * (dy - mean(dy) - z * mean(dy * z)) in training, where the
// statistics depend on x, and scale * dy otherwise.
template <class T>
void batch_norm_backward(View<const T> dy, View<const T> x, View<const T> running_mean,
                         View<const T> running_var, View<const T> weight,
                         const BatchNormOptions& options, View<T> dx, View<T> dweight,
                         View<T> dbias) {
  const Planes<T> planes =
      checked_planes<T>(x, running_mean, running_var, weight, options.training);
  planes.check_channels(dweight, "the gradient by weight");
  planes.check_channels(dbias, "the gradient by bias");
  check(dy.shape == x.shape && dx.shape == x.shape, "batch_norm", "expected gradients of ", x.shape,
        ", got ", dy.shape, " and ", dx.shape);
  const auto& kernels = *kernel_table<T>().norm;
  const T count = static_cast<T>(planes.count());
  const Stores stores = stores_of(dx);
  planes.for_channels([&](Index c) {
    Moments<T> moments{};
    if (options.training) moments = batch_moments(planes, x.data, c);
    const T mean = options.training ? moments.mean : running_mean.data[c];
    const T var = options.training ? moments.m2 / count : running_var.data[c];
    const T inverse = inverse_std(var, options);
    const T scale = (weight ? weight.data[c] : T(1)) * inverse;
    T sum = 0, sum_x = 0;
    for (Index i = 0; i < planes.samples; ++i)
      kernels.plane_backward_sums(dy.data + planes.at(i, c), x.data + planes.at(i, c),
                                  planes.pixels, mean, &sum, &sum_x);
    const T slope = -scale * inverse * inverse * sum_x / count;
    const T shift = -scale * sum / count;
    for (Index i = 0; i < planes.samples; ++i) {
      const Index at = planes.at(i, c);
      if (options.training)
        kernels.plane_backward_apply(dy.data + at, x.data + at, dx.data + at, planes.pixels, mean,
                                     scale, slope, shift, stores);
      else  // where x is not finite, 0 * x would not be 0
        kernels.plane_scale_shift(dy.data + at, dx.data + at, planes.pixels, T(0), scale, T(0),
                                  stores);
    }
    if (dweight) dweight.data[c] = sum_x * inverse;
    if (dbias) dbias.data[c] = sum;
  });
}

template void batch_norm(View<const float>, View<float>, View<float>, View<const float>,
                         View<const float>, const BatchNormOptions&, View<float>);
template void batch_norm(View<const double>, View<double>, View<double>, View<const double>,
                         View<const double>, const BatchNormOptions&, View<double>);
template void batch_norm_backward(View<const float>, View<const float>, View<const float>,
                                  View<const float>, View<const float>, const BatchNormOptions&,
                                  View<float>, View<float>, View<float>);
template void batch_norm_backward(View<const double>, View<const double>, View<const double>,
                                  View<const double>, View<const double>, const BatchNormOptions&,
                                  View<double>, View<double>, View<double>);

}  // namespace piste
