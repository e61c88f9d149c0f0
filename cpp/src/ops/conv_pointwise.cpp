#include "ops/conv_pointwise.h"

#include <algorithm>
#include <optional>

#include "base/parallel.h"
#include "base/workspace.h"
#include "ops/matmul.h"

namespace piste {
namespace {

constexpr Index few_products = 8;              // fewer are cut into tasks, more are tasks
constexpr Index task_work = 1 << 20;           // of a task at least, as Matmul counts it
constexpr Index pack_bytes = Index{16} << 20;  // of the samples that stand packed at a time
constexpr Index values_per_task = 1 << 14;     // that a task moves

/// Offsets of product i, which is a group of a sample.
struct Place {
  Index filter, channel;  // times pixels
  Index weight;
  Place(const ConvGeometry& g, Index i)
      : filter(i * (g.filters / g.groups) * g.out_pixels()),
        channel(i * (g.channels / g.groups) * g.out_pixels()),
        weight(i % g.groups * (g.filters / g.groups) * (g.channels / g.groups)) {}
};

template <class T>
T* memory_of(std::optional<Workspace>& workspace, Index values) {
  if (values > 0) workspace.emplace(static_cast<std::size_t>(values) * sizeof(T));
  return workspace ? workspace->as<T>() : nullptr;
}

/// Every group's weights (filters, channels), or turned (channels, filters), in the order in which
/// products read them.
template <class T>
class Weights {
 public:
  Weights(const ConvGeometry& g, const T* weight, bool turned)
      : filters_(g.filters / g.groups),
        channels_(g.channels / g.groups),
        turned_(turned),
        weight_(weight) {
    const Index rows = turned ? channels_ : filters_, depth = turned ? filters_ : channels_;
    if (!tiles_pay(rows, depth)) return;
    tile_ = kernel_table<T>().matmul->tile_rows;
    const Split tiles(parts(rows, tile_), values_per_task / (tile_ * depth) + 1);
    size_ = aligned(parts(rows, tile_) * tile_ * depth);
    memory_.emplace(static_cast<std::size_t>(g.groups * size_) * sizeof(T));
    parallel_for(g.groups * tiles.count, [&](Index task, int) {
      const Index group = task / tiles.count, row = tiles.begin(task % tiles.count) * tile_;
      const Index end = std::min(tiles.end(task % tiles.count) * tile_, rows);
      pack_tiles<T>({plain(group).at(row, 0), channels_, turned}, end - row, depth,
                    memory_->template as<T>() + group * size_ + row * depth);
    });
  }

  Matrix<const T> group(Index i) const {
    if (!tile_) return plain(i);
    return {memory_->template as<T>() + i * size_, turned_ ? filters_ : channels_, false, tile_};
  }

 private:
  Matrix<const T> plain(Index i) const {
    return {weight_ + i * filters_ * channels_, channels_, turned_};
  }

  Index filters_, channels_;
  bool turned_;
  const T* weight_;
  Index tile_ = 0, size_ = 0;
  std::optional<Workspace> memory_;
};

/// product(0) to product(n - 1), which are alike in shape, each for itself.
template <class T, class F>
void each_product(Index n, F product) {
  if (n < few_products) {
    for (Index i = 0; i < n; ++i) matmul<T>(product(i));
    return;
  }
  const Matmul<T> first(product(0), 1);
  const Split split(n, task_work / first.work() + 1);
  const Index memory = aligned(first.memory_size()), size = memory + aligned(first.scratch_size());
  std::optional<Workspace> workspace;
  T* all = memory_of<T>(workspace, size * parallel_workers(split.count));
  parallel_for(split.count, [&](Index task, int worker) {
    T *own = all + worker * size, *scratch = own + memory;
    for (Index i = split.begin(task); i < split.end(task); ++i) {
      const Matmul<T> one(product(i), 1);
      for (Index t = 0; t < one.pack_tasks(); ++t) one.pack(t, own);
      for (Index t = 0; t < one.tasks(); ++t) one.run(t, own, scratch);
      for (Index t = 0; t < one.finish_tasks(); ++t) one.finish(own);
    }
  });
}

/// The sum of product(0) to product(n - 1), which are alike in shape and accumulate into one c.
template <class T, class F>
void sum_products(Index n, F product) {
  const Matmul<T> first(product(0));
  if (first.finish_tasks()) {
    for (Index i = 0; i < n; ++i) matmul<T>(product(i));
    return;
  }
  const Index memory = aligned(first.memory_size()), scratch = aligned(first.scratch_size());
  const Index packs = first.pack_tasks(), tasks = first.tasks();
  const Index chunk = std::clamp<Index>(pack_bytes / (memory * Index(sizeof(T)) + 1), 1, n);
  std::optional<Workspace> workspace;
  T* packed = memory_of<T>(workspace, chunk * memory + parallel_workers(tasks) * scratch);
  for (Index begin = 0; begin < n; begin += chunk) {
    const Index count = std::min(chunk, n - begin);
    parallel_for(count * packs, [&](Index task, int) {
      const Index i = task / packs;
      Matmul<T>(product(begin + i)).pack(task % packs, packed + i * memory);
    });
    parallel_for(tasks, [&](Index task, int worker) {
      for (Index i = 0; i < count; ++i)
        Matmul<T>(product(begin + i))
            .run(task, packed + i * memory, packed + chunk * memory + worker * scratch);
    });
  }
}

}  // namespace

template <class T>
void conv_pointwise(const ConvGeometry& g, Index n, const T* x, const T* weight, const T* bias,
                    T* y) {
  const Index filters = g.filters / g.groups, channels = g.channels / g.groups;
  const Index pixels = g.out_pixels();
  const Weights<T> weights(g, weight, false);
  each_product<T>(n * g.groups, [&](Index i) {
    const Place at(g, i);
    Product<T> p{filters,
                 pixels,
                 channels,
                 weights.group(i % g.groups),
                 {x + at.channel, pixels},
                 {y + at.filter, pixels}};
    if (bias) p.line_bias = bias + i % g.groups * filters;
    return p;
  });
}

template <class T>
void conv_pointwise_backward(const ConvGeometry& g, Index n, const T* dy, const T* x,
                             const T* weight, T* dx, T* dweight) {
  const Index filters = g.filters / g.groups, channels = g.channels / g.groups;
  const Index pixels = g.out_pixels();
  if (dx) {
    const Weights<T> weights(g, weight, true);
    each_product<T>(n * g.groups, [&](Index i) {
      const Place at(g, i);
      return Product<T>{channels,
                        pixels,
                        filters,
                        weights.group(i % g.groups),
                        {dy + at.filter, pixels},
                        {dx + at.channel, pixels}};
    });
  }
  if (!dweight) return;
  std::fill_n(dweight, g.filters * channels, T(0));
  for (Index group = 0; group < g.groups; ++group)
    sum_products<T>(n, [&](Index i) {
      const Place at(g, i * g.groups + group);
      Product<T> p{filters,
                   channels,
                   pixels,
                   {dy + at.filter, pixels},
                   {x + at.channel, pixels, true},
                   {dweight + at.weight, channels}};
      p.accumulate = true;
      return p;
    });
}

template void conv_pointwise(const ConvGeometry&, Index, const float*, const float*, const float*,
                             float*);
template void conv_pointwise(const ConvGeometry&, Index, const double*, const double*,
                             const double*, double*);
template void conv_pointwise_backward(const ConvGeometry&, Index, const float*, const float*,
                                      const float*, float*, float*);
template void conv_pointwise_backward(const ConvGeometry&, Index, const double*, const double*,
                                      const double*, double*, double*);

}  // namespace piste
