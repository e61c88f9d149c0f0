#include "ops/conv_depthwise_planes.h"

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/depthwise_plane.h"

namespace piste {
namespace {

constexpr Index most_values = 1 << 15;  // of a plane with its border: the copies stay in L2
constexpr Index most_stride = 8;        // each residue has a part of the copy
constexpr Index task_work = 1 << 15;    // values read, written or multiplied, at least in a task
constexpr Index most_tasks = 32;        // that the channels are shared out to for gradients, of
constexpr Index run_values = 1 << 11;   // neighbouring planes with so many values at least
constexpr Index max_parts = 8;          // partial sums over samples, where channels are few

/// With all of dy within the copy, for the weight's gradient reads it too.
PlaneMap whole_backward_map(const ConvGeometry& g) {
  PlaneMap map = backward_map(g);
  for (PlaneAxis& axis : map.axis)
    for (; axis.low < 0; ++axis.low)
      for (Index& position : axis.positions) ++position;
  return map;
}

/// Zeroed memory of each worker.
template <class T>
class Scratch {
 public:
  Scratch(Index tasks, Index values)
      : values_(Index(round_up(values * sizeof(T), 4096) / sizeof(T))),
        workspace_(parallel_workers(tasks) * values_ * sizeof(T)),
        zeroed_(parallel_workers(tasks)) {}
  T* of(int worker) {
    T* values = workspace_.as<T>() + worker * values_;
    if (!zeroed_[worker]) std::fill_n(values, values_, T(0));
    zeroed_[worker] = 1;
    return values;
  }

 private:
  Index values_;
  Workspace workspace_;
  std::vector<unsigned char> zeroed_;
};

/// All three gradients of the planes of some channels and samples.
template <class T>
class DepthwiseGradients {
 public:
  DepthwiseGradients(const ConvGeometry& g, Index n)
      : g_(g),
        n_(n),
        product_(whole_backward_map(g), backward_target(g), false),
        x_(forward_map(g), false, false) {
    const PlaneMap map = forward_map(g);
    for (Index h : map.axis[1].positions)
      for (Index w : map.axis[2].positions) offsets_.push_back(x_.offset(h, w));
    const Index run = std::max<Index>(run_values / (g.in_pixels() + g.out_pixels()), 1);
    ranges_ = Split(g.channels, run, most_tasks).count;
    parts_ = std::clamp<Index>(most_tasks / ranges_, 1, std::min(n, max_parts));
  }

  Index scratch_size() const {
    return padded(product_.source().size()) + padded(x_.size()) + product_.scratch_size();
  }
  Index tasks() const { return ranges_ * parts_; }
  Index parts() const { return parts_; }
  /// Values of a part's gradients: by the weights, then by the biases.
  Index size() const { return g_.channels * (g_.taps() + 1); }

  void run(Index task, const T* dy, const T* x, const T* weight, T* dx, T* dweight, T* dbias,
           T* scratch) const {
    T* dy_copy = scratch;
    T* x_copy = dy_copy + padded(product_.source().size());
    T* rest = x_copy + padded(x_.size());
    const Split channels(g_.channels, 1, ranges_), samples(n_, 1, parts_);
    const Index range = task / parts_, part = task % parts_, taps = g_.taps();
    const Index out = g_.out_pixels(), in = g_.in_pixels(), planes = n_ * g_.channels;
    const auto& table = kernel_table<T>();
    for (Index i = samples.begin(part); i < samples.end(part); ++i)
      for (Index c = channels.begin(range); c < channels.end(range); ++c) {
        const Index plane = i * g_.channels + c;
        const bool accumulate = i > samples.begin(part);
        const T* dy_plane = product_.source().read(dy + plane * out, dy + planes * out, dy_copy);
        if (dx) product_.run(dy_plane, weight + c * taps, 0, dx + plane * in, rest);
        if (dbias) {
          const T sum = table.planes->sum(dy + plane * out, out);
          dbias[c] = accumulate ? dbias[c] + sum : sum;
        }
        if (dweight)
          table.depthwise_planes->dots({x_.read(x + plane * in, x + planes * in, x_copy), x_.step(),
                                        offsets_.data(), taps, dy_plane + product_.source().first(),
                                        product_.source().row(), g_.out[1], g_.out[2],
                                        dweight + c * taps, accumulate});
      }
  }

