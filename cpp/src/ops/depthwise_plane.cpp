#include "ops/depthwise_plane.h"

#include <algorithm>
#include <utility>

#include "base/aligned.h"
#include "dispatch/dispatch.h"

namespace piste {
namespace {

Index whole_vectors(Index values, Index lanes) { return (values + lanes - 1) / lanes * lanes; }

/// Whether the taps of an axis that ends at no border read where planes stand.
bool stays_inside(const PlaneAxis& a) {
  return a.low == 0 && (a.out - 1) * a.stride + a.last() < a.in;
}

}  // namespace

template <class T>
BorderedPlane<T>::BorderedPlane(const PlaneMap& map, bool in_place, bool whole)
    : kernels_(*kernel_table<T>().depthwise_planes) {
  const PlaneAxis &h = map.axis[1], &w = map.axis[2];
  const Index lanes = kernel_table<T>().lanes;
  stride_ = h.stride;
  column_stride_ = w.stride;
  columns_ = w.in;
  above_ = h.low;
  left_ = w.low;
  // Rows of outputs shorter than a vector read beyond the end of a plane.
  in_place_ = in_place && w.stride == 1 && w.out >= lanes && stays_inside(h) && stays_inside(w);
  used_.assign(h.stride, whole);
  for (Index position : h.positions) used_[position % h.stride] = 1;
  const auto taken = [&](const PlaneAxis& a, Index needed) {
    return whole ? a.in : std::clamp<Index>(needed - a.low, 0, a.in);
  };
  const Index rows = (h.out - 1) * h.stride + h.last() + 1;
  taken_rows_ = taken(h, rows);
  taken_columns_ = taken(w, (w.out - 1) * w.stride + w.last() + 1);
  rows_ = std::max(rows, above_ + taken_rows_);
  if (in_place_) {
    row_ = w.in;
    parts_ = {0};
    return;
  }
  Index parts = 0;
  part_ = whole_vectors(
      std::max(w.last() / w.stride + whole_vectors(w.out, lanes),
               left_ / w.stride + 1 + whole_vectors(taken_columns_ / w.stride + 1, lanes)),
      lanes);
  for (Index r = 0; r < w.stride; ++r) {
    const auto reads = [&](Index position) { return position % w.stride == r; };
    const bool used = std::any_of(w.positions.begin(), w.positions.end(), reads);
    parts_.push_back(used ? parts++ * part_ : -1);
  }
  row_ = parts * part_;
  for (Index x = 0; x < w.stride; ++x) {
    const Index place = x + left_, part = parts_[place % w.stride];
    at_.push_back(part < 0 ? -1 : part + place / w.stride);
  }
}

template <class T>
Index BorderedPlane<T>::offset(Index row, Index column) const {
  return row * row_ + parts_[column % column_stride_] + column / column_stride_;
}

template <class T>
const T* BorderedPlane<T>::read(const T* from, const T* end, T* copy) const {
  if (in_place_) return from;
  kernels::DepthwiseCopy<T> a;
  a.from = from;
  a.from_end = end;
  a.from_row = columns_;
  a.rows = taken_rows_;
  a.columns = taken_columns_;
  a.stride = column_stride_;
  a.at = at_.data();
  a.used = used_.data();
  a.first_use = above_ % stride_;
  a.uses = stride_;
  a.to = copy + above_ * row_;
  a.to_row = row_;
  kernels_.copy(a);
  return copy;
}

template <class T>
DepthwiseProduct<T>::DepthwiseProduct(const PlaneMap& map, const PlaneTarget& target, bool in_place)
    : kernels_(*kernel_table<T>().depthwise_planes),
      target_(target),
      source_(map, in_place, !target.dense() || !in_place),
      taps_(map.taps()) {
  const Index lanes = kernel_table<T>().lanes;
  direct_ = target.step[2] == 1 && (target.step[1] == 1 || target.extent[2] >= lanes);
  part_ = whole_vectors(map.axis[2].out, lanes);
  line_ = target.step[2] * part_;
  for (Index h = 0; h < std::min(target.step[1], target.extent[1]); ++h)
    for (Index w = 0; w < std::min(target.step[2], target.extent[2]); ++w)
      phases_.push_back(phase(map, h, w));
}

template <class T>
typename DepthwiseProduct<T>::Phase DepthwiseProduct<T>::phase(const PlaneMap& map,
                                                               Index row_residue,
                                                               Index column_residue) const {
  const auto count = [&](int a, Index residue) {
    return (target_.extent[a] - residue + target_.step[a] - 1) / target_.step[a];
  };
  Phase phase;
  phase.rows = count(1, row_residue);
  phase.columns = direct_ ? count(2, column_residue) : part_;
  phase.at =
      direct_ ? row_residue * target_.extent[2] : row_residue * line_ + column_residue * part_;
  const PlaneAxis &h = map.axis[1], &w = map.axis[2];
  std::vector<std::pair<Index, Index>> taps;  // offset, place in the kernel
  for (std::size_t i = 0; i < h.ids.size(); ++i)
    for (std::size_t j = 0; j < w.ids.size(); ++j)
      if (target_.residues[1][i] == row_residue && target_.residues[2][j] == column_residue)
        taps.emplace_back(source_.offset(h.positions[i], w.positions[j]),
                          h.ids[i] * Index(w.ids.size()) + w.ids[j]);
  std::sort(taps.begin(), taps.end());
  for (const auto& [offset, id] : taps) {
    phase.offsets.push_back(offset);
    phase.ids.push_back(id);
  }
  const Index all = Index(taps.size());
  phase.in_order = all == map.taps() && std::is_sorted(phase.ids.begin(), phase.ids.end());
  const auto shares = [&](Index distance) {
    for (Index t = 0; t + distance < all; ++t)
      if (taps[t + distance].first != taps[t].first + source_.step()) return false;
    return true;
  };
  phase.shared = 1;
  while (phase.shared < all && !shares(phase.shared)) ++phase.shared;
  return phase;
}

template <class T>
Index DepthwiseProduct<T>::scratch_size() const {
  const Index lines = (target_.extent[1] + target_.step[1] - 1) / target_.step[1] * target_.step[1];
  return taps_ + (direct_ ? 0 : lines * line_);
}

template <class T>
void DepthwiseProduct<T>::run(const T* from, const T* weights, T bias, T* to, T* scratch) const {
  T *packed = scratch, *lines = scratch + taps_;
  kernels::DepthwiseSums<T> a;
  a.x = from;
  a.x_row = source_.step();
  a.bias = bias;
  a.y_row = target_.step[1] * (direct_ ? target_.extent[2] : line_);
  for (const Phase& phase : phases_) {
    a.rows = phase.rows;
    a.columns = phase.columns;
    a.y = (direct_ ? to : lines) + phase.at;
    a.y_size = (direct_ ? target_.pixels() : scratch_size() - taps_) - phase.at;
    a.taps = Index(phase.offsets.size());
    if (a.taps == 0) {  // a stride beyond the kernel: nothing has read these; lines stay zeros
      if (direct_)
        for (Index h = 0; h < a.rows; ++h) std::fill_n(a.y + h * a.y_row, a.columns, T(0));
      continue;
    }
    a.weights = weights;
    if (!phase.in_order) {
      for (Index t = 0; t < a.taps; ++t) packed[t] = weights[phase.ids[t]];
      a.weights = packed;
    }
    a.offsets = phase.offsets.data();
    a.shared = phase.shared;
    kernels_.sums(a);
  }
  if (direct_) return;
  kernels_.merge({lines, line_, part_, target_.step[2], to, target_.extent[1], target_.extent[2]});
}

template class BorderedPlane<float>;
template class BorderedPlane<double>;
template class DepthwiseProduct<float>;
template class DepthwiseProduct<double>;

}  // namespace piste
