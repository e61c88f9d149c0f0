// Where the products of a convolution over NHWC rows read: the zero border around a sample, and
// which taps of a pixel reach beyond it.

#include <cstring>

#include "ops/conv_nhwc.h"
#include "piste/errors.h"

namespace piste {
namespace {

constexpr Index border_bytes = 256 << 10;  // of samples copied at once to get a zero border

}  // namespace

template <class T>
Index Conv<T>::Border::samples(Index n) const {
  const Index bytes = std::max<Index>(pixels() * stride * Index(sizeof(T)), 1);
  return std::clamp<Index>(border_bytes / bytes, 1, std::max<Index>(n, 1));
}

template <class T>
void Conv<T>::copy_bordered(const Border& b, const T* from, Index samples, T* to, Index first,
                            Index end) const {
  const Index line = b.in[2] * b.stride, wide = b.extent[2] * b.stride;
  const Index left = b.low[2] * b.stride, right = wide - left - line;
  for (Index i = 0; i < samples; ++i)
    for (Index d = 0; d < b.extent[0]; ++d)
      for (Index h = 0; h < b.extent[1]; ++h, to += wide) {
        const Index z = d - b.low[0], y = h - b.low[1];
        if (h < first || h >= end) continue;
        if (z < 0 || z >= b.in[0] || y < 0 || y >= b.in[1]) {
          std::memset(to, 0, wide * sizeof(T));
          continue;
        }
        std::memset(to, 0, left * sizeof(T));
        std::memcpy(to + left, from + ((i * b.in[0] + z) * b.in[1] + y) * line, line * sizeof(T));
        std::memset(to + left + line, 0, right * sizeof(T));
      }
}

template <class T>
void Conv<T>::Reach::join(const Reach& other) {
  for (int axis = 0; axis < 3; ++axis) {
    first[axis] = std::min(first[axis], other.first[axis]);
    end[axis] = std::max(end[axis], other.end[axis]);
  }
}

template <class T>
Index Conv<T>::Reach::taps() const {
  return Index(end[0] - first[0]) * (end[1] - first[1]) * (end[2] - first[2]);
}

/// How many of the next rows make the best tile: it may end where other taps begin.
template <class T>
Index Conv<T>::rows_together(const Reach* const* reach, Index most) {
  constexpr Index least = 3;  // fewer take as long
  Index best = most, saved = 0;
  Reach before = *reach[0], all = *reach[0];
  for (Index i = 1; i < most; ++i)
    if (reach[i] != reach[i - 1]) all.join(*reach[i]);
  for (Index i = 1; i < most; ++i) {
    if (reach[i] != reach[i - 1]) {
      Reach after = *reach[i];
      for (Index k = i + 1; k < most; ++k)
        if (reach[k] != reach[k - 1]) after.join(*reach[k]);
      const Index less =
          most * all.taps() - std::max(i, least) * before.taps() - (most - i) * after.taps();
      if (less > saved) best = i, saved = less;
      before.join(*reach[i]);
    }
  }
  return best;
}

template <class T>
bool Conv<T>::Reach::has(const int* tap) const {
  for (int axis = 0; axis < 3; ++axis)
    if (tap[axis] < first[axis] || tap[axis] >= end[axis]) return false;
  return true;
}

/// Of each position on an axis, the taps that read a value there.
template <class T>
std::vector<typename Conv<T>::Reach> Conv<T>::axis_reach(const Phase& phase, const Border& b,
                                                         int axis) const {
  const auto& starts = phase.starts[axis];
  std::vector<Reach> all(phase.count[axis]);
  for (Index i = 0; i < phase.count[axis]; ++i) {
    int& first = all[i].first[axis] = static_cast<int>(starts.size());
    int& end = all[i].end[axis] = 0;
    for (int tap = 0; tap < static_cast<int>(starts.size()); ++tap) {
      const Index at = i * phase.move[axis] + starts[tap] - b.low[axis];
      if (at < 0 || at >= b.in[axis]) continue;
      first = std::min(first, tap);
      end = tap + 1;
    }
    if (end == 0) first = 0;
  }
  return all;
}

template <class T>
void Conv<T>::lay_out(bool data) {
  place(all_, x_border_, g_.out, g_.y_stride);
  if (!data) return;
  for (Phase& phase : phases_) place(phase, dy_border_, g_.in, g_.x_stride);
}

template <class T>
Index Conv<T>::layout_bytes(bool data) const {
  Index pixels = all_.pixels();
  if (data)
    for (const Phase& phase : phases_) pixels += phase.pixels();
  return pixels * Phase::pixel_bytes;
}

/// Where the pixels of a sample lie from its first: sources in the bordered array, and outputs.
/// Where zeros are to be left out, pixels with the same taps stand together.
template <class T>
void Conv<T>::place(Phase& phase, const Border& b, const Index* out, Index out_stride) const {
  if (!phase.sources.empty()) return;
  const Index *move = phase.move, *first = phase.first, *step = phase.step, *count = phase.count;
  const auto pixels = static_cast<std::size_t>(phase.pixels());
  try {
    phase.sources.reserve(pixels), phase.targets.reserve(pixels), phase.lines.reserve(pixels);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(double(pixels) * Phase::pixel_bytes, "the places of a convolution's pixels");
  }
  // The pixels [left, right) of a line.
  const auto add = [&](Index z, Index y, Index left, Index right) {
    const Index line = (first[0] + z * step[0]) * out[1] + first[1] + y * step[1];
    const Index from = (z * move[0] * b.extent[1] + y * move[1]) * b.extent[2];
    for (Index x = left; x < right; ++x) {
      phase.sources.push_back((from + x * move[2]) * b.stride);
      phase.targets.push_back((line * out[2] + first[2] + x * step[2]) * out_stride);
      phase.lines.push_back(line);
    }
  };
  if (!leaves_out(b)) {
    for (Index z = 0; z < count[0]; ++z)
      for (Index y = 0; y < count[1]; ++y) add(z, y, 0, count[2]);
    return;
  }
  phase.reach_of.reserve(pixels);
  std::vector<Reach> each[3];
  for (int axis = 0; axis < 3; ++axis) each[axis] = axis_reach(phase, b, axis);
  const auto same_until = [&](int axis, Index i) {
    const Reach& reach = each[axis][i];
    for (++i; i < count[axis]; ++i)
      if (each[axis][i].first[axis] != reach.first[axis] ||
          each[axis][i].end[axis] != reach.end[axis])
        break;
    return i;
  };
  for (Index z = 0; z < count[0]; ++z)
    for (Index left = 0, right; left < count[2]; left = right) {
      right = same_until(2, left);
      for (Index y = 0; y < count[1]; ++y) {
        add(z, y, left, right);
        Reach reach;
        const Index at[3] = {z, y, left};
        for (int axis = 0; axis < 3; ++axis) {
          reach.first[axis] = each[axis][at[axis]].first[axis];
          reach.end[axis] = each[axis][at[axis]].end[axis];
        }
        if (phase.reach.empty() || !(phase.reach.back() == reach)) phase.reach.push_back(reach);
        phase.reach_of.resize(phase.sources.size(), Index(phase.reach.size()) - 1);
      }
    }
  for (int z = 0; z < static_cast<int>(phase.starts[0].size()); ++z)
    for (int y = 0; y < static_cast<int>(phase.starts[1].size()); ++y)
      for (int x = 0; x < static_cast<int>(phase.starts[2].size()); ++x)
        phase.places.push_back({z, y, x});
}

/// For pixel first + i of the phase: rows[i], what the first tap reads, out[i], where its result
/// goes, and reach[i].
template <class T>
void Conv<T>::point(const Phase& phase, Index from_sample, const T* from, Index to_sample, T* to,
                    Index first, Index pixels, const Scratch& s) const {
  const Index per_sample = phase.pixels();
  for (Index i = 0; i < pixels;) {
    const Index sample = (first + i) / per_sample, p = (first + i) % per_sample;
    const Index count = std::min(per_sample - p, pixels - i);
    const T** rows = s.rows + i;
    T** out = s.out + i;
    const T* const first_row = from + sample * from_sample;
    T* const first_out = to + sample * to_sample;
    const Index *sources = phase.sources.data() + p, *targets = phase.targets.data() + p;
#pragma GCC unroll 4
    for (Index k = 0; k < count; ++k) rows[k] = first_row + sources[k];
#pragma GCC unroll 4
    for (Index k = 0; k < count; ++k) out[k] = first_out + targets[k];
    if (!phase.reach.empty())
      for (Index k = 0; k < count; ++k) s.reach[i + k] = &phase.reach[phase.reach_of[p + k]];
    i += count;
  }
}

/// The same with a pixel of all `samples` before the next pixel: more stand together that have the
/// same taps.
template <class T>
void Conv<T>::point_across(const Phase& phase, Index from_sample, const T* from, Index to_sample,
                           T* to, Index first, Index pixels, Index samples,
                           const Scratch& s) const {
  if (phase.reach.empty() || samples == 1)
    return point(phase, from_sample, from, to_sample, to, first, pixels, s);
  Index p = first / samples, sample = first % samples;
  for (Index i = 0; i < pixels; ++i) {
    s.rows[i] = from + sample * from_sample + phase.sources[p];
    s.out[i] = to + sample * to_sample + phase.targets[p];
    s.reach[i] = &phase.reach[phase.reach_of[p]];
    if (++sample == samples) sample = 0, ++p;
  }
}

/// The tile without the taps, from `first_tap` of the phase on, that read zeros for all its rows.
template <class T>
kernels::GemmTile<T> Conv<T>::without_zeros(const Phase& phase, const kernels::GemmTile<T>& all,
                                            Index first_tap, Index rows, const Reach* const* reach,
                                            const Scratch& s) {
  Reach any = *reach[0];
  for (Index i = 1; i < rows; ++i)
    if (reach[i] != reach[i - 1]) any.join(*reach[i]);
  if (any.taps() == Index(phase.places.size())) return all;
  kernels::GemmTile<T> tile = all;
  tile.taps = 0;
  for (Index t = 0; t < all.taps; ++t) {
    if (!any.has(phase.places[first_tap + t].data())) continue;
    s.few_offsets[tile.taps] = all.offsets[t];
    s.few_panels[tile.taps++] = all.panels[t];
  }
  tile.offsets = s.few_offsets;
  tile.panels = s.few_panels;
  return tile;
}

template <class T>
Index Conv<T>::bordered_values() const {
  return x_border_.pixels() * g_.x_stride;
}

template <class T>
void Conv<T>::add_border(const T* x, T* bordered) const {
  copy_bordered(x_border_, x, 1, bordered, 0, x_border_.extent[1]);
}

template class Conv<float>;
template class Conv<double>;

}  // namespace piste