 private:
  static Index padded(Index values) {
    return Index(round_up(values * sizeof(T), alignment)) / Index(sizeof(T));
  }

  const ConvGeometry& g_;
  Index n_;
  DepthwiseProduct<T> product_;
  BorderedPlane<T> x_;
  std::vector<Index> offsets_;
  Index ranges_, parts_;
};

}  // namespace

bool takes_depthwise_planes(const ConvGeometry& geometry) {
  if (geometry.channels != geometry.groups || geometry.filters != geometry.groups) return false;
  const ConvGeometry g = with_long_rows(geometry);
  if (g.taps() > longest_chain || g.in[0] != 1 || g.out[0] != 1 || g.kernel[0] != 1 ||
      g.pad[0] != 0)
    return false;
  Index values = 1;
  for (int a = 1; a < 3; ++a) {
    if (g.stride[a] > most_stride) return false;
    const Index reach = g.dilation[a] * (g.kernel[a] - 1);
    values *= std::max(g.in[a] + g.pad[a], g.out[a] * g.stride[a]) + 2 * reach + 16;
  }
  return values <= most_values;
}

template <class T>
void conv_depthwise_planes(const ConvGeometry& geometry, Index n, const T* x, const T* weight,
                           const T* bias, T* y) {
  const ConvGeometry g = with_long_rows(geometry);
  const DepthwiseProduct<T> product(forward_map(g), forward_target(g), true);
  const Index in = g.in_pixels(), out = g.out_pixels(), taps = g.taps();
  const Index planes = n * g.channels, copy_size = product.source().size();
  const Split split = even_split(planes, task_work / (in + out * (4 + taps) / 4) + 1);
  Scratch<T> scratch(split.count, copy_size + product.scratch_size());
  parallel_for(split.count, [&](Index task, int worker) {
    T* copy = scratch.of(worker);
    Index channel = split.begin(task) % g.channels;
    for (Index i = split.begin(task); i < split.end(task); ++i) {
      const T* from = product.source().read(x + i * in, x + planes * in, copy);
      product.run(from, weight + channel * taps, bias ? bias[channel] : T(0), y + i * out,
                  copy + copy_size);
      if (++channel == g.channels) channel = 0;
    }
  });
}

template <class T>
void conv_depthwise_planes_backward(const ConvGeometry& geometry, Index n, const T* dy, const T* x,
                                    const T* weight, T* dx, T* dweight, T* dbias) {
  const ConvGeometry g = with_long_rows(geometry);
  const DepthwiseGradients<T> gradients(g, n);
  const Index parts = gradients.parts(), size = gradients.size(), weights = g.channels * g.taps();
  Scratch<T> scratch(gradients.tasks(), gradients.scratch_size());
  const Workspace partial(parts > 1 ? parts * size * sizeof(T) : 0);
  const auto of_part = [&](Index part, T* whole, Index at) {
    return whole && parts > 1 ? partial.as<T>() + part * size + at : whole;
  };
  parallel_for(gradients.tasks(), [&](Index task, int worker) {
    const Index part = task % parts;
    gradients.run(task, dy, x, weight, dx, of_part(part, dweight, 0), of_part(part, dbias, weights),
                  scratch.of(worker));
  });
  if (parts == 1) return;
  const T* sums[max_parts];
  for (Index part = 0; part < parts; ++part) sums[part] = partial.as<T>() + part * size;
  if (dweight) kernel_table<T>().gemm->sum(sums, parts, 0, dweight, weights);
  if (dbias) kernel_table<T>().gemm->sum(sums, parts, weights, dbias, g.channels);
}

template void conv_depthwise_planes(const ConvGeometry&, Index, const float*, const float*,
                                    const float*, float*);
template void conv_depthwise_planes(const ConvGeometry&, Index, const double*, const double*,
                                    const double*, double*);
template void conv_depthwise_planes_backward(const ConvGeometry&, Index, const float*, const float*,
                                             const float*, float*, float*, float*);
template void conv_depthwise_planes_backward(const ConvGeometry&, Index, const double*,
                                             const double*, const double*, double*, double*,
                                             double*);

}  // namespace piste
