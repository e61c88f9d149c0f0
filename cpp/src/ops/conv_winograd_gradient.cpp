#include <algorithm>
#include <atomic>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/conv_winograd.h"
#include "ops/winograd_memory.h"

namespace piste {
namespace {

// Transformed gradients up to this size are summed by groups of strips, if there is a strip for
// each: its tiles go from the transforms to the sums within the cache. Larger sums would themselves
// be read too often.
constexpr Index sum_bytes = 1536 << 10;
constexpr Index gradient_groups = 8;
// Tiles of x and dy that are otherwise transformed before their products are added to the gradient.
constexpr Index gradient_bytes = 12 << 20;
constexpr Index block_filters = 64;  // of a task of the weight gradient
constexpr Index sum_channels = 16;   // whose sums a task adds up

/// Strips of x and dy to their transforms.
template <class T>
struct GradientStage {
  const Winograd<T>& w;
  const T *x, *dy;
  Index filters, pixels;  // of dy's samples
  int m;

  Index scratch_values() const {
    return std::max(w.border_scratch_values(), w.strip_tiles() * m * m * w.out_stride());
  }

  void run(const typename Winograd<T>::Strip& strip, T* border, T* scratch, T* v, Index v_frequency,
           T* z, Index z_frequency) const {
    const auto& layout = *kernel_table<T>().layout;
    w.border_from_planes(x, strip, border, scratch);
    w.transform(border, strip, v, v_frequency);
    const Index each = w.strip_pixels(strip) / strip.samples;
    for (Index s = 0; s < strip.samples; ++s)
      layout.transpose(dy + (strip.sample + s) * filters * pixels + w.first_pixel(strip) % pixels,
                       pixels, scratch + s * each * w.out_stride(), w.out_stride(), filters, each,
                       w.out_stride());
    w.transform_gradient(scratch, w.out_stride(), strip, z, z_frequency);
  }
};

/// Each group of strips has a sum of its own, which stays in its core's cache with what is added
/// to it.
template <class T>
bool gradient_by_groups(const GradientStage<T>& stage, const ConvGeometry& g, Index n, T* dweight) {
  const auto& table = kernel_table<T>();
  const Winograd<T>& w = stage.w;
  const Index strips = w.strips(n), width = w.out_stride();
  const Split groups(strips, 1, gradient_groups);
  const Index v_frequency = Winograd<T>::frequency_stride(w.strip_tiles(), w.v_stride());
  const Index z_frequency = Winograd<T>::frequency_stride(w.strip_tiles(), w.z_stride());
  const Index u_values = w.u_values();

  WinogradLayout<T> shared, worker;
  const Index u_at = shared.add(u_values * groups.count);
  const Index border_at = worker.add(w.border_values());
  const Index scratch_at = worker.add(stage.scratch_values());
  const Index v_at = worker.add(w.frequencies() * v_frequency);
  const Index z_at = worker.add(w.frequencies() * z_frequency);
  Workspace workspace(shared.bytes() + parallel_workers(groups.count) * worker.bytes());
  const auto own = [&](int id, Index at) {
    return workspace.as<T>(shared.bytes() + id * worker.bytes() + at);
  };
  T* const sums = workspace.as<T>(u_at);
  parallel_for(groups.count, [&](Index group, int id) {
    T *v = own(id, v_at), *z = own(id, z_at), *u = sums + group * u_values;
    for (Index i = groups.begin(group); i < groups.end(group); ++i) {
      const auto strip = w.strip(i, n);
      stage.run(strip, own(id, border_at), own(id, scratch_at), v, v_frequency, z, z_frequency);
      w.multiply_gradient(v, v_frequency, z, z_frequency, strip.tiles, u, i > groups.begin(group));
    }
  });
  const T* parts[gradient_groups];
  for (Index group = 0; group < groups.count; ++group) parts[group] = sums + group * u_values;
  const Index channel_blocks = (g.channels + sum_channels - 1) / sum_channels;
  const Index filter_blocks = (g.filters + block_filters - 1) / block_filters;
  std::atomic<bool> sound{true};
  parallel_for(channel_blocks * filter_blocks, [&](Index block, int) {
    const Index channel = block % channel_blocks * sum_channels;
    const Index filter = block / channel_blocks * block_filters;
    const Index channels = std::min(sum_channels, g.channels - channel);
    const Index filters = std::min(block_filters, width - filter);
    // The first group's memory takes the sum: nothing else reads this block of it.
    for (Index f = 0; f < w.frequencies(); ++f)
      for (Index c = channel; c < channel + channels; ++c) {
        const Index at = f * w.u_frequency() + c * width + filter;
        table.gemm->sum(parts, groups.count, at, sums + at, filters);
        if (!table.update->all_finite(sums + at, filters))
          sound.store(false, std::memory_order_relaxed);
      }
    w.unpack_gradient(sums + channel * width + filter, channel, channels, filter,
                      std::min(filters, g.filters - filter), width, w.u_frequency(), dweight);
  });
  return sound;
}

/// All strips of a chunk are transformed, then each block of the weight meets all of them.
template <class T>
bool gradient_by_blocks(const GradientStage<T>& stage, const ConvGeometry& g, Index n, T* dweight) {
  const auto& table = kernel_table<T>();
  const Winograd<T>& w = stage.w;
  const Index strips = w.strips(n), strip_tiles = w.strip_tiles();
  const Index tile_bytes = w.frequencies() * (w.v_stride() + w.z_stride()) * Index(sizeof(T));
  const Index chunk = std::clamp<Index>(gradient_bytes / (tile_bytes * strip_tiles), 1, strips);
  const Index chunks = (strips + chunk - 1) / chunk;
  const Index v_frequency = Winograd<T>::frequency_stride(chunk * strip_tiles, w.v_stride());
  const Index z_frequency = Winograd<T>::frequency_stride(chunk * strip_tiles, w.z_stride());
  // Blocks of the weight, each of which one task sums over all tiles.
  const Index block_channels = g.channels * g.filters > 128 * 128 ? 32 : 16;
  const Index channel_blocks = (g.channels + block_channels - 1) / block_channels;
  const Index filter_blocks = (g.filters + block_filters - 1) / block_filters;
  const Index blocks = channel_blocks * filter_blocks;
  const Index u_frequency = Winograd<T>::frequency_stride(block_channels, block_filters);
  const Index u_values = w.frequencies() * u_frequency;

  WinogradLayout<T> shared, worker;
  const Index v_at = shared.add(w.frequencies() * v_frequency);
  const Index z_at = shared.add(w.frequencies() * z_frequency);
  const Index sums_at = shared.add(chunks > 1 ? blocks * u_values : 0);
  const Index border_at = worker.add(w.border_values());
  const Index scratch_at = worker.add(stage.scratch_values());
  const Index u_at = worker.add(u_values);
  Workspace workspace(shared.bytes() + parallel_workers(std::max(chunk, blocks)) * worker.bytes());
  const auto own = [&](int id, Index at) {
    return workspace.as<T>(shared.bytes() + id * worker.bytes() + at);
  };
  T *v = workspace.as<T>(v_at), *z = workspace.as<T>(z_at);
  std::atomic<bool> sound{true};
  for (Index c = 0; c < chunks; ++c) {
    const Index first = c * chunk, count = std::min(chunk, strips - first);
    const Index first_tile = w.strip(first, n).tile;
    const auto end = w.strip(first + count - 1, n);
    const Index tiles = end.tile + end.tiles - first_tile;
    parallel_for(count, [&](Index i, int id) {
      const auto strip = w.strip(first + i, n);
      const Index at = strip.tile - first_tile;
      stage.run(strip, own(id, border_at), own(id, scratch_at), v + at * w.v_stride(), v_frequency,
                z + at * w.z_stride(), z_frequency);
    });
    parallel_for(blocks, [&](Index block, int id) {
      const Index channel = block % channel_blocks * block_channels;
      const Index filter = block / channel_blocks * block_filters;
      const Index channels = std::min(block_channels, g.channels - channel);
      const Index filters = std::min(block_filters, w.out_stride() - filter);
      T* u = chunks > 1 ? workspace.as<T>(sums_at) + block * u_values : own(id, u_at);
      for (Index f = 0; f < w.frequencies(); ++f) {
        T* const sum = u + f * u_frequency;
        table.winograd->multiply_gradient(v + f * v_frequency + channel, w.v_stride(), channels,
                                          z + f * z_frequency + filter, w.z_stride(), filters, sum,
                                          filters, tiles, c > 0);
        if (c + 1 == chunks && !table.update->all_finite(sum, channels * filters))
          sound.store(false, std::memory_order_relaxed);
      }
      if (c + 1 < chunks) return;
      w.unpack_gradient(u, channel, channels, filter, std::min(filters, g.filters - filter),
                        filters, u_frequency, dweight);
    });
  }
  return sound;
}

}  // namespace

template <class T>
bool winograd_weight_gradient(const ConvGeometry& g, int m, Index n, const T* x, const T* dy,
                              T* dweight) {
  const Winograd<T> w(Winograd<T>::forward_pass(g), m);
  const GradientStage<T> stage{w, x, dy, g.filters, g.out_pixels(), m};
  return w.u_values() * Index(sizeof(T)) <= sum_bytes && w.strips(n) >= gradient_groups
             ? gradient_by_groups(stage, g, n, dweight)
             : gradient_by_blocks(stage, g, n, dweight);
}

template bool winograd_weight_gradient(const ConvGeometry&, int, Index, const float*, const float*,
                                       float*);
template bool winograd_weight_gradient(const ConvGeometry&, int, Index, const double*,
                                       const double*, double*);

}  // namespace piste
