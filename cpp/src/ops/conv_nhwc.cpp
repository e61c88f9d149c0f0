#include "ops/conv_nhwc.h"

#include <cstring>

#include "dispatch/dispatch.h"

namespace piste {
namespace {

constexpr Index table_bytes = 16 << 10;  // row pointers of the tiles that share a panel's visit
constexpr Index outer_pixels = 96;       // pixels whose x and dy rows stay in L1 and L2 together

}  // namespace

template <class T>
Conv<T>::Conv(const ConvGeometry& geometry) : g_(geometry), taps_(geometry.taps()) {
  const auto& table = kernel_table<T>();
  tile_rows_ = table.gemm->tile_rows;
  const Index lanes = table.lanes, panel = lanes * table.gemm->tile_vectors;
  const Index filters = g_.filters / g_.groups, channels = g_.channels / g_.groups;
  forward_ = {g_.groups, filters, channels, lanes, panel, taps_};
  backward_ = {g_.groups, channels, filters, lanes, panel, taps_};
  pack_tasks_ = std::clamp<Index>(g_.filters * channels * taps_ / 4096, 1, 32);
  range_tiles_ = std::clamp<Index>(table_bytes / (taps_ * tile_rows_ * Index(sizeof(T*))), 1, 16);
  for (Index tap = 0; tap < taps_; ++tap) all_taps_.push_back(tap);
  make_phases();
  const std::size_t zeros = (std::max(g_.channels, g_.filters) + lanes) * sizeof(T);
  zeros_ = aligned_bytes(zeros);
  std::memset(zeros_.get(), 0, zeros);
}

template <class T>
void Conv<T>::make_phases() {
  const Index phases = g_.stride[0] * g_.stride[1] * g_.stride[2];
  for (Index index = 0; index < phases; ++index) {
    const Index residue[3] = {index / (g_.stride[1] * g_.stride[2]),
                              index / g_.stride[2] % g_.stride[1], index % g_.stride[2]};
    Phase phase;
    for (int axis = 0; axis < 3; ++axis) {
      const Index stride = g_.stride[axis], r = residue[axis];
      phase.first[axis] = ((r - g_.pad[axis]) % stride + stride) % stride;
      const Index left = g_.in[axis] - phase.first[axis];
      phase.count[axis] = left > 0 ? (left + stride - 1) / stride : 0;
      for (Index k = 0; k < g_.kernel[axis]; ++k)
        if (k * g_.dilation[axis] % stride == r) phase.taps[axis].push_back(k);
    }
    if (phase.pixels() == 0) continue;
    std::vector<Index> ids;
    for (Index d : phase.taps[0])
      for (Index h : phase.taps[1])
        for (Index w : phase.taps[2]) ids.push_back((d * g_.kernel[1] + h) * g_.kernel[2] + w);
    phases_.push_back(phase);
    phase_taps_.push_back(ids);
  }
}

template <class T>
Index Conv<T>::gradient_size() const {
  return g_.groups * taps_ * forward_.depth * forward_.padded();
}

template <class T>
Index Conv<T>::scratch_bytes() const {
  const Index tiles = range_tiles_ * tile_rows_;
  const Index pointers = std::max(tiles, outer_pixels) * taps_ + tiles + taps_;
  return pointers * Index(sizeof(T*));
}

template <class T>
typename Conv<T>::Scratch Conv<T>::carve(void* scratch) const {
  const Index tiles = range_tiles_ * tile_rows_;
  Scratch s;
  s.out = static_cast<T**>(scratch);
  s.panels = const_cast<const T**>(s.out + tiles);
  s.table = s.panels + taps_;
  return s;
}

/// table[tap][row] = the values that a tap reads for output pixel first + row.
template <class T>
void Conv<T>::forward_table(const T* x, Index first, Index rows, const T** table) const {
  const T* zeros = reinterpret_cast<const T*>(zeros_.get());
  const Index line = g_.in[2] * g_.x_stride;
  for (Index r = 0; r < rows; ++r) {
    const Index p = first + r, ow = p % g_.out[2], oh = p / g_.out[2] % g_.out[1],
                od = p / (g_.out[2] * g_.out[1]) % g_.out[0], sample = p / g_.out_pixels();
    const T** to = table + r;
    for (Index kd = 0; kd < g_.kernel[0]; ++kd) {
      const Index id = od * g_.stride[0] - g_.pad[0] + kd * g_.dilation[0];
      const bool depth = id >= 0 && id < g_.in[0];
      for (Index kh = 0; kh < g_.kernel[1]; ++kh) {
        const Index ih = oh * g_.stride[1] - g_.pad[1] + kh * g_.dilation[1];
        const bool inside = depth && ih >= 0 && ih < g_.in[1];
        const T* from = x + ((sample * g_.in[0] + id) * g_.in[1] + ih) * line;
        Index iw = ow * g_.stride[2] - g_.pad[2];
        for (Index kw = 0; kw < g_.kernel[2]; ++kw, iw += g_.dilation[2], to += rows)
          *to = inside && iw >= 0 && iw < g_.in[2] ? from + iw * g_.x_stride : zeros;
      }
    }
  }
}

/// The same for input pixels of one phase, whose gradient reads output pixels.
template <class T>
void Conv<T>::backward_table(const Phase& phase, const T* dy, T* dx, Index first, Index rows,
                             const T** table, T** out) const {
  const T* zeros = reinterpret_cast<const T*>(zeros_.get());
  const Index* count = phase.count;
  const Index line = g_.out[2] * g_.y_stride;
  for (Index r = 0; r < rows; ++r) {
    const Index p = first + r, sample = p / phase.pixels();
    const Index iw = phase.first[2] + p % count[2] * g_.stride[2];
    const Index ih = phase.first[1] + p / count[2] % count[1] * g_.stride[1];
    const Index id = phase.first[0] + p / (count[2] * count[1]) % count[0] * g_.stride[0];
    out[r] = dx + (((sample * g_.in[0] + id) * g_.in[1] + ih) * g_.in[2] + iw) * g_.x_stride;
    const T** to = table + r;
    for (Index kd : phase.taps[0]) {
      const Index rest_d = id + g_.pad[0] - kd * g_.dilation[0], od = rest_d / g_.stride[0];
      const bool depth = rest_d >= 0 && od < g_.out[0];
      for (Index kh : phase.taps[1]) {
        const Index rest_h = ih + g_.pad[1] - kh * g_.dilation[1], oh = rest_h / g_.stride[1];
        const bool inside = depth && rest_h >= 0 && oh < g_.out[1];
        const T* from = dy + ((sample * g_.out[0] + od) * g_.out[1] + oh) * line;
        for (Index kw : phase.taps[2]) {
          const Index rest_w = iw + g_.pad[2] - kw * g_.dilation[2], ow = rest_w / g_.stride[2];
          *to = inside && rest_w >= 0 && ow < g_.out[2] ? from + ow * g_.y_stride : zeros;
          to += rows;
        }
      }
    }
  }
}

/// All columns of `pixels` rows, whose table and output pointers stand in s. A panel serves all
/// tiles before the next one is read.
template <class T>
void Conv<T>::run_tiles(const Product& product, const T* packed, const T* bias, bool relu,
                        Index out_stride, Index pixels, Index taps, const Index* tap_ids,
                        const Scratch& s) const {
  const auto& kernels = *kernel_table<T>().gemm;
  // Whole vectors may be stored where nothing stands behind a row's columns.
  const bool whole = product.groups == 1 && out_stride >= product.padded();
  for (Index group = 0; group < product.groups; ++group)
    for (Index block = 0; block < product.blocks(); ++block) {
      const Index width = product.width(block), first = block * product.panel;
      for (Index t = 0; t < taps; ++t)
        s.panels[t] = packed + product.offset(group, block) + tap_ids[t] * product.depth * width;
      kernels::GemmTile<T> tile;
      tile.panels = s.panels;
      tile.taps = taps;
      tile.channels = product.depth;
      tile.first_channel = group * product.depth;
      tile.first_column = group * product.columns + first;
      tile.bias = bias ? bias + tile.first_column : nullptr;
      tile.relu = relu;
      tile.columns = static_cast<int>(whole ? width : std::min(width, product.columns - first));
      for (Index row = 0; row < pixels; row += tile_rows_) {
        tile.rows = s.table + row * taps;
        tile.out = s.out + row;
        kernels.tile(static_cast<int>(std::min<Index>(tile_rows_, pixels - row)),
                     static_cast<int>(width / product.lanes), tile);
      }
    }
}

template <class T>
void Conv<T>::forward(const T* x, const T* packed, const T* bias, bool relu, T* y, Index,
                      Index begin, Index end, void* scratch) const {
  const Scratch s = carve(scratch);
  const Index range = range_tiles_ * tile_rows_;
  for (Index first = begin; first < end; first += range) {
    const Index pixels = std::min(range, end - first);
    for (Index row = 0; row < pixels; row += tile_rows_)
      forward_table(x, first + row, std::min<Index>(tile_rows_, pixels - row),
                    s.table + row * taps_);
    for (Index row = 0; row < pixels; ++row) s.out[row] = y + (first + row) * g_.y_stride;
    run_tiles(forward_, packed, bias, relu, g_.y_stride, pixels, taps_, all_taps_.data(), s);
  }
}

template <class T>
void Conv<T>::backward_phase(const Phase& phase, const T* dy, const T* packed, T* dx, Index begin,
                             Index end, const Scratch& s) const {
  const std::vector<Index>& ids = phase_taps_[&phase - phases_.data()];
  const Index taps = static_cast<Index>(ids.size()), range = range_tiles_ * tile_rows_;
  const Index last = end * phase.pixels();
  for (Index first = begin * phase.pixels(); first < last; first += range) {
    const Index pixels = std::min(range, last - first);
    for (Index row = 0; row < pixels; row += tile_rows_)
      backward_table(phase, dy, dx, first + row, std::min<Index>(tile_rows_, pixels - row),
                     s.table + row * taps, s.out + row);
    run_tiles(backward_, packed, nullptr, false, g_.x_stride, pixels, taps, ids.data(), s);
  }
}

template <class T>
void Conv<T>::backward_data(const T* dy, const T* packed, T* dx, Index, Index begin, Index end,
                            void* scratch) const {
  const Scratch s = carve(scratch);
  for (const Phase& phase : phases_) backward_phase(phase, dy, packed, dx, begin, end, s);
}

template <class T>
void Conv<T>::backward_weight(const T* x, const T* dy, T* gradient, T* bias_gradient, Index n,
                              bool accumulate, void* scratch) const {
  const auto& kernels = *kernel_table<T>().gemm;
  const Index total = n * g_.out_pixels(), padded = forward_.padded();
  if (bias_gradient)
    kernels.column_sums(dy, total, g_.y_stride, bias_gradient, g_.filters, accumulate);
  const Scratch s = carve(scratch);
  for (Index first = 0; first < total; first += outer_pixels) {
    const Index pixels = std::min(outer_pixels, total - first);
    forward_table(x, first, pixels, s.table);
    for (Index group = 0; group < g_.groups; ++group)
      for (Index tap = 0; tap < taps_; ++tap)
        for (Index block = 0; block < forward_.blocks(); ++block) {
          kernels::OuterTile<T> tile;
          tile.x = s.table + tap * pixels;
          tile.first_channel = group * forward_.depth;
          tile.dy = dy + first * g_.y_stride + group * forward_.columns + block * forward_.panel;
          tile.dy_stride = g_.y_stride;
          tile.pixels = pixels;
          tile.gradient =
              gradient + (group * taps_ + tap) * forward_.depth * padded + block * forward_.panel;
          tile.channels = forward_.depth;
          tile.gradient_stride = padded;
          tile.accumulate = accumulate || first > 0;
          kernels.outer(static_cast<int>(forward_.width(block) / forward_.lanes), tile);
        }
  }
  if (total == 0 && !accumulate) std::memset(gradient, 0, gradient_size() * sizeof(T));
}

template class Conv<float>;
template class Conv<double>;

}  // namespace piste
