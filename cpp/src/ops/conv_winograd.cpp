#include "ops/conv_winograd.h"

#include <atomic>

#include "base/parallel.h"
#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/winograd_memory.h"

namespace piste {
namespace {

// Transformed weights up to this size are made first and read by all strips; larger ones are made
// panel by panel, each of which then meets all transformed tiles.
constexpr Index packed_bytes_limit = 5 << 20;
constexpr Index map_channels = 64;  // whose products are finished together

template <class T>
void rows_to_planes(const Winograd<T>& w, const typename Winograd<T>::Strip& strip, const T* rows,
                    Index stride, Index channels, Index pixels, Index plane_channels, T* planes) {
  const auto& layout = *kernel_table<T>().layout;
  const Index count = w.strip_pixels(strip) / strip.samples;
  T* to = planes + strip.sample * plane_channels * pixels + w.first_pixel(strip) % pixels;
  for (Index i = 0; i < strip.samples; ++i)
    layout.transpose(rows + i * count * stride, stride, to + i * plane_channels * pixels, pixels,
                     count, channels, count);
}

template <class T>
Index panels_together(const Winograd<T>& w) {
  return std::clamp<Index>(map_channels / w.panel_width(0), 1, w.panels());
}

/// All tiles of a strip times panels [first, last), to the user's planes.
template <class T>
struct MapStage {
  const Winograd<T>& w;
  const typename Winograd<T>::Pass& pass;
  const T* bias;
  T* to;
  Index s_frequency, s_stride;

  MapStage(const Winograd<T>& winograd, const typename Winograd<T>::Pass& p, const T* b, T* out)
      : w(winograd), pass(p), bias(b), to(out) {
    Index width = 0;
    for (Index i = 0; i < panels_together(w); ++i) width += w.panel_width(i);
    s_stride = width;
    s_frequency = Winograd<T>::frequency_stride(w.strip_tiles(), width);
  }
  Index s_values() const { return w.frequencies() * s_frequency; }

  bool run(const typename Winograd<T>::Strip& strip, const T* v, Index v_frequency, const T* packed,
           Index first, Index last, T* s, T* rows) const {
    const Index from = first * w.panel_width(0);
    const Index channels = std::min(pass.out_channels - from, s_stride);
    Index padded = 0;
    for (Index i = first; i < last; ++i) padded += w.panel_width(i);
    w.multiply(v, v_frequency, packed, first, last, s, s_frequency, s_stride, strip.tiles);
    const bool sound = w.finish(s, s_frequency, s_stride, strip, padded,
                                bias ? bias + from : nullptr, false, rows, padded);
    const Index pixels = pass.out[0] * pass.out[1];
    rows_to_planes(w, strip, rows, padded, channels, pixels, pass.out_channels, to + from * pixels);
    return sound;
  }
};

}  // namespace

template <class T>
bool winograd_map(const typename Winograd<T>::Pass& pass, int m, Index n, const T* from,
                  const T* weight, const T* bias, T* to) {
  const Winograd<T> w(pass, m);
  const Index strips = w.strips(n), panels = w.panels();
  const bool whole = w.packed_size() * Index(sizeof(T)) <= packed_bytes_limit;
  const Index tiles = whole ? w.strip_tiles() : n * w.sample_tiles();
  const Index v_frequency = Winograd<T>::frequency_stride(tiles, w.v_stride());
  const Index group = panels_together(w), groups = (panels + group - 1) / group;

  WinogradLayout<T> shared, worker;
  const Index bias_at = shared.add(w.out_stride());
  const Index packed_at = shared.add(whole ? w.packed_size() : 0);
  const Index all_v_at = shared.add(whole ? 0 : w.frequencies() * v_frequency);
  Index pixels = 0;
  for (Index i = 0; i < std::min<Index>(strips, 2); ++i)
    pixels = std::max(pixels, w.strip_pixels(w.strip(i, n)));
  MapStage<T> stage(w, pass, nullptr, to);
  const Index border_at = worker.add(w.border_values());
  const Index scratch_at = worker.add(w.border_scratch_values());
  const Index v_at = worker.add(whole ? w.frequencies() * v_frequency : 0);
  const Index u_at = worker.add(whole ? 0 : w.panel_offset(1) * group);
  const Index s_at = worker.add(stage.s_values());
  const Index rows_at = worker.add(pixels * stage.s_stride);
  Workspace workspace(shared.bytes() + parallel_workers(strips * groups) * worker.bytes());
  const auto own = [&](int worker_id, Index at) {
    return workspace.as<T>(shared.bytes() + worker_id * worker.bytes() + at);
  };
  if (bias) {
    T* padded = workspace.as<T>(bias_at);
    std::fill_n(std::copy_n(bias, pass.out_channels, padded), w.out_stride() - pass.out_channels,
                T(0));
    stage.bias = padded;
  }

  std::atomic<bool> sound{true};
  if (whole) {
    T* packed = workspace.as<T>(packed_at);
    parallel_for(panels,
                 [&](Index panel, int) { w.pack(weight, panel, packed + w.panel_offset(panel)); });
    parallel_for(strips, [&](Index i, int id) {
      const auto strip = w.strip(i, n);
      T *border = own(id, border_at), *v = own(id, v_at);
      w.border_from_planes(from, strip, border, own(id, scratch_at));
      w.transform(border, strip, v, v_frequency);
      for (Index first = 0; first < panels; first += group)
        if (!stage.run(strip, v, v_frequency, packed + w.panel_offset(first), first,
                       std::min(first + group, panels), own(id, s_at), own(id, rows_at)))
          sound.store(false, std::memory_order_relaxed);
    });
    return sound;
  }
  T* v = workspace.as<T>(all_v_at);
  parallel_for(strips, [&](Index i, int id) {
    const auto strip = w.strip(i, n);
    w.border_from_planes(from, strip, own(id, border_at), own(id, scratch_at));
    w.transform(own(id, border_at), strip, v + strip.tile * w.v_stride(), v_frequency);
  });
  parallel_for(groups, [&](Index g, int id) {
    const Index first = g * group, last = std::min(first + group, panels);
    T* u = own(id, u_at);
    for (Index panel = first; panel < last; ++panel)
      w.pack(weight, panel, u + w.panel_offset(panel) - w.panel_offset(first));
    for (Index i = 0; i < strips; ++i) {
      const auto strip = w.strip(i, n);
      if (!stage.run(strip, v + strip.tile * w.v_stride(), v_frequency, u, first, last,
                     own(id, s_at), own(id, rows_at)))
        sound.store(false, std::memory_order_relaxed);
    }
  });
  return sound;
}

template bool winograd_map<float>(const Winograd<float>::Pass&, int, Index, const float*,
                                  const float*, const float*, float*);
template bool winograd_map<double>(const Winograd<double>::Pass&, int, Index, const double*,
                                   const double*, const double*, double*);

}  // namespace piste
