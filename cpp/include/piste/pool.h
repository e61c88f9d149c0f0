#pragma once

#include <array>

#include "piste/tensor.h"

namespace piste {

/// Per pooled axis (depth, height, width); axes that an operation lacks have extent and kernel 1.
struct PoolWindow {
  std::array<Index, 3> kernel, stride;
  std::array<Index, 3> padding{0, 0, 0};  // on both sides
  std::array<Index, 3> dilation{1, 1, 1};
  bool ceil_mode = false;
};

/// Windows along one axis of `in` pixels: floor((in + 2 padding - dilation (kernel - 1) - 1) /
/// stride) + 1; with ceil_mode the ceiling, less the windows that would start beyond the input and
/// its leading padding. Throws where a size is out of range, the padding exceeds half of the
/// kernel, or there would be no window.
Index pool_extent(Index in, Index kernel, Index stride, Index padding, Index dilation,
                  bool ceil_mode);

/// x is (N, C, D, H, W), y (N, C, Do, Ho, Wo). `indices` (may be null, shape of y) becomes each
/// maximum's place in its D x H x W volume, or -1 where dilation leads past the whole input. NaN
/// wins.
template <class T>
void max_pool(View<const T> x, View<T> y, View<Index> indices, const PoolWindow& window);

/// dx = dy where x is the (first) maximum of a window, summed over windows.
template <class T>
void max_pool_backward(View<const T> dy, View<const T> x, View<T> dx, const PoolWindow& window);

/// y = window's sum / divisor: divisor_override unless 0, else the window's pixels, padding
/// included if count_include_pad.
template <class T>
void avg_pool(View<const T> x, View<T> y, const PoolWindow& window, bool count_include_pad,
              Index divisor_override);

template <class T>
void avg_pool_backward(View<const T> dy, View<T> dx, const PoolWindow& window,
                       bool count_include_pad, Index divisor_override);

/// The mean over Do x Ho x Wo nearly equal, at most one pixel overlapping parts of each volume.
template <class T>
void adaptive_avg_pool(View<const T> x, View<T> y);

template <class T>
void adaptive_avg_pool_backward(View<const T> dy, View<T> dx);

/// The largest value of each of those parts, with indices as max_pool's.
template <class T>
void adaptive_max_pool(View<const T> x, View<T> y, View<Index> indices);

template <class T>
void adaptive_max_pool_backward(View<const T> dy, View<const T> x, View<T> dx);

}  // namespace piste
