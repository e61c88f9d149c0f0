#pragma once
// Elementary functions of vectors, by range reduction and series: a few units in the last place.
// For *.isa.cpp only, like vec.h. Inlined always: a call would load all constants anew.

#include <limits>

#include "simd/vec.h"

namespace piste::PISTE_ISA {
namespace {

template <class T>
struct Constants;
template <>
struct Constants<float> {
  // The largest whose e^x is finite; ln of the smallest normal number.
  static constexpr float exp_max = 88.722832f, exp_min = -87.33655f;
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;  // high: few bits
  static constexpr int mantissa = 23, bias = 127;
  static constexpr int exp_terms = 7, log_terms = 5, log1p_terms = 7;
};
template <>
struct Constants<double> {
  static constexpr double exp_max = 709.7827128933838, exp_min = -708.396418532264;
  static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr int exp_terms = 13, log_terms = 11, log1p_terms = 16;
};

/// |magnitude| with the sign of `sign`, zeros and NaN included.
template <class T>
[[gnu::always_inline]] inline Vec<T> copy_sign(Vec<T> magnitude, Vec<T> sign) {
  using Mask = typename Vec<T>::Mask;
  const Mask top = Mask{} + std::numeric_limits<typename Vec<T>::Int>::min();
  return (typename Vec<T>::Vector)(((Mask)magnitude.v & ~top) | ((Mask)sign.v & top));
}

template <class T>
[[gnu::always_inline]] inline Vec<T> sqrt(Vec<T> x) {
  Vec<T> result;  // the loop becomes one instruction
  for (int i = 0; i < Vec<T>::lanes; ++i)
    result.v[i] = sizeof(T) == 4 ? __builtin_sqrtf(x.v[i]) : __builtin_sqrt(x.v[i]);
  return result;
}

template <class T>
[[gnu::always_inline]] inline Vec<T> abs(Vec<T> x) {
  return copy_sign(x, Vec<T>::zero());
}

/// x = n ln 2 + r with whole n and |r| <= ln(2) / 2, for x within exp's range.
template <class T>
struct Reduced {
  using C = Constants<T>;
  using Bits = typename Vec<T>::Bits;
  Vec<T> r;
  Bits exponent;  // n, where a number's bits have its exponent

