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

template <class T>
void plane_moments(const T* x, Index count, T* mean, T* m2) {
  using V = Vec<T>;
  const Index whole = count / V::lanes * V::lanes;
  const T inverse = count > 0 ? T(1) / static_cast<T>(count) : T(0);
  V sums = V::zero();
  for (Index i = 0; i < whole; i += V::lanes) sums += V::load(x + i);
  T sum = sums.sum();
  for (Index i = whole; i < count; ++i) sum += x[i];
  const T average = sum * inverse;
  V squares = V::zero(), residues = V::zero();
  for (Index i = 0; i < whole; i += V::lanes) {
    const V d = V::load(x + i) - V(average);
    squares = fma(d, d, squares);
    residues += d;
  }
  T square = squares.sum(), residue = residues.sum();
  for (Index i = whole; i < count; ++i) {
    const T d = x[i] - average;
    square += d * d;
    residue += d;
  }
  // As in moments(): the sum of deviations corrects both results.
  *mean = average + residue * inverse;
  *m2 = square - residue * residue * inverse;
}

template <class T>
void plane_scale_shift(const T* x, T* y, Index count, T mean, T scale, T shift) {
  using V = Vec<T>;
  const V m(mean), a(scale), b(shift);
  Index i = 0;
  for (; i + V::lanes <= count; i += V::lanes) fma(V::load(x + i) - m, a, b).store(y + i);
  if (i < count) {
    const int rest = static_cast<int>(count - i);
    fma(V::load_partial(x + i, rest) - m, a, b).store_partial(y + i, rest);
  }
}

template <class T>
void plane_backward_sums(const T* dy, const T* x, Index count, T mean, T* sum_dy, T* sum_dy_x) {
  using V = Vec<T>;
  const V m(mean);
  V sum = V::zero(), sum_x = V::zero();
  Index i = 0;
  for (; i + V::lanes <= count; i += V::lanes) {
    const V g = V::load(dy + i);
    sum += g;
    sum_x = fma(g, V::load(x + i) - m, sum_x);
  }
  T total = sum.sum(), total_x = sum_x.sum();
  for (; i < count; ++i) {
    total += dy[i];
    total_x += dy[i] * (x[i] - mean);
  }
  *sum_dy += total;
  *sum_dy_x += total_x;
}

template <class T>
void plane_backward_apply(const T* dy, const T* x, T* dx, Index count, T mean, T a, T b, T c) {
  using V = Vec<T>;
  const V m(mean), va(a), vb(b), vc(c);
  Index i = 0;
  for (; i + V::lanes <= count; i += V::lanes)
    fma(va, V::load(dy + i), fma(vb, V::load(x + i) - m, vc)).store(dx + i);
  if (i < count) {
    const int rest = static_cast<int>(count - i);
    const V z = V::load_partial(x + i, rest) - m;
    fma(va, V::load_partial(dy + i, rest), fma(vb, z, vc)).store_partial(dx + i, rest);
  }
}

}  // namespace

extern const kernels::NormKernels<float> norm_f32{moments<float>,
                                                  scale_shift<float>,
                                                  backward_sums<float>,
                                                  backward_apply<float>,
                                                  plane_moments<float>,
                                                  plane_scale_shift<float>,
                                                  plane_backward_sums<float>,
                                                  plane_backward_apply<float>};
extern const kernels::NormKernels<double> norm_f64{moments<double>,
                                                   scale_shift<double>,
                                                   backward_sums<double>,
                                                   backward_apply<double>,
                                                   plane_moments<double>,
                                                   plane_scale_shift<double>,
                                                   plane_backward_sums<double>,
                                                   plane_backward_apply<double>};

}  // namespace piste::PISTE_ISA
