// What is different where every channel has its own kernel.

#include <algorithm>

#include "dispatch/dispatch.h"
#include "ops/conv_nhwc.h"

namespace piste {

template <class T>
void Conv<T>::run_depthwise(const Phase& phase, const T* packed, const T* bias, bool relu,
                            Index pixels, const Scratch& s) const {
  kernels::DepthwiseTile<T> tile;
  tile.rows = s.rows, tile.out = s.out, tile.pixels = pixels;
  tile.offsets = phase.offsets.data(), tile.tap_ids = phase.tap_ids.data();
  tile.taps = static_cast<Index>(phase.offsets.size()), tile.all_taps = taps_;
  tile.weights = packed;
  tile.channels = forward_.padded(), tile.panel = forward_.panel;
  tile.bias = bias, tile.relu = relu;
  kernel_table<T>().depthwise->tile(tile);
}

template <class T>
void Conv<T>::depthwise_products(const T* dy, Index pixels, T* gradient, Index first_part,
                                 Index last_part, bool accumulate, const Scratch& s) const {
  const Index padded = forward_.padded(), first = first_part * forward_.panel;
  const Index last = std::min(last_part * forward_.panel, padded);
  if (!accumulate)
    for (Index tap = 0; tap < taps_; ++tap)
      std::fill_n(gradient + tap * padded + first, last - first, T(0));
  for (Index i = 0; i < pixels; ++i) s.rows[i] += first;
  kernel_table<T>().depthwise->outer({s.rows, dy + first, g_.y_stride, pixels, all_.offsets.data(),
                                      all_.tap_ids.data(), taps_, gradient + first, padded,
                                      last - first});
}

template class Conv<float>;
template class Conv<double>;

}  // namespace piste
