// backward_data of few channels: every pixel of dy to all that its taps read. Tiles of taps are
// fuller than tiles of one pixel's channels, and no product is with a border.

#include "dispatch/dispatch.h"
#include "ops/conv_nhwc.h"

namespace piste {

template <class T>
void Conv<T>::make_runs() {
  const Index channels = g_.channels, lanes = backward_.lanes;
  runs_.taps = g_.dilation[2] == 1 ? g_.kernel[2] : 1;
  runs_.values = runs_.taps * channels;
  runs_.padded = (runs_.values + lanes - 1) / lanes * lanes;
  for (Index d = 0; d < g_.kernel[0]; ++d)
    for (Index h = 0; h < g_.kernel[1]; ++h)
      for (Index w = 0; w < g_.kernel[2]; w += runs_.taps)
        runs_.offsets.push_back(
            ((d * g_.dilation[0] * g_.in[1] + h * g_.dilation[1]) * g_.in[2] + w * g_.dilation[2]) *
            channels);
}

/// Memory for one sample's pixels without padding, and for vectors that reach past its end.
template <class T>
Index Conv<T>::spread_values() const {
  if (!spreads_ || spreads_in_place()) return 0;
  return g_.in_pixels() * g_.channels + 2 * runs_.padded;
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

// Down the lines before along them: pixels that follow one another write to different lines.
template <class T>
void Conv<T>::spread_sample(const T* dy, const T* packed, T* dense, const Scratch& s) const {
  kernels::SpreadTile<T> tile{
      0,     Index(runs_.offsets.size()), backward_.depth, runs_.values, s.rows,
      s.out, runs_.offsets.data(),        packed};
  const auto run = [&] {
    kernel_table<T>().gemm->spread(tile);
    tile.rows = 0;
  };
  for (Index z = 0; z < g_.out[0]; ++z)
    for (Index x = 0; x < g_.out[2]; ++x)
      for (Index y = 0; y < g_.out[1]; ++y) {
        const Index to = (z * g_.stride[0] * g_.in[1] + y * g_.stride[1]) * g_.in[2];
        s.rows[tile.rows] = dy + ((z * g_.out[1] + y) * g_.out[2] + x) * g_.y_stride;
        s.out[tile.rows] = dense + (to + x * g_.stride[2]) * g_.channels;
        if (++tile.rows == range_pixels) run();
      }
  if (tile.rows > 0) run();
}

template <class T>
void Conv<T>::spread(const T* dy, const T* packed, T* dx, Index n, const Scratch& s) const {
  const Index pixels = g_.in_pixels();
  packed += backward_.packed_size();
  for (Index i = 0; i < n; ++i, dx += pixels * g_.x_stride) {
    T* const dense = spreads_in_place() ? dx : s.border;
    std::fill_n(dense, pixels * g_.channels, T(0));
    spread_sample(dy + i * g_.out_pixels() * g_.y_stride, packed, dense, s);
    if (dense != dx) kernel_table<T>().gemm->widen(dense, g_.channels, dx, g_.x_stride, pixels);
  }
}

template class Conv<float>;
template class Conv<double>;

}  // namespace piste
