#pragma once
// Elementary functions of vectors, by range reduction and series: a few units in the last place.
// For *.isa.cpp only, like vec.h.

#include <limits>

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

template <class T>
struct Constants;
template <>
struct Constants<float> {
  static constexpr float exp_max = 88.72284f,
                         exp_min = -87.33655f;  // ln of largest, smallest normal
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;  // high: few bits
  static constexpr int mantissa = 23, bias = 127;
  static constexpr int exp_terms = 7, log_terms = 5;
};
template <>
struct Constants<double> {
  static constexpr double exp_max = 709.782712893384, exp_min = -708.396418532264;
  static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr int exp_terms = 13, log_terms = 11;
};

/// Nearest whole number, for |x| far below 2^mantissa.
template <class T>
Vec<T> round_nearest(Vec<T> x) {
  // Adding 1.5 * 2^mantissa leaves no room for a fraction.
  const Vec<T> magic(static_cast<T>(3ll << (Constants<T>::mantissa - 1)));
  Vec<T> sum = x + magic;
  asm("" : "+m"(sum));  // keeps the compiler from cancelling the two
  return sum - magic;
}

/// 2^n for whole n within the exponent's range.
template <class T>
Vec<T> power_of_two(Vec<T> n) {
  using Mask = typename Vec<T>::Mask;
  using C = Constants<T>;
  const Mask bits = (__builtin_convertvector(n.v, Mask) + C::bias) << C::mantissa;
  return (typename Vec<T>::Vector)(bits);
}

/// e^x - 1 for |x| <= ln(2)/2 or so, by its series.
template <class T>
Vec<T> expm1_reduced(Vec<T> r) {
  T factorial = 1;
  T inverse[Constants<T>::exp_terms + 1];
  for (int k = 1; k <= Constants<T>::exp_terms; ++k) {
    factorial *= static_cast<T>(k);
    inverse[k] = 1 / factorial;
  }
  Vec<T> sum(inverse[Constants<T>::exp_terms]);
  for (int k = Constants<T>::exp_terms - 1; k >= 1; --k) sum = fma(sum, r, Vec<T>(inverse[k]));
  return sum * r;
}

/// e^x; 0 below the smallest normal number, infinity above the largest, NaN for NaN.
template <class T>
Vec<T> exp(Vec<T> x) {
  using C = Constants<T>;
  using V = Vec<T>;
  const V high(C::exp_max), low(C::exp_min);
  V clamped = V::select(x > high, high, x);
  clamped = V::select(clamped < low, low, clamped);
  const V n = round_nearest(clamped * V(static_cast<T>(1.4426950408889634074)));
  V r = clamped - n * V(C::ln2_high);
  r = r - n * V(C::ln2_low);
  // 2^n in two factors: n may be one above the largest exponent.
  const V half = round_nearest(n * V(T(0.5)));
  V y = (expm1_reduced(r) + V(T(1))) * power_of_two(half) * power_of_two(n - half);
  constexpr T infinity = std::numeric_limits<T>::infinity();  // constexpr: no call, no symbol
  y = V::select(x > high, V(infinity), y);
  return V::select(x < low, V::zero(), y);
}

/// ln x; -infinity at 0 (and for subnormal numbers, which are read as 0), NaN below 0.
template <class T>
Vec<T> log(Vec<T> x) {
  using C = Constants<T>;
  using V = Vec<T>;
  using Mask = typename V::Mask;
  const Mask bits = (Mask)x.v;
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)).
  V e = __builtin_convertvector((bits >> C::mantissa) - C::bias, typename V::Vector);
  const Mask fraction = ((Mask{} + 1) << C::mantissa) - 1;
  V m = (typename V::Vector)((bits & fraction) | ((Mask{} + C::bias) << C::mantissa));
  const Mask large = m > V(static_cast<T>(1.4142135623730951));
  m = V::select(large, m * V(T(0.5)), m);
  e = V::select(large, e + V(T(1)), e);
  // ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172.
  const V s = (m - V(T(1))) / (m + V(T(1))), z = s * s;
  V sum(T(1) / (2 * C::log_terms + 1));
  for (int k = C::log_terms - 1; k >= 1; --k) sum = fma(sum, z, V(T(1) / (2 * k + 1)));
  const V two_s = s + s;
  V y = fma(e, V(C::ln2_low), two_s * z * sum);  // the small parts first
  y = fma(e, V(C::ln2_high), two_s + y);
  using Limits = std::numeric_limits<T>;
  constexpr T inf = Limits::infinity(), smallest = Limits::min(), nan = Limits::quiet_NaN();
  const V infinity(inf);
  y = V::select(x < V(smallest), -infinity, y);
  y = V::select(x < V::zero(), V(nan), y);
  return V::select(x < infinity, y, x);  // infinity and NaN stay
}

/// ln(1 + x) with its full relative accuracy near 0: what rounding lost in 1 + x is added back.
template <class T>
Vec<T> log1p(Vec<T> x) {
  using V = Vec<T>;
  constexpr T inf = std::numeric_limits<T>::infinity();
  const V one(T(1)), u = one + x, y = log(u);
  const V lost = x - (u - one);
  const V exact = V::select(lost == V::zero(), y, y + lost / u);
  return V::select(x < V(inf), exact, y);
}

/// 1 / (1 + e^-x) without overflow.
template <class T>
Vec<T> sigmoid(Vec<T> x) {
  using V = Vec<T>;
  const V e = exp(V::select(x < V::zero(), x, -x));  // e^-|x|
  const V one(T(1)), positive = one / (one + e);
  return V::select(x < V::zero(), e / (one + e), positive);
}

/// tanh x: e^-2|x| far from 0, and (e^2|x| - 1) / (e^2|x| + 1) by the series near it.
template <class T>
Vec<T> tanh(Vec<T> x) {
  using V = Vec<T>;
  const V one(T(1)), two(T(2)), a = V::select(x < V::zero(), -x, x);
  const V e = exp(-two * a);
  const V far = (one - e) / (one + e);
  const V m = expm1_reduced(V::select(a < V(T(0.17)), two * a, V::zero()));
  const V magnitude = V::select(a < V(T(0.17)), m / (m + two), far);
  const V y = V::select(x < V::zero(), -magnitude, magnitude);
  return V::select(x == x, y, x);
}

}  // namespace
}  // namespace piste::PISTE_ISA
