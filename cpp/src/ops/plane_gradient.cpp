#include "ops/plane_gradient.h"

#include <algorithm>

#include "base/aligned.h"
#include "base/parallel.h"
#include "dispatch/dispatch.h"

namespace piste {
namespace {

constexpr Index least_tasks = 16;       // that filters are shared out to reach
constexpr Index parts_bytes = 1 << 20;  // that all parts together may take

template <class T>
PlaneReader<T> reader_for(const PlaneMap& map, Index channels, bool dots) {
  using Reader = PlaneReader<T>;
  const bool whole_vectors = map.axis[2].out % kernel_table<T>().lanes == 0;
  const bool in_place = Reader::fits_in_place(map) && (!dots || whole_vectors);
  return Reader(map, channels, 128 << 10, dots ? 1 << 16 : 256,
                in_place ? Reader::Place::source : Reader::Place::copy);
}

}  // namespace

template <class T>
PlaneGradient<T>::PlaneGradient(const PlaneMap& map, Index groups, Index channels, Index filters,
                                Index samples, Index most_parts)
    : map_(map),
      groups_(groups),
      filters_(filters),
      samples_(samples),
      depth_(channels * map.taps()),
      lanes_(kernel_table<T>().lanes),
      plane_(map.axis[0].out * map.axis[1].out * map.axis[2].out),
      by_dots_(filters <= kernel_table<T>().planes->filters),
      panel_(by_dots_ ? filters : lanes_ * kernel_table<T>().planes->vectors),
      padded_(by_dots_ ? filters : (filters + lanes_ - 1) / lanes_ * lanes_),
      reader_(reader_for<T>(map, channels, by_dots_)) {
  const Index bytes = size() * Index(sizeof(T));
  parts_ =
      std::min({samples_ * reader_.boxes(), most_parts, std::max<Index>(parts_bytes / bytes, 1)});
  const Index panels = groups_ * ((filters_ + panel_ - 1) / panel_);
  ranges_ = std::clamp<Index>(least_tasks / parts_, 1, panels);
}

template <class T>
Index PlaneGradient<T>::dy_copy_size() const {
  const Index* b = reader_.whole_box();
  if (!by_dots_) return b[0] * b[1] * b[2] * panel_;
  return filters_ * b[0] * b[1] * ((b[2] + lanes_ - 1) / lanes_ * lanes_) + 64;
}

template <class T>
Index PlaneGradient<T>::scratch_bytes() const {
  const Index* b = reader_.whole_box();
  return Index(round_up(2 * b[0] * b[1] * sizeof(Index), alignment) +
               round_up(reader_.copy_size() * sizeof(T), alignment) +
               round_up(dy_copy_size() * sizeof(T), 4096));
}

template <class T>
void PlaneGradient<T>::run(Index task, const T* x, const T* dy, T* gradients, std::byte* scratch,
                           bool accumulates, Index behind) const {
  const Index* b = reader_.whole_box();
  Scratch s;
  s.x_at = reinterpret_cast<Index*>(scratch);
  s.dy_at = s.x_at + b[0] * b[1];
  scratch += round_up(2 * b[0] * b[1] * sizeof(Index), alignment);
  s.copy = reinterpret_cast<T*>(scratch);
  s.dy = reinterpret_cast<T*>(scratch + round_up(reader_.copy_size() * sizeof(T), alignment));

  const Index part = task % parts_, range = task / parts_;
  T* sums = gradients + part * size();
  const Index panels = (filters_ + panel_ - 1) / panel_;
  const Index boxes = reader_.boxes();
  const Split all(samples_ * boxes, 1, parts_), shares(groups_ * panels, 1, ranges_);
  const Index begin = shares.begin(range), end = shares.end(range);
  const Index channels = depth_ / map_.taps();
  const T* const dy_end = dy + samples_ * groups_ * filters_ * plane_ + behind;
  for (Index unit = all.begin(part); unit < all.end(part); ++unit) {
    const PlaneBox box = reader_.box(unit % boxes);
    const Index origin =
        (box.first[0] * map_.axis[1].out + box.first[1]) * map_.axis[2].out + box.first[2];
    const bool accumulate = accumulates || unit > all.begin(part);
    for (Index group = begin / panels; group * panels < end; ++group) {
      const Index planes = unit / boxes * groups_ + group;
      const T* from = reader_.read(x + planes * channels * map_.source_pixels(), box, s.copy);
      for (Index p = std::max(begin - group * panels, Index{0});
           p < std::min(end - group * panels, panels); ++p) {
        const Index first = p * panel_, count = std::min(panel_, filters_ - first);
        const T* dy_box = dy + (planes * filters_ + first) * plane_ + origin;
        sum_bias(dy_box, box.pixels(), sums + bias_at() + group * filters_ + first, count,
                 accumulate);
        T* gradient = sums + group * depth_ * padded_ + first;
        if (by_dots_)
          dots(box, from, dy_box, dy_end, gradient, accumulate, s);
        else
          outer(box, from, dy_box, count, gradient, accumulate, s);
      }
    }
  }
}

template <class T>
void PlaneGradient<T>::sum_bias(const T* dy, Index pixels, T* sums, Index count,
                                bool accumulate) const {
  const auto& kernels = *kernel_table<T>().planes;
  for (Index f = 0; f < count; ++f) {
    const T sum = kernels.sum(dy + f * plane_, pixels);
    sums[f] = accumulate ? sums[f] + sum : sum;
  }
}

template <class T>
void PlaneGradient<T>::outer(const PlaneBox& box, const T* x, const T* dy, Index count, T* gradient,
                             bool accumulate, const Scratch& s) const {
  const Index vectors = (count + lanes_ - 1) / lanes_, width = vectors * lanes_;
  kernel_table<T>().layout->transpose(dy, plane_, s.dy, width, count, box.pixels(), width);
  for (Index d = 0; d < box.count[0]; ++d)
    for (Index h = 0; h < box.count[1]; ++h) s.x_at[d * box.count[1] + h] = reader_.row_at(d, h);
  kernels::PlaneOuter<T> a;
  a.x = x;
  a.offsets = reader_.offsets().data();
  a.depth = depth_;
  a.x_at = s.x_at;
  a.rows = box.rows();
  a.columns = box.count[2];
  a.dy = s.dy;
  a.dy_stride = width;
  a.gradient = gradient;
  a.gradient_stride = padded_;
  a.accumulate = accumulate;
  kernel_table<T>().planes->outer(static_cast<int>(vectors), a);
}

template <class T>
void PlaneGradient<T>::dots(const PlaneBox& box, const T* x, const T* dy, const T* dy_end,
                            T* gradient, bool accumulate, const Scratch& s) const {
  const auto& kernels = *kernel_table<T>().planes;
  const Index columns = box.count[2], pitch = (columns + lanes_ - 1) / lanes_ * lanes_;
  // Whole vectors are read: at the end of dy, from a copy.
  const Index read = (filters_ - 1) * plane_ + (box.rows() - 1) * columns + pitch;
  const bool copy = read > dy_end - dy;
  for (Index d = 0; d < box.count[0]; ++d)
    for (Index h = 0; h < box.count[1]; ++h) {
      const Index row = d * box.count[1] + h;
      s.x_at[row] = reader_.row_at(d, h);
      s.dy_at[row] = row * (copy ? pitch : columns);
    }
  kernels::PlaneDots<T> a;
  a.x = x;
  a.offsets = reader_.offsets().data();
  a.depth = depth_;
  a.x_at = s.x_at;
  a.dy_at = s.dy_at;
  a.rows = box.rows();
  a.columns = columns;
  a.dy = dy;
  a.dy_stride = plane_;
  if (copy) {
    a.dy = s.dy;
    a.dy_stride = box.rows() * pitch;
    kernels.copy(
        {dy, plane_, columns, 1, s.dy, a.dy_stride, pitch, filters_, 0, box.rows(), 0, 0, columns});
  }
  a.gradient = gradient;
  a.accumulate = accumulate;
  kernels.dots(static_cast<int>(filters_), a);
}

template <class T>
void PlaneGradient<T>::join(Index task, T* gradients, T* dweight) const {
  const auto& table = kernel_table<T>();
  const T* parts[max_parts];
  for (Index p = 0; p < parts_; ++p) parts[p] = gradients + p * size();
  const Index group = task / depth_blocks(), block = task % depth_blocks();
  const Split depths(depth_, 1, depth_blocks());
  const Index first = depths.begin(block), count = depths.end(block) - first;
  dweight += group * filters_ * depth_;
  const Index at = (group * depth_ + first) * padded_;
  if (by_dots_) return table.gemm->sum(parts, parts_, at, dweight, filters_ * depth_);
  table.gemm->sum(parts, parts_, at, gradients + at, count * padded_);
  table.layout->transpose(gradients + at, padded_, dweight + first, depth_, count, filters_, count);
}

template <class T>
void PlaneGradient<T>::join_bias(const T* gradients, T* dbias) const {
  const T* parts[max_parts];
  for (Index p = 0; p < parts_; ++p) parts[p] = gradients + p * size();
  kernel_table<T>().gemm->sum(parts, parts_, bias_at(), dbias, groups_ * filters_);
}

template class PlaneGradient<float>;
template class PlaneGradient<double>;

}  // namespace piste
