#include "kernels/norm/norm.h"

#include "kernels/pointwise/activations.h"
#include "simd/map.h"

namespace piste::PISTE_ISA {
namespace {

using kernels::Stores;

template <int count>
struct Columns {};

/// body(Columns<n>, c) for runs of n vectors from channel c on: a row's vectors side by side, whose
/// sums do not wait for each other, and whole lines of memory at a time.
template <class T, class Body>
[[gnu::always_inline]] inline void for_columns(Index stride, Body body) {
  constexpr Index lanes = Vec<T>::lanes;
  Index c = 0;
  for (; c + 4 * lanes <= stride; c += 4 * lanes) body(Columns<4>(), c);
  for (; c + 2 * lanes <= stride; c += 2 * lanes) body(Columns<2>(), c);
  for (; c < stride; c += lanes) body(Columns<1>(), c);
}

template <class T, int count>
void column_moments(const T* x, Index rows, Index stride, T* mean, T* m2) {
  using V = Vec<T>;
  const V inverse(rows > 0 ? T(1) / static_cast<T>(rows) : T(0));
  V sum[count]{}, average[count], squares[count]{}, residue[count]{};
  for (Index row = 0; row < rows; ++row)
    for (int k = 0; k < count; ++k) sum[k] += V::load(x + row * stride + k * V::lanes);
  for (int k = 0; k < count; ++k) average[k] = sum[k] * inverse;
  for (Index row = 0; row < rows; ++row)
    for (int k = 0; k < count; ++k) {
      const V d = V::load(x + row * stride + k * V::lanes) - average[k];
      squares[k] = fma(d, d, squares[k]);
      residue[k] += d;
    }
  // The rounding of the average leaves a sum of deviations, which corrects both results.
  for (int k = 0; k < count; ++k) {
    (average[k] + residue[k] * inverse).store(mean + k * V::lanes);
    (squares[k] - residue[k] * residue[k] * inverse).store(m2 + k * V::lanes);
  }
}

template <class T>
void moments(const T* x, Index rows, Index stride, T* mean, T* m2) {
  for_columns<T>(stride, [=]<int count>(Columns<count>, Index c) {
    column_moments<T, count>(x + c, rows, stride, mean + c, m2 + c);
  });
}

template <class T>
void scale_shift(const T* x, const kernels::NormAddend<T>& addend, T* y, Index rows, Index stride,
                 const T* scale, const T* shift, bool relu) {
  using V = Vec<T>;
  const auto each = [=, z = addend.x, z_scale = addend.scale, z_shift = addend.shift](auto finish) {
    for (Index row = 0; row < rows; ++row)
      for (Index c = 0; c < stride; c += V::lanes) {
        const Index i = row * stride + c;
        V v = fma(V::load(x + i), V::load(scale + c), V::load(shift + c));
        if (z_scale)
          v += fma(V::load(z + i), V::load(z_scale + c), V::load(z_shift + c));
        else if (z)
          v += V::load(z + i);
        finish(v).store(y + i);
      }
  };
  relu ? each(Relu<T>{}) : each([](V v) { return v; });
}

/// dy's vector at value i, stored where it is not `first` as it stands.
template <class T, bool adds, bool masks>
struct GradientReader {
  kernels::OutputGradient<T> dy;
  [[gnu::always_inline]] Vec<T> operator()(Index i) const {
    Vec<T> g = Vec<T>::load(dy.first + i);
    if constexpr (adds) g += Vec<T>::load(dy.second + i);
    if constexpr (masks) g = Relu<T>{}.gradient(g, Vec<T>::load(dy.y + i));
    if constexpr (adds || masks) g.store(dy.whole + i);
    return g;
  }
};

template <class T, class Reader>
void sums_of(Reader read, const T* x, const T* mean, Index rows, Index stride, T* sum_dy,
             T* sum_dy_x) {
  using V = Vec<T>;
  for_columns<T>(stride, [=]<int count>(Columns<count>, Index c) {
    V sum[count], sum_x[count], m[count];
    for (int k = 0; k < count; ++k) {
      const Index channel = c + k * V::lanes;
      sum[k] = V::load(sum_dy + channel), sum_x[k] = V::load(sum_dy_x + channel);
      m[k] = V::load(mean + channel);
    }
    for (Index row = 0; row < rows; ++row)
      for (int k = 0; k < count; ++k) {
        const Index i = row * stride + c + k * V::lanes;
        const V g = read(i);
        sum[k] += g;
        sum_x[k] = fma(g, V::load(x + i) - m[k], sum_x[k]);
      }
    for (int k = 0; k < count; ++k) {
      sum[k].store(sum_dy + c + k * V::lanes);
      sum_x[k].store(sum_dy_x + c + k * V::lanes);
    }
  });
}

template <class T>
void backward_sums(const kernels::OutputGradient<T>& dy, const T* x, const T* mean, Index rows,
                   Index stride, T* sum_dy, T* sum_dy_x) {
  const auto sums = [=](auto read) { sums_of(read, x, mean, rows, stride, sum_dy, sum_dy_x); };
  if (dy.second && dy.y) return sums(GradientReader<T, true, true>{dy});
  if (dy.second) return sums(GradientReader<T, true, false>{dy});
  if (dy.y) return sums(GradientReader<T, false, true>{dy});
  sums(GradientReader<T, false, false>{dy});
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
