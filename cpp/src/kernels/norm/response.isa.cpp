#include "kernels/norm/response.h"

#include "simd/map.h"
#include "simd/math.h"

namespace piste::PISTE_ISA {
namespace {

using kernels::ResponseGeometry;

struct Range {
  Index first, end;
};

Range window(const ResponseGeometry& g, Index channel, Index before, Index after) {
  const Index first = channel - before, end = channel + after + 1;
  return {first < 0 ? 0 : first, end > g.channels ? g.channels : end};
}

/// sum[i] = sum over the channels of `range` of f(the channel's value i), one after the other.
template <class T, class F>
void sum_channels(Range range, Index stride, const T* x, Index pixels, T* sum, F f) {
  for (Index i = 0; i < pixels; ++i) sum[i] = T(0);
  for (Index c = range.first; c < range.end; ++c)
    map([=](Vec<T> s, Vec<T> v) { return f(s, v); }, sum, pixels, static_cast<const T*>(sum),
        x + c * stride);
}

/// d = k + alpha * (sum of squares over the window).
template <class T>
void bases(const ResponseGeometry& g, T alpha, T k, const T* x, Index channel, T* d) {
  sum_channels(window(g, channel, g.before, g.after), g.plane, x, g.pixels, d,
               [](Vec<T> s, Vec<T> v) { return fma(v, v, s); });
  map([=](Vec<T> s) { return fma(s, Vec<T>(alpha), Vec<T>(k)); }, d, g.pixels,
      static_cast<const T*>(d));
}

template <class T>
[[gnu::always_inline]] inline Vec<T> power(Vec<T> base, T exponent) {
  return exp(log(base) * Vec<T>(exponent));
}

template <class T>
void forward(const ResponseGeometry& g, T alpha, T beta, T k, const T* x, T* y) {
  T d[kernels::response_block];
  for (Index c = 0; c < g.channels; ++c) {
    bases(g, alpha, k, x, c, d);
    map([=](Vec<T> v, Vec<T> base) { return v * power(base, -beta); }, y + c * g.plane, g.pixels,
        x + c * g.plane, static_cast<const T*>(d));
  }
}

// dx = dy * d^-beta - 2 alpha beta x * (sum of dy * x * d^(-beta - 1) over the channels whose
// windows have this one).
template <class T>
void backward(const ResponseGeometry& g, T alpha, T beta, T k, const T* dy, const T* x, T* dx,
              T* scratch) {
  T* powers = scratch;
  T* terms = scratch + g.channels * kernels::response_block;
  T d[kernels::response_block];
  for (Index c = 0; c < g.channels; ++c) {
    bases(g, alpha, k, x, c, d);
    T* p = powers + c * kernels::response_block;
    map([=](Vec<T> base) { return power(base, -beta); }, p, g.pixels, static_cast<const T*>(d));
    map([=](Vec<T> grad, Vec<T> v, Vec<T> power_c,
            Vec<T> base) { return grad * v * (power_c / base); },
        terms + c * kernels::response_block, g.pixels, dy + c * g.plane, x + c * g.plane,
        static_cast<const T*>(p), static_cast<const T*>(d));
  }
  const T factor = T(-2) * alpha * beta;
  for (Index c = 0; c < g.channels; ++c) {
    sum_channels(window(g, c, g.after, g.before), kernels::response_block,
                 static_cast<const T*>(terms), g.pixels, d,
                 [](Vec<T> s, Vec<T> v) { return s + v; });
    map([=](Vec<T> grad, Vec<T> v, Vec<T> power_c,
            Vec<T> sum) { return fma(grad, power_c, Vec<T>(factor) * v * sum); },
        dx + c * g.plane, g.pixels, dy + c * g.plane, x + c * g.plane,
        static_cast<const T*>(powers + c * kernels::response_block), static_cast<const T*>(d));
  }
}

}  // namespace

extern const kernels::ResponseKernels<float> response_f32{forward<float>, backward<float>};
extern const kernels::ResponseKernels<double> response_f64{forward<double>, backward<double>};

}  // namespace piste::PISTE_ISA
