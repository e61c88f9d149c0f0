// backward_data of few channels: every pixel of dy to all that its taps read. Tiles of taps are
// fuller than tiles of one pixel's channels, and no product is with a border.

#include "dispatch/dispatch.h"
#include "ops/conv_nhwc.h"

namespace piste {
namespace {

constexpr Index lines_together = 12;  // as many as the rows of a register tile

}  // namespace

template <class T>
void Conv<T>::make_runs() {
  const Index lanes = backward_.lanes, taps = g_.dilation[2] == 1 ? g_.kernel[2] : 1;
  const auto padded = [&](Index values) { return (values + lanes - 1) / lanes * lanes; };
  runs_.dense = padded(taps * g_.channels) < taps * lanes;
  runs_.taps = runs_.dense ? taps : 1;
  runs_.values = runs_.taps * g_.channels;
  runs_.padded = padded(runs_.values);
  runs_.stride = runs_.dense ? g_.channels : g_.x_stride;
  for (Index d = 0; d < g_.kernel[0]; ++d)
    for (Index h = 0; h < g_.kernel[1]; ++h)
      for (Index w = 0; w < g_.kernel[2]; w += runs_.taps)
        runs_.offsets.push_back(
            ((d * g_.dilation[0] * g_.in[1] + h * g_.dilation[1]) * g_.in[2] + w * g_.dilation[2]) *
            runs_.stride);
}

/// Memory for one sample's pixels without padding, and for vectors that reach past its end.
template <class T>
Index Conv<T>::spread_values() const {
  return runs_.dense ? g_.in_pixels() * g_.channels + 2 * runs_.padded : 0;
}

/// A filter's weights, to panels of [run][filter][padded].
template <class T>
void Conv<T>::pack_runs(const T* weight, T* packed, Index filter) const {
  const Index channels = g_.channels;
  const T* from = weight + filter * channels * taps_;
  T* to = packed + filter * runs_.padded;
  for (Index first = 0; first < taps_; first += runs_.taps, to += backward_.depth * runs_.padded) {
    for (Index t = 0; t < runs_.taps; ++t)
      for (Index c = 0; c < channels; ++c) to[t * channels + c] = from[c * taps_ + first + t];
    std::fill(to + runs_.values, to + runs_.padded, T(0));
  }
}

// Pixels that follow one another write to other lines, or else, where there is one line, past each
// other's runs.
template <class T>
void Conv<T>::spread_sample(const T* dy, const T* packed, T* to, const Scratch& s) const {
  kernels::SpreadTile<T> tile;
  tile.rows = 0;
  tile.runs = static_cast<Index>(runs_.offsets.size());
  tile.channels = backward_.depth;
  tile.values = runs_.values;
  tile.from = s.rows;
  tile.to = s.out;
  tile.offsets = runs_.offsets.data();
  tile.panels = packed;
  const auto run = [&] {
    kernel_table<T>().gemm->spread(tile);
    tile.rows = 0;
  };
  const auto add = [&](Index z, Index y, Index x) {
    const Index line = (z * g_.stride[0] * g_.in[1] + y * g_.stride[1]) * g_.in[2];
    s.rows[tile.rows] = dy + ((z * g_.out[1] + y) * g_.out[2] + x) * g_.y_stride;
    s.out[tile.rows] = to + (line + x * g_.stride[2]) * runs_.stride;
    if (++tile.rows == range_pixels) run();
  };
  const Index depth = g_.out[0], height = g_.out[1], width = g_.out[2];
  const Index step = height == 1 ? runs_.taps : 1;
  for (Index z = 0; z < depth; ++z)
    for (Index y = 0; y < height; y += lines_together)
      for (Index first = 0; first < step; ++first)
        for (Index x = first; x < width; x += step)
          for (Index line = y; line < std::min(y + lines_together, height); ++line) add(z, line, x);
  if (tile.rows > 0) run();
}

template <class T>
void Conv<T>::spread(const T* dy, const T* packed, T* dx, Index n, const Scratch& s) const {
  const Index pixels = g_.in_pixels();
  packed += backward_.packed_size();
  for (Index i = 0; i < n; ++i, dx += pixels * g_.x_stride) {
    T* const to = runs_.dense ? s.border : dx;
    std::fill_n(to, pixels * runs_.stride, T(0));
    spread_sample(dy + i * g_.out_pixels() * g_.y_stride, packed, to, s);
    if (runs_.dense) kernel_table<T>().gemm->widen(to, g_.channels, dx, g_.x_stride, pixels);
  }
}

template class Conv<float>;
template class Conv<double>;

}  // namespace piste
