#include "kernels/descent/descent.h"

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

// x and next are loaded once for so many rows, whose sums are as many chains of additions: the
// latency of one hides behind the stores of the others.
constexpr int block_rows = 5;

template <class T, int rows, bool change>
void step_rows(T* __restrict w, Index features, T decay, const T* steps, const T* __restrict x,
               const T* __restrict next, T* out) {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  V sums[rows], factors[rows];
  for (int r = 0; r < rows; ++r) {
    sums[r] = V::zero();
    factors[r] = V(change ? steps[r] : T(0));
  }
  const V keep(decay);
  Index i = 0;
  for (; i + lanes <= features; i += lanes) {
    const V input = change ? V::load(x + i) : V::zero(), following = V::load(next + i);
    for (int r = 0; r < rows; ++r) {
      V weight = V::load(w + r * features + i);
      if (change) {
        weight = fma(factors[r], input, keep * weight);
        weight.store(w + r * features + i);
      }
      sums[r] = fma(weight, following, sums[r]);
    }
  }
  if (const int rest = static_cast<int>(features - i); rest > 0) {
    const V input = change ? V::load_partial(x + i, rest) : V::zero();
    const V following = V::load_partial(next + i, rest);
    for (int r = 0; r < rows; ++r) {
      V weight = V::load_partial(w + r * features + i, rest);
      if (change) {
        weight = fma(factors[r], input, keep * weight);
        weight.store_partial(w + r * features + i, rest);
      }
      sums[r] = fma(weight, following, sums[r]);
    }
  }
  for (int r = 0; r < rows; ++r) out[r] = sums[r].sum();
}

template <class T, bool change>
void all_rows(T* w, Index rows, Index features, T decay, const T* steps, const T* x, const T* next,
              T* out) {
  Index r = 0;
  for (; r + block_rows <= rows; r += block_rows)
    step_rows<T, block_rows, change>(w + r * features, features, decay, change ? steps + r : steps,
                                     x, next, out + r);
  for (; r < rows; ++r)
    step_rows<T, 1, change>(w + r * features, features, decay, change ? steps + r : steps, x, next,
                            out + r);
}

template <class T>
void linear_step(T* w, Index rows, Index features, T decay, const T* steps, const T* x,
                 const T* next, T* out) {
  if (steps)
    all_rows<T, true>(w, rows, features, decay, steps, x, next, out);
  else
    all_rows<T, false>(w, rows, features, decay, steps, x, next, out);
}

}  // namespace

extern const kernels::DescentKernels<float> descent_f32{linear_step<float>};
extern const kernels::DescentKernels<double> descent_f64{linear_step<double>};

}  // namespace piste::PISTE_ISA
