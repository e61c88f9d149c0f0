#pragma once
// The loop that products spend their time in. Included by *.isa.cpp only, as vec.h.

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

/// sum[r][v] += left(r, k) * right(k, v) for k < depth, of values and of vectors. Four steps at a
/// time and unrolled over the tile: the sums stay in registers, and little but multiplications and
/// loads is left to do, which counts where another thread shares the core.
template <class T, int Rows, int Vectors, class Left, class Right>
[[gnu::always_inline]] inline void add_products(Vec<T> (&sum)[Rows][Vectors], std::int64_t depth,
                                                Left left, Right right) {
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < depth; ++k) {
    Vec<T> y[Vectors];
#pragma GCC unroll 6
    for (int v = 0; v < Vectors; ++v) y[v] = right(k, v);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const Vec<T> x(left(r, k));
#pragma GCC unroll 6
      for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(x, y[v], sum[r][v]);
    }
  }
}

}  // namespace
}  // namespace piste::PISTE_ISA
