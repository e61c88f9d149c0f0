#include "kernels/norm/norm.h"

#include "simd/map.h"

namespace piste::PISTE_ISA {
namespace {

using kernels::Stores;

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
  const T inverse = count > 0 ? T(1) / static_cast<T>(count) : T(0);
  const T average = reduce<1>([](V v) { return Sums<T, 1>{{v}}; }, count, x).total(0) * inverse;
  const auto sums = reduce<2>(
      [=](V v) {
        const V d = v - V(average);
        return Sums<T, 2>{{d * d, d}};
      },
      count, x);
  // As in moments(): the sum of deviations corrects both results.
  const T residue = sums.total(1);
  *mean = average + residue * inverse;
  *m2 = sums.total(0) - residue * residue * inverse;
}

template <class T>
void plane_scale_shift(const T* x, T* y, Index count, T mean, T scale, T shift, Stores stores) {
  using V = Vec<T>;
  map_to(
      stores == Stores::streamed, [=](V v) { return fma(v - V(mean), V(scale), V(shift)); }, y,
      count, x);
}

template <class T>
void plane_backward_sums(const T* dy, const T* x, Index count, T mean, T* sum_dy, T* sum_dy_x) {
  using V = Vec<T>;
  const auto sums =
      reduce<2>([=](V g, V v) { return Sums<T, 2>{{g, g * (v - V(mean))}}; }, count, dy, x);
  *sum_dy += sums.total(0);
  *sum_dy_x += sums.total(1);
}

template <class T>
void plane_backward_apply(const T* dy, const T* x, T* dx, Index count, T mean, T a, T b, T c,
                          Stores stores) {
  using V = Vec<T>;
  map_to(
      stores == Stores::streamed,
      [=](V g, V v) { return fma(V(a), g, fma(V(b), v - V(mean), V(c))); }, dx, count, dy, x);
}

template <class T>
void row_scale_shift(const T* x, T* y, Index count, T mean, T inverse, const T* weight,
                     const T* bias) {
  using V = Vec<T>;
  map([=](V v, V w, V b) { return fma((v - V(mean)) * V(inverse), w, b); }, y, count, x, weight,
      bias);
}

template <class T>
void row_backward_sums(const T* dy, const T* x, const T* weight, Index count, T mean, T* sum_dy,
                       T* sum_dy_x) {
  using V = Vec<T>;
  const auto sums = reduce<2>(
      [=](V g, V v, V w) {
        const V gw = g * w;
        return Sums<T, 2>{{gw, gw * (v - V(mean))}};
      },
      count, dy, x, weight);
  *sum_dy += sums.total(0);
  *sum_dy_x += sums.total(1);
}

template <class T>
void row_backward_apply(const T* dy, const T* x, const T* weight, T* dx, Index count, T mean, T a,
                        T b, T c) {
  using V = Vec<T>;
  map([=](V g, V v, V w) { return fma(V(a) * w, g, fma(V(b), v - V(mean), V(c))); }, dx, count, dy,
      x, weight);
}

template <class T>
void row_gradients(const T* dy, const T* x, Index count, T mean, T inverse, T* dweight, T* dbias) {
  using V = Vec<T>;
  map([=](V sum, V g, V v) { return fma(g, (v - V(mean)) * V(inverse), sum); }, dweight, count,
      static_cast<const T*>(dweight), dy, x);
  map([](V sum, V g) { return sum + g; }, dbias, count, static_cast<const T*>(dbias), dy);
}

template <class T>
constexpr kernels::NormKernels<T> kernels_of{
    moments<T>,         scale_shift<T>,       backward_sums<T>,       backward_apply<T>,
    plane_moments<T>,   plane_scale_shift<T>, plane_backward_sums<T>, plane_backward_apply<T>,
    row_scale_shift<T>, row_backward_sums<T>, row_backward_apply<T>,  row_gradients<T>};

}  // namespace

extern const kernels::NormKernels<float> norm_f32{kernels_of<float>};
extern const kernels::NormKernels<double> norm_f64{kernels_of<double>};

}  // namespace piste::PISTE_ISA
