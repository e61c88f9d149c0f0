#include "kernels/norm/norm.h"

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

template <class T>
void moments(const T* x, Index rows, Index stride, T* mean, T* m2) {
  using V = Vec<T>;
  const V inverse(rows > 0 ? T(1) / static_cast<T>(rows) : T(0));
  for (Index c = 0; c < stride; c += V::lanes) {
    V sum = V::zero(), squares = V::zero(), residue = V::zero();
    for (Index row = 0; row < rows; ++row) sum += V::load(x + row * stride + c);
    const V average = sum * inverse;
    for (Index row = 0; row < rows; ++row) {
      const V d = V::load(x + row * stride + c) - average;
      squares = fma(d, d, squares);
      residue += d;
    }
    // The rounding of the average leaves a sum of deviations, which corrects both results.
    (average + residue * inverse).store(mean + c);
    (squares - residue * residue * inverse).store(m2 + c);
  }
}

template <class T>
void scale_shift(const T* x, T* y, Index rows, Index stride, const T* scale, const T* shift,
                 bool relu) {
  using V = Vec<T>;
  for (Index row = 0; row < rows; ++row)
    for (Index c = 0; c < stride; c += V::lanes) {
      const Index i = row * stride + c;
      V v = fma(V::load(x + i), V::load(scale + c), V::load(shift + c));
      if (relu) v = V::select(v < V::zero(), V::zero(), v);
      v.store(y + i);
    }
}

template <class T>
void backward_sums(const T* dy, const T* x, const T* mean, Index rows, Index stride, T* sum_dy,
                   T* sum_dy_x) {
  using V = Vec<T>;
  for (Index c = 0; c < stride; c += V::lanes) {
    V sum = V::load(sum_dy + c), sum_x = V::load(sum_dy_x + c);
    const V m = V::load(mean + c);
    for (Index row = 0; row < rows; ++row) {
      const V g = V::load(dy + row * stride + c);
      sum += g;
      sum_x = fma(g, V::load(x + row * stride + c) - m, sum_x);
    }
    sum.store(sum_dy + c);
    sum_x.store(sum_dy_x + c);
  }
}

template <class T>
void backward_apply(const T* dy, const T* x, T* dx, Index rows, Index stride, const T* a,
                    const T* b, const T* c) {
  using V = Vec<T>;
  for (Index row = 0; row < rows; ++row)
    for (Index j = 0; j < stride; j += V::lanes) {
      const Index i = row * stride + j;
      const V affine = fma(V::load(b + j), V::load(x + i), V::load(c + j));
      fma(V::load(a + j), V::load(dy + i), affine).store(dx + i);
    }
}

}  // namespace

extern const kernels::NormKernels<float> norm_f32{moments<float>, scale_shift<float>,
                                                  backward_sums<float>, backward_apply<float>};
extern const kernels::NormKernels<double> norm_f64{moments<double>, scale_shift<double>,
                                                   backward_sums<double>, backward_apply<double>};

}  // namespace piste::PISTE_ISA