  explicit Reduced(Vec<T> x) {
    // The sum leaves no room for a fraction, and its last bits are those of n.
    const Vec<T> magic(static_cast<T>(3ll << (C::mantissa - 1)));
    const Vec<T> sum = fma(x, Vec<T>(static_cast<T>(1.4426950408889634074)), magic);
    const Vec<T> n = sum - magic;
    r = fma(-n, Vec<T>(C::ln2_high), x);
    r = fma(-n, Vec<T>(C::ln2_low), r);
    exponent = (Bits)sum.v << C::mantissa;
  }
  /// x * 2^n, for results within the range of normal numbers.
  Vec<T> scale(Vec<T> x) const { return (typename Vec<T>::Vector)((Bits)x.v + exponent); }
};

/// terms[0] + terms[1] x + ... + terms[n - 1] x^(n - 1) by halves (Estrin), which waits for far
/// fewer multiplications in a row than Horner's rule does.
template <int first, int n, class T, int all>
[[gnu::always_inline]] inline Vec<T> polynomial(const T (&terms)[all], const Vec<T>* squares) {
  if constexpr (n == 1) {
    return Vec<T>(terms[first]);
  } else {
    constexpr int level = 31 - __builtin_clz(n - 1), half = 1 << level;  // x^half = squares[level]
    return fma(polynomial<first + half, n - half>(terms, squares), squares[level],
               polynomial<first, half>(terms, squares));
  }
}
template <class T, int n>
[[gnu::always_inline]] inline Vec<T> polynomial(const T (&terms)[n], Vec<T> x) {
  Vec<T> squares[6];
  squares[0] = x;
  for (int level = 1; level < 6; ++level) squares[level] = squares[level - 1] * squares[level - 1];
  return polynomial<0, n>(terms, squares);
}

/// e^x - 1 for |x| <= ln(2)/2 or so, by its series.
template <class T>
[[gnu::always_inline]] inline Vec<T> expm1_reduced(Vec<T> r) {
  T inverse_factorials[Constants<T>::exp_terms];
  T factorial = 1;
  for (int k = 0; k < Constants<T>::exp_terms; ++k) {
    factorial *= static_cast<T>(k + 1);
    inverse_factorials[k] = 1 / factorial;
  }
  return r * polynomial(inverse_factorials, r);
}

/// artanh(s) / s - 1 by its series, with z = s^2.
template <class T, int n>
[[gnu::always_inline]] inline Vec<T> artanh_rest(Vec<T> z) {
  T terms[n];
  for (int k = 0; k < n; ++k) terms[k] = T(1) / static_cast<T>(2 * k + 3);
  return z * polynomial(terms, z);
}

/// e^x; 0 below the smallest normal number, infinity above the largest, NaN for NaN.
template <class T>
[[gnu::always_inline]] inline Vec<T> exp(Vec<T> x) {
  using C = Constants<T>;
  using V = Vec<T>;
  const Reduced<T> reduced(x);
  V y = reduced.scale(expm1_reduced(reduced.r) + V(T(1)));
  constexpr T infinity = std::numeric_limits<T>::infinity();  // constexpr: no call, no symbol
  y = V::select(x <= V(C::exp_max), y, x + V(infinity));      // NaN takes the second, and stays
  return V::select(x < V(C::exp_min), V::zero(), y);
}

/// e^x - 1, exact near 0 too.
template <class T>
[[gnu::always_inline]] inline Vec<T> expm1(Vec<T> x) {
  using C = Constants<T>;
  using V = Vec<T>;
  const Reduced<T> reduced(x);
  // 2^n (e^r - 1) + (2^n - 1), half of it, as n may be one above the largest exponent.
  const V half = reduced.scale(V(T(0.5)));
  const V y = fma(expm1_reduced(reduced.r), half, half - V(T(0.5)));
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const V bounded = V::select(x < V(T(-60)), V(T(-1)), y + y);
  return V::select(x > V(C::exp_max), V(infinity), bounded);
}

/// ln x; -infinity at 0 (and for subnormal numbers, which are read as 0), NaN below 0.
template <class T>
[[gnu::always_inline]] inline Vec<T> log(Vec<T> x) {
  using C = Constants<T>;
  using V = Vec<T>;
  using Mask = typename V::Mask;
  const Mask bits = (Mask)x.v;
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)). The exponent's bits become a number as the last
  // bits of 2^mantissa: not every ISA converts 64-bit integers.
  const V large_unit(static_cast<T>(1ll << C::mantissa));
  const V with_exponent = (typename V::Vector)((bits >> C::mantissa) | (Mask)large_unit.v);
  V e = with_exponent - V(static_cast<T>((1ll << C::mantissa) + C::bias));
  const Mask fraction = ((Mask{} + 1) << C::mantissa) - 1;
  V m = (typename V::Vector)((bits & fraction) | ((Mask{} + C::bias) << C::mantissa));
  const Mask large = m > V(static_cast<T>(1.4142135623730951));
  m = V::select(large, m * V(T(0.5)), m);
  e = V::select(large, e + V(T(1)), e);
  // ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172.
  const V s = (m - V(T(1))) / (m + V(T(1))), z = s * s;
  const V two_s = s + s;
  V y = fma(e, V(C::ln2_low), two_s * artanh_rest<T, C::log_terms>(z));  // the small parts first
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
[[gnu::always_inline]] inline Vec<T> log1p(Vec<T> x) {
  using V = Vec<T>;
  constexpr T inf = std::numeric_limits<T>::infinity();
  const V one(T(1)), u = one + x, y = log(u);
  const V lost = x - (u - one);
  const V exact = V::select(lost == V::zero(), y, y + lost / u);
  return V::select(x < V(inf), exact, y);
}

/// ln(1 + x) = 2 artanh(x / (2 + x)) for 0 <= x <= 1, exact near 0 too.
template <class T>
[[gnu::always_inline]] inline Vec<T> log1p_unit(Vec<T> x) {
  using V = Vec<T>;
  const V s = x / (x + V(T(2))), two_s = s + s;
  return fma(two_s, artanh_rest<T, Constants<T>::log1p_terms>(s * s), two_s);
}

/// 1 / (1 + e^-x) without overflow; `complement` becomes 1 - that, without cancellation.
template <class T>
[[gnu::always_inline]] inline Vec<T> sigmoid(Vec<T> x, Vec<T>& complement) {
  using V = Vec<T>;
  const V e = exp(-abs(x));
  const V larger = V(T(1)) / (V(T(1)) + e), smaller = e * larger;
  complement = V::select(x < V::zero(), larger, smaller);
  return V::select(x < V::zero(), smaller, larger);
}

template <class T>
[[gnu::always_inline]] inline Vec<T> sigmoid(Vec<T> x) {
  using V = Vec<T>;
  const V e = exp(-abs(x)), one(T(1));
  return V::select(x < V::zero(), e, one) / (one + e);
}

/// tanh x = -m / (m + 2) with m = e^-2x - 1, for |x|.
template <class T>
[[gnu::always_inline]] inline Vec<T> tanh(Vec<T> x) {
  using V = Vec<T>;
  const V a = abs(x), m = expm1(-a - a);
  return copy_sign(m / (m + V(T(2))), x);
}

// erfc(|x| / sqrt 2) e^(x^2 / 2) / (2 t) as a polynomial of a linear function of t =
// 1 / (1 + |x| / 5), interpolated at Chebyshev's points up to the |x| where e^(-x^2 / 2) ends:
// within 2e-9 and 4e-17.
template <class T>
struct NormalTail;
template <>
struct NormalTail<float> {
  static constexpr float slope = 2.7407408f, offset = -1.7407408f;
  static constexpr float terms[] = {
      0.1984769335f,   0.1484102474f,    0.08916643405f,   0.04283051329f,   0.01604348221f,
      0.004394187696f, 0.0007192689384f, -5.241849348e-6f, -3.141714171e-5f, -4.410680524e-6f};
};
template <>
struct NormalTail<double> {
  static constexpr double slope = 2.259067357512953344, offset = -1.259067357512953344;
  static constexpr double terms[] = {
      0.170503018457361065,      0.140307914741569518,    0.0967657975952471288,
      0.0553690597048856862,     0.0256670185629855484,   0.00915617194187264054,
      0.00219891004366542896,    0.000170153468900073494, -0.000104292767671645159,
      -0.0000382276678263263403, 9.29345433474036309e-7,  3.52130122789232951e-6,
      3.61288342319434067e-7,    -3.13007825503869603e-7, -5.74715649500344124e-8,
      3.16472602521905872e-8,    6.72324201953967512e-9,  -3.70082447699244466e-9,
      -6.46477077930115062e-10,  4.34933586882670493e-10, 3.98498090013857438e-11,
      -3.45864631468233238e-11};
};

/// The standard normal distribution, (1 + erf(x / sqrt 2)) / 2; `gauss` becomes e^(-x^2 / 2).
template <class T>
[[gnu::always_inline]] inline Vec<T> normal_cdf(Vec<T> x, Vec<T>& gauss) {
  using V = Vec<T>;
  using N = NormalTail<T>;
  gauss = exp(x * x * V(T(-0.5)));
  const V one(T(1)), t = one / fma(abs(x), V(T(0.2)), one), s = fma(t, V(N::slope), V(N::offset));
  const V tail = polynomial(N::terms, s) * (t * gauss);
  return V::select(x < V::zero(), tail, one - tail);
}

}  // namespace
}  // namespace piste::PISTE_ISA
