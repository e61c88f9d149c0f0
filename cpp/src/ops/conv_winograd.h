#pragma once

#include "ops/winograd.h"

namespace piste {

/// Winograd's method on NCHW arrays, in parallel; only where Winograd<T>::takes(g).

/// Forward, or backward by data: `from` (n, in_channels, height, width) to `to` (n, out_channels,
/// ...). False where a value is not finite: transforms spread NaN and infinity over their tile, so
/// the caller computes again in another way.
template <class T>
bool winograd_map(const typename Winograd<T>::Pass& pass, int m, Index n, const T* from,
                  const T* weight, const T* bias, T* to);

/// dweight (filters, channels, 3, 3). False where a value is not finite.
template <class T>
bool winograd_weight_gradient(const ConvGeometry& g, int m, Index n, const T* x, const T* dy,
                              T* dweight);

}  // namespace piste
