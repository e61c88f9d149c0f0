#include "ops/plane_reader.h"

#include <algorithm>

#include "dispatch/dispatch.h"

namespace piste {

template <class T>
PlaneReader<T>::PlaneReader(const PlaneMap& map, Index channels, Index bytes, Index pixels,
                            Place place)
    : map_(map), channels_(channels), in_place_(place == Place::source) {
  for (int a = 0; a < 3; ++a) {
    for (Index position : map.axis[a].positions)
      phases_[a].push_back(position % map.axis[a].stride);
    std::sort(phases_[a].begin(), phases_[a].end());
    phases_[a].erase(std::unique(phases_[a].begin(), phases_[a].end()), phases_[a].end());
  }
  choose_box(bytes, pixels);
  lay_out();
}

template <class T>
bool PlaneReader<T>::fits_in_place(const PlaneMap& map) {
  bool fits = true;
  for (const PlaneAxis& a : map.axis)
    fits = fits && a.stride == 1 && a.low <= 0 && a.out - 1 - a.low + a.last() < a.in;
  return fits;
}

/// Values from a box's first output to the end of what it reads in one residue's plane.
static Index extent(const PlaneAxis& axis, Index outputs) {
  return outputs + axis.last() / axis.stride;
}

template <class T>
Index PlaneReader<T>::bytes_of(Index d, Index h, Index w) const {
  const Index phases = Index(phases_[0].size() * phases_[1].size() * phases_[2].size());
  return channels_ * phases * extent(map_.axis[0], d) * extent(map_.axis[1], h) *
         extent(map_.axis[2], w) * Index(sizeof(T));
}

// Rows are whole where they can be, then planes: a box's outputs are contiguous.
template <class T>
void PlaneReader<T>::choose_box(Index bytes, Index pixels) {
  const Index lanes = kernel_table<T>().lanes;
  Index* b = box_;
  const Index outputs[3] = {map_.axis[0].out, map_.axis[1].out, map_.axis[2].out};
  const auto grow = [&](int a) {  // to the largest that keeps within both limits
    Index low = 1, high = outputs[a];
    while (low < high) {
      b[a] = (low + high + 1) / 2;
      if (bytes_of(b[0], b[1], b[2]) <= bytes && b[0] * b[1] * b[2] <= pixels)
        low = b[a];
      else
        high = b[a] - 1;
    }
    b[a] = low;
  };
  b[0] = b[1] = 1;
  grow(2);
  if (b[2] < outputs[2]) b[2] = std::min(std::max(b[2] / lanes, Index{2}) * lanes, outputs[2]);
  if (b[2] == outputs[2]) grow(1);
  if (b[2] == outputs[2] && b[1] == outputs[1]) grow(0);
  for (int a = 0; a < 3; ++a) {
    grid_[a] = (outputs[a] + b[a] - 1) / b[a];
    const Index even = (outputs[a] + grid_[a] - 1) / grid_[a];
    b[a] = a == 2 && grid_[a] > 1 ? (even + lanes - 1) / lanes * lanes : even;
    grid_[a] = (outputs[a] + b[a] - 1) / b[a];
  }
  for (; grid_[2] > 1 && outputs[2] - (grid_[2] - 1) * b[2] < lanes;
       grid_[2] = (outputs[2] + b[2] - 1) / b[2])
    b[2] += lanes;  // a last box shorter than a vector would be read past its end
}

template <class T>
void PlaneReader<T>::lay_out() {
  for (int a = 0; a < 3; ++a)
    extent_[a] = in_place_ ? map_.axis[a].in : extent(map_.axis[a], box_[a]);
  const Index plane = extent_[0] * extent_[1] * extent_[2];
  channel_size_ = plane * Index(phases_[0].size() * phases_[1].size() * phases_[2].size());
  const auto phase_index = [&](int a, Index position) {
    const auto& p = phases_[a];
    return std::find(p.begin(), p.end(), position % map_.axis[a].stride) - p.begin();
  };
  for (Index c = 0; c < channels_; ++c)
    for (Index d : map_.axis[0].positions)
      for (Index h : map_.axis[1].positions)
        for (Index w : map_.axis[2].positions) {
          const Index phase = (phase_index(0, d) * Index(phases_[1].size()) + phase_index(1, h)) *
                                  Index(phases_[2].size()) +
                              phase_index(2, w);
          const Index z = d / map_.axis[0].stride, y = h / map_.axis[1].stride;
          offsets_.push_back(c * channel_size_ + phase * plane + (z * extent_[1] + y) * extent_[2] +
                             w / map_.axis[2].stride);
        }
}

template <class T>
PlaneBox PlaneReader<T>::box(Index index) const {
  PlaneBox result;
  for (int a = 2; a >= 0; --a) {
    result.first[a] = index % grid_[a] * box_[a];
    result.count[a] = std::min(box_[a], map_.axis[a].out - result.first[a]);
    index /= grid_[a];
  }
  return result;
}

template <class T>
Index PlaneReader<T>::copy_size() const {
  return in_place_ ? 0 : channels_ * channel_size_ + 64;
}

template <class T>
void PlaneReader<T>::copy_phase(const T* planes, const Index* phase, const PlaneBox& box,
                                T* to) const {
  Index begin[3], filled[3];  // positions in `to`: zeros, then source values, then zeros
  Index source[3];            // where the first of these stands
  for (int a = 0; a < 3; ++a) {
    const PlaneAxis& axis = map_.axis[a];
    const Index at = box.first[a] * axis.stride + phase[a] - axis.low;
    begin[a] = at < 0 ? std::min((-at + axis.stride - 1) / axis.stride, extent_[a]) : 0;
    source[a] = at + begin[a] * axis.stride;
    const Index room = (axis.in - source[a] + axis.stride - 1) / axis.stride;
    filled[a] = std::clamp<Index>(room, 0, extent(axis, box.count[a]) - begin[a]);
  }
  const Index plane = extent_[1] * extent_[2];
  kernels::PlaneCopy<T> copy;
  copy.from_plane = map_.source_pixels();
  copy.from_row = map_.axis[1].stride * map_.axis[2].in;
  copy.step = map_.axis[2].stride;
  copy.to_plane = channel_size_;
  copy.to_row = extent_[2];
  copy.planes = channels_;
  for (Index d = 0; d < extent_[0]; ++d, to += plane) {
    const bool inside = d >= begin[0] && d < begin[0] + filled[0] && filled[1] > 0 && filled[2] > 0;
    const Index z = source[0] + (d - begin[0]) * map_.axis[0].stride;
    copy.from = planes;
    if (inside) copy.from += (z * map_.axis[1].in + source[1]) * map_.axis[2].in + source[2];
    copy.to = to;
    copy.above = inside ? begin[1] : extent_[1];
    copy.rows = inside ? filled[1] : 0;
    copy.below = extent_[1] - copy.above - copy.rows;
    copy.left = inside ? begin[2] : 0;
    copy.columns = inside ? filled[2] : 0;
    kernel_table<T>().planes->copy(copy);
  }
}

template <class T>
const T* PlaneReader<T>::read(const T* planes, const PlaneBox& box, T* copy) const {
  if (in_place_) {
    const Index* at = box.first;
    return planes +
           ((at[0] - map_.axis[0].low) * extent_[1] + at[1] - map_.axis[1].low) * extent_[2] +
           at[2] - map_.axis[2].low;
  }
  T* to = copy;
  for (Index d : phases_[0])
    for (Index h : phases_[1])
      for (Index w : phases_[2]) {
        const Index phase[3] = {d, h, w};
        copy_phase(planes, phase, box, to);
        to += extent_[0] * extent_[1] * extent_[2];
      }
  return copy;
}

template class PlaneReader<float>;
template class PlaneReader<double>;

}  // namespace piste
