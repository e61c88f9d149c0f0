// The gradient of a convolution's weight: outer products of NHWC rows.

#include <cstring>

#include "dispatch/dispatch.h"
#include "ops/conv_nhwc.h"

namespace piste {
namespace {

constexpr Index much_gradient = 2048;  // of a tap, worth a list of the pixels that it needs

}  // namespace

template <class T>
Index Conv<T>::gradient_size() const {
  return forward_.groups * taps_ * forward_.depth * forward_.padded();
}

template <class T>
Index Conv<T>::weight_parts() const {
  if (depthwise_) return forward_.blocks();  // each with all taps, which read the same rows
  return forward_.groups * static_cast<Index>(all_.offsets.size()) * forward_.blocks();
}

/// Parts [first_part, last_part) of the gradient (a tap and a block of filters each), from samples
/// with their border.
template <class T>
void Conv<T>::outer_products(const T* bordered, const T* dy, T* gradient, Index n, Index first_part,
                             Index last_part, bool accumulate, void* scratch, bool finite) const {
  const auto& kernels = *kernel_table<T>().gemm;
  const Scratch s = carve(scratch);
  const Index padded = forward_.padded(), all_pixels = n * g_.out_pixels();
  const Index taps = static_cast<Index>(all_.offsets.size()), blocks = forward_.blocks();
  const bool leave_out = finite && !all_.reach.empty() && all_.run * padded >= much_gradient;
  for (Index first = 0; first < all_pixels; first += range_pixels) {
    kernels::OuterTile<T> tile;
    tile.pixels = std::min(range_pixels, all_pixels - first);
    point(all_, x_border_.pixels() * g_.x_stride, bordered, g_.out_pixels() * g_.y_stride,
          const_cast<T*>(dy), first, tile.pixels, s);
    if (depthwise_) {
      depthwise_products(dy + first * g_.y_stride, tile.pixels, gradient, first_part, last_part,
                         accumulate || first > 0, s);
      continue;
    }
    tile.x = s.rows;
    tile.dy = s.out;
    tile.channels = all_.run;
    tile.gradient_stride = padded;
    tile.accumulate = accumulate || first > 0;
    const Index pixels = tile.pixels;
    Index last_tap = -1;
    for (Index part = first_part; part < last_part; ++part) {
      const Index block = part % blocks, tap = part / blocks % taps, group = part / (blocks * taps);
      if (leave_out && tap != last_tap) {
        last_tap = tap;
        tile.pixels = 0;
        for (Index i = 0; i < pixels; ++i) {
          s.few_rows[tile.pixels] = s.rows[i];
          s.few_out[tile.pixels] = s.out[i];
          tile.pixels += s.reach[i]->has(all_.places[tap].data());
        }
        tile.x = s.few_rows;
        tile.dy = s.few_out;
      }
      tile.first_channel = all_.offsets[tap] + group * forward_.depth;
      tile.first_column = group * forward_.columns + block * forward_.panel;
      tile.gradient = gradient + (group * taps_ + all_.tap_ids[tap]) * forward_.depth * padded +
                      block * forward_.panel;
      kernels.outer(static_cast<int>(forward_.width(block) / forward_.lanes), tile);
    }
  }
}

template <class T>
void Conv<T>::backward_weight(const T* x, const T* dy, T* gradient, T* bias_gradient, Index n,
                              bool accumulate, void* scratch) const {
  const Index per_sample = g_.out_pixels();
  if (bias_gradient)
    kernel_table<T>().gemm->column_sums(dy, n * per_sample, g_.y_stride, bias_gradient, g_.filters,
                                        accumulate);
  const Scratch s = carve(scratch);
  const Index samples = x_border_.needed ? x_border_.samples(n) : std::max<Index>(n, 1);
  for (Index sample = 0; sample < n; sample += samples) {
    const Index count = std::min(samples, n - sample);
    const T* from = x + sample * x_border_.in_pixels() * g_.x_stride;
    if (x_border_.needed) {
      copy_bordered(x_border_, from, count, s.border, 0, x_border_.extent[1]);
      from = s.border;
    }
    outer_products(from, dy + sample * per_sample * g_.y_stride, gradient, count, 0, weight_parts(),
                   accumulate || sample > 0, scratch);
  }
  if (n == 0 && !accumulate) std::memset(gradient, 0, gradient_size() * sizeof(T));
}

template class Conv<float>;
template class Conv<double>;

}  // namespace piste
