#include "ops/plane_products.h"

#include <algorithm>

#include "base/aligned.h"
#include "base/parallel.h"
#include "dispatch/dispatch.h"
#include "ops/conv_nhwc.h"

namespace piste {
namespace {

constexpr Index least_units = 16;  // that filters are shared out to reach
// Vectors that take all chains of their sums before the next ones do: totals stay in L1.
constexpr Index block = 48;

/// Values of scratch for chained_products().
template <class T>
Index chained_size() {
  return kernel_table<T>().planes->filters * (2 * block * kernel_table<T>().lanes + 1);
}

/// The kernel's products(), of any depth.
template <class T>
void chained_products(int filters, const kernels::PlaneProducts<T>& all, T* scratch) {
  const auto& table = kernel_table<T>();
  if (all.depth <= longest_chain) return table.planes->products(filters, all);
  const Index lanes = table.lanes, size = filters * block * lanes;
  T* const parts[] = {scratch, scratch + size};
  T* const zeros = scratch + 2 * size;
  std::fill_n(zeros, filters, T(0));
  Index at[block];
  for (Index v = 0; v < block; ++v) at[v] = v * lanes;
  for (Index first = 0; first < all.vectors; first += block) {
    const Index vectors = std::min(block, all.vectors - first), width = vectors * lanes;
    kernels::PlaneProducts<T> a = all;
    a.x_at += first;
    a.vectors = vectors;
    a.y_at = at;
    a.y_stride = a.y_end = width;
    for (Index k = 0; k < all.depth; k += longest_chain) {
      a.offsets = all.offsets + k;
      a.weights = all.weights + k * filters;
      a.depth = std::min(longest_chain, all.depth - k);
      a.bias = k == 0 ? all.bias : zeros;
      a.y = parts[k > 0];
      table.planes->products(filters, a);
      if (k > 0) table.gemm->sum(parts, 2, 0, parts[0], filters * width);
    }
    for (Index f = 0; f < filters; ++f)
      for (Index v = 0; v < vectors; ++v) {
        const Index y_at = all.y_at[first + v];
        if (y_at < all.y_end)
          std::copy_n(parts[0] + f * width + v * lanes, std::min(lanes, all.y_end - y_at),
                      all.y + f * all.y_stride + y_at);
      }
  }
}

// A copy stays in L2. Where taps reach beyond a box, larger boxes copy less twice.
template <class T>
PlaneReader<T> reader_for(const PlaneMap& map, const PlaneWeights& w) {
  const bool in_place = PlaneReader<T>::fits_in_place(map) &&
                        map.axis[2].out >= kernel_table<T>().lanes && w.filters <= 16;
  return PlaneReader<T>(map, w.channels, map.taps() > 1 ? 256 << 10 : 64 << 10, 1 << 20,
                        in_place ? PlaneReader<T>::Place::source : PlaneReader<T>::Place::copy);
}

}  // namespace

template <class T>
PlaneProduct<T>::PlaneProduct(const PlaneMap& map, const PlaneTarget& target,
                              const PlaneWeights& weights, Index samples)
    : map_(map),
      target_(target),
      weights_(weights),
      samples_(samples),
      depth_(weights.channels * map.taps()),
      lanes_(kernel_table<T>().lanes),
      panel_(kernel_table<T>().planes->filters),
      panels_(Split(weights.filters, panel_).count),
      reader_(reader_for<T>(map, weights)) {
  const Index units = std::max<Index>(samples_ * weights_.groups * reader_.boxes(), 1);
  ranges_ = std::clamp<Index>(least_units / units, 1, panels_);
  const PlaneBox whole = reader_.box(0);
  x_at_.resize(vectors_of(whole));
  y_at_.resize(vectors_of(whole));
  place_vectors(whole, x_at_.data(), y_at_.data());
  make_phases();
}

template <class T>
void PlaneProduct<T>::make_phases() {
  Index r[3], depth = 0;
  const Index map_taps = map_.taps();
  for (r[0] = 0; r[0] < std::min(target_.step[0], target_.extent[0]); ++r[0])
    for (r[1] = 0; r[1] < std::min(target_.step[1], target_.extent[1]); ++r[1])
      for (r[2] = 0; r[2] < std::min(target_.step[2], target_.extent[2]); ++r[2]) {
        Phase phase;
        for (int a = 0; a < 3; ++a) {
          phase.residue[a] = r[a];
          phase.count[a] = (target_.extent[a] - r[a] + target_.step[a] - 1) / target_.step[a];
        }
        Index tap = 0;
        for (Index z : target_.residues[0])
          for (Index y : target_.residues[1])
            for (Index x : target_.residues[2]) {
              if (z == r[0] && y == r[1] && x == r[2]) phase.taps.push_back(tap);
              ++tap;
            }
        for (Index c = 0; c < weights_.channels; ++c)
          for (Index t : phase.taps) phase.offsets.push_back(reader_.offsets()[c * map_taps + t]);
        phase.first_depth = depth;
        depth += Index(phase.offsets.size());
        phases_.push_back(std::move(phase));
      }
}

template <class T>
Index PlaneProduct<T>::vectors_of(const PlaneBox& box) const {
  return box.rows() * ((box.count[2] + lanes_ - 1) / lanes_);
}

template <class T>
Index PlaneProduct<T>::row_pitch() const {
  return (reader_.whole_box()[2] + lanes_ - 1) / lanes_ * lanes_;
}

template <class T>
void PlaneProduct<T>::place_vectors(const PlaneBox& box, Index* x_at, Index* y_at) const {
  const bool dense = target_.dense();
  for (Index d = 0; d < box.count[0]; ++d)
    for (Index h = 0; h < box.count[1]; ++h) {
      const Index x_row = reader_.row_at(d, h);
      const Index y_row = dense ? (d * target_.extent[1] + h) * target_.extent[2]
                                : (d * box.count[1] + h) * row_pitch();
      for (Index w = 0; w < box.count[2]; w += lanes_) {
        // The last vector of a row begins earlier rather than end outside.
        const Index at = box.count[2] >= lanes_ ? std::min(w, box.count[2] - lanes_) : w;
        *x_at++ = x_row + at;
        *y_at++ = y_row + at;
      }
    }
}

template <class T>
void PlaneProduct<T>::pack(const T* weight, Index panel, T* packed) const {
  const PlaneWeights& w = weights_;
  const Split split(w.filters, panel_);
  const Index group = panel / panels_, p = panel % panels_;
  weight += group * w.filters * w.channels * w.kernel[0] * w.kernel[1] * w.kernel[2];
  packed += (group * w.filters + split.begin(p)) * depth_;
  std::vector<Index> ids;
  for (Index z : map_.axis[0].ids)
    for (Index y : map_.axis[1].ids)
      for (Index x : map_.axis[2].ids) ids.push_back((z * w.kernel[1] + y) * w.kernel[2] + x);
  for (const Phase& phase : phases_)
    for (Index c = 0; c < w.channels; ++c)
      for (Index tap : phase.taps) {
        const T* from = weight + c * w.channel_stride + ids[tap];
        for (Index f = split.begin(p); f < split.end(p); ++f) *packed++ = from[f * w.filter_stride];
      }
}

template <class T>
Index PlaneProduct<T>::unit_flops() const {
  const Index* b = reader_.whole_box();
  return 2 * b[0] * b[1] * b[2] * weights_.filters * depth_ / ranges_;
}

template <class T>
Index PlaneProduct<T>::sums_size() const {
  return depth_ > longest_chain ? chained_size<T>() : 0;
}

template <class T>
Index PlaneProduct<T>::scratch_bytes() const {
  const Index tables = 2 * Index(x_at_.size()) * Index(sizeof(Index));
  const Index* b = reader_.whole_box();
  const Index rows = target_.dense() ? 0 : panel_ * b[0] * b[1] * row_pitch();
  return Index(round_up(tables, alignment) + round_up(reader_.copy_size() * sizeof(T), alignment) +
               round_up(sums_size() * sizeof(T), alignment) + round_up(rows * sizeof(T), 4096));
}

template <class T>
void PlaneProduct<T>::spread(const T* rows, const Phase& phase, const PlaneBox& box,
                             T* plane) const {
  Index first[3];
  for (int a = 0; a < 3; ++a) first[a] = phase.residue[a] + box.first[a] * target_.step[a];
  for (Index d = 0; d < box.count[0]; ++d)
    for (Index h = 0; h < box.count[1]; ++h, rows += row_pitch()) {
      const Index z = first[0] + d * target_.step[0], y = first[1] + h * target_.step[1];
      kernel_table<T>().planes->spread(
          rows, plane + (z * target_.extent[1] + y) * target_.extent[2] + first[2], target_.step[2],
          box.count[2]);
    }
}

template <class T>
void PlaneProduct<T>::run_phase(const Phase& phase, const PlaneBox& box, Index planes, Index range,
                                const T* packed, const T* bias, T* to, kernels::PlaneProducts<T>& a,
                                const Scratch& scratch) const {
  a.offsets = phase.offsets.data();
  a.depth = Index(phase.offsets.size());
  a.vectors = vectors_of(box);
  a.x_at = x_at_.data();
  a.y_at = y_at_.data();
  if (!std::equal(box.count, box.count + 3, reader_.whole_box())) {
    Index* y_at = scratch.tables + x_at_.size();
    place_vectors(box, scratch.tables, y_at);
    a.x_at = scratch.tables;
    a.y_at = y_at;
  }
  const bool dense = target_.dense();
  const Index plane = target_.pixels(), box_rows = box.rows() * row_pitch();
  const Index origin =
      (box.first[0] * target_.extent[1] + box.first[1]) * target_.extent[2] + box.first[2];
  a.y_stride = dense ? plane : box_rows;
  a.y_end = dense ? box.pixels() : box_rows;  // a dense box's outputs are contiguous
  const Index group = planes % weights_.groups;
  const Split panels(weights_.filters, panel_), shares(panels_, 1, ranges_);
  for (Index p = shares.begin(range); p < shares.end(range); ++p) {
    const Index first = group * weights_.filters + panels.begin(p);
    const Index filters = panels.end(p) - panels.begin(p);
    a.weights = packed + first * depth_ + phase.first_depth * filters;
    a.bias = bias + first;
    T* out = to + (planes * weights_.filters + panels.begin(p)) * plane;
    a.y = dense ? out + origin : scratch.rows;
    if (a.depth > 0)
      chained_products(static_cast<int>(filters), a, scratch.sums);
    else  // a stride beyond the kernel: inputs that no output has read
      std::fill_n(scratch.rows, filters * box_rows, T(0));
    if (dense) continue;
    for (Index f = 0; f < filters; ++f)
      spread(scratch.rows + f * box_rows, phase, box, out + f * plane);
  }
}

template <class T>
void PlaneProduct<T>::run(Index unit, const T* from, const T* packed, const T* bias, T* to,
                          std::byte* scratch, bool relu) const {
  const Index range = unit % ranges_;
  unit /= ranges_;
  const PlaneBox box = reader_.box(unit % reader_.boxes());
  const Index planes = unit / reader_.boxes();  // (sample, group)

  Scratch parts;
  parts.tables = reinterpret_cast<Index*>(scratch);
  scratch += round_up(2 * x_at_.size() * sizeof(Index), alignment);
  T* copy = reinterpret_cast<T*>(scratch);
  scratch += round_up(reader_.copy_size() * sizeof(T), alignment);
  parts.sums = reinterpret_cast<T*>(scratch);
  parts.rows = reinterpret_cast<T*>(scratch + round_up(sums_size() * sizeof(T), alignment));
  kernels::PlaneProducts<T> a;
  a.relu = relu;
  a.x = reader_.read(from + planes * weights_.channels * map_.source_pixels(), box, copy);
  for (const Phase& phase : phases_) {
    PlaneBox share = box;  // later residues may have one output less
    for (int axis = 0; axis < 3; ++axis)
      share.count[axis] = std::min(box.count[axis], phase.count[axis] - box.first[axis]);
    if (share.count[0] > 0 && share.count[1] > 0 && share.count[2] > 0)
      run_phase(phase, share, planes, range, packed, bias, to, a, parts);
  }
}

template class PlaneProduct<float>;
template class PlaneProduct<double>;

}  // namespace piste
