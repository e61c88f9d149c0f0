#pragma once

#include "piste/index.h"

namespace piste {

/// Joins the moments of two sets of values, per channel, into the first (Chan, Golub, LeVeque
/// 1979).
template <class T>
void combine_moments(Index count_a, T* mean_a, T* m2_a, Index count_b, const T* mean_b,
                     const T* m2_b, Index channels) {
  if (count_b == 0) return;
  const T total = static_cast<T>(count_a + count_b);
  const T share = static_cast<T>(count_b) / total;
  for (Index c = 0; c < channels; ++c) {
    const T delta = mean_b[c] - mean_a[c];
    mean_a[c] += delta * share;
    m2_a[c] += m2_b[c] + delta * delta * static_cast<T>(count_a) * share;
  }
}

}  // namespace piste
