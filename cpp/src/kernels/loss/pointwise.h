#pragma once
// The pointwise losses and their derivatives. Each is a struct with
//   loss(x, t, e)    the value, and
//   slopes(x, t, e)  its derivatives by x, t and e,
// e being the third array of kinds.h. NaN stays NaN: a comparison with it is false, and the false
// branch of every select keeps it.

#include "simd/math.h"

namespace piste::PISTE_ISA {
namespace {

template <class T>
struct Slopes {
  Vec<T> x, t, e;
};

template <class T>
Vec<T> absolute(Vec<T> v) {
  return Vec<T>::select(v < Vec<T>::zero(), -v, v);
}

template <class T>
Vec<T> sign(Vec<T> v) {
  const Vec<T> zero = Vec<T>::zero(), one(T(1));
  return Vec<T>::select(v > zero, one, Vec<T>::select(v < zero, -one, v));
}

template <class T>
Vec<T> at_least(Vec<T> v, Vec<T> low) {
  return Vec<T>::select(v < low, low, v);
}

/// ln(1 + e^x), with its full relative accuracy at both ends.
template <class T>
Vec<T> softplus(Vec<T> x) {
  return at_least(x, Vec<T>::zero()) + log1p_unit(exp(-absolute(x)));
}

/// Slopes of a function of x - t alone.
template <class T>
Slopes<T> of_difference(Vec<T> slope) {
  return {slope, -slope, Vec<T>::zero()};
}

template <class T>
struct Squared {
  using V = Vec<T>;
  V loss(V x, V t, V) const {
    const V d = x - t;
    return d * d;
  }
  Slopes<T> slopes(V x, V t, V) const {
    const V d = x - t;
    return of_difference(d + d);
  }
};

template <class T>
struct Absolute {
  using V = Vec<T>;
  V loss(V x, V t, V) const { return absolute(x - t); }
  Slopes<T> slopes(V x, V t, V) const { return of_difference(sign(x - t)); }
};

template <class T>
struct SmoothL1 {
  using V = Vec<T>;
  V beta;
  V loss(V x, V t, V) const {
    const V d = absolute(x - t), half(T(0.5));
    return V::select(d < beta, half * d * d / beta, d - half * beta);
  }
  Slopes<T> slopes(V x, V t, V) const {
    const V d = x - t;
    return of_difference(V::select(absolute(d) < beta, d / beta, sign(d)));
  }
};

template <class T>
struct Huber {
  using V = Vec<T>;
  V delta;
  V loss(V x, V t, V) const {
    const V d = absolute(x - t), half(T(0.5));
    return V::select(d < delta, half * d * d, delta * (d - half * delta));
  }
  Slopes<T> slopes(V x, V t, V) const {
    const V d = x - t;
    return of_difference(V::select(absolute(d) < delta, d, delta * sign(d)));
  }
};

/// -(t ln x + (1 - t) ln(1 - x)), each logarithm no lower than -100: what keeps a wrong, certain
/// probability finite.
template <class T>
struct Bce {
  using V = Vec<T>;
  static V log_x(V x) { return at_least(log(x), V(T(-100))); }
  static V log_rest(V x) { return at_least(log1p(-x), V(T(-100))); }
  V loss(V x, V t, V) const { return -(t * log_x(x) + (V(T(1)) - t) * log_rest(x)); }
  Slopes<T> slopes(V x, V t, V) const {
    const V spread = at_least((V(T(1)) - x) * x, V(T(1e-12)));
    return {(x - t) / spread, log_rest(x) - log_x(x), V::zero()};
  }
};

/// p t softplus(-x) + (1 - t) softplus(x), with p the weight of positive targets. Written so that
/// no large terms cancel.
template <class T>
struct BceWithLogits {
  using V = Vec<T>;
  V loss(V x, V t, V p) const {
    const V zero = V::zero(), rest = V(T(1)) - t, positive = p * t;
    const V tail = log1p_unit(exp(-absolute(x)));
    return (rest + positive) * tail + rest * at_least(x, zero) + positive * at_least(-x, zero);
  }
  Slopes<T> slopes(V x, V t, V p) const {
    const V zero = V::zero(), one(T(1));
    const V e = exp(-absolute(x)), near = one / (one + e), far = e / (one + e);
    const V up = V::select(x < zero, far, near), down = V::select(x < zero, near, far);
    const V dt = (p - one) * log1p_unit(e) + p * at_least(-x, zero) - at_least(x, zero);
    return {(one - t) * up - p * t * down, dt, zero};
  }
};

/// t (ln t - x); 0 where t is 0, whatever x is.
template <class T>
struct KlDiv {
  using V = Vec<T>;
  V loss(V x, V t, V) const {
    const V zero = V::zero();
    return V::select(t == zero, zero, t * (log(t) - x));
  }
  Slopes<T> slopes(V x, V t, V) const { return {-t, log(t) + V(T(1)) - x, V::zero()}; }
};

/// e^t (t - x); 0 where e^t is 0.
template <class T>
struct KlDivLogTarget {
  using V = Vec<T>;
  V loss(V x, V t, V) const {
    const V zero = V::zero(), p = exp(t);
    return V::select(p == zero, zero, p * (t - x));
  }
  Slopes<T> slopes(V x, V t, V) const {
    const V zero = V::zero(), p = exp(t);
    return {-p, V::select(p == zero, zero, p * (t - x + V(T(1)))), zero};
  }
};

/// What Stirling's approximation of ln t! adds for t > 1: t ln t - t + ln(2 pi t) / 2.
template <class T>
struct Stirling {
  using V = Vec<T>;
  bool full;
  V value(V t) const {
    const V one(T(1)), half(T(0.5)), two_pi(T(6.28318530717958647692));
    if (!full) return V::zero();
    return V::select(t <= one, V::zero(), t * log(t) - t + half * log(two_pi * t));
  }
  V slope(V t) const {
    const V one(T(1)), half(T(0.5));
    if (!full) return V::zero();
    return V::select(t <= one, V::zero(), log(t) + half / t);
  }
};

/// x - t ln(x + eps)
template <class T>
struct PoissonNll {
  using V = Vec<T>;
  V eps;
  Stirling<T> rest;
  V loss(V x, V t, V) const { return x - t * log(x + eps) + rest.value(t); }
  Slopes<T> slopes(V x, V t, V) const {
    return {V(T(1)) - t / (x + eps), rest.slope(t) - log(x + eps), V::zero()};
  }
};

/// e^x - t x
template <class T>
struct PoissonNllLogInput {
  using V = Vec<T>;
  Stirling<T> rest;
  V loss(V x, V t, V) const { return exp(x) - t * x + rest.value(t); }
  Slopes<T> slopes(V x, V t, V) const { return {exp(x) - t, rest.slope(t) - x, V::zero()}; }
};

/// (ln v + (x - t)^2 / v) / 2 + constant, v = max(variance, eps); the limit counts for nothing in
/// the derivative.
template <class T>
struct GaussianNll {
  using V = Vec<T>;
  V eps, constant;
  V loss(V x, V t, V variance) const {
    const V d = x - t, v = at_least(variance, eps);
    return V(T(0.5)) * (log(v) + d * d / v) + constant;
  }
  Slopes<T> slopes(V x, V t, V variance) const {
    const V v = at_least(variance, eps), z = (x - t) / v;
    return {z, -z, V(T(0.5)) * (V(T(1)) / v - z * z)};
  }
};

/// x for t = 1, max(0, margin - x) for t = -1, the sum of both for any other t.
template <class T>
struct HingeEmbedding {
  using V = Vec<T>;
  V margin;
  V loss(V x, V t, V) const {
    const V zero = V::zero(), one(T(1));
    return V::select(t == one, zero, at_least(margin - x, zero)) + V::select(t == -one, zero, x);
  }
  Slopes<T> slopes(V x, V t, V) const {
    const V zero = V::zero(), one(T(1));
    const V hinge = V::select(margin - x < zero, zero, one);
    return {V::select(t == -one, zero, one) - V::select(t == one, zero, hinge), zero, zero};
  }
};

/// ln(1 + e^(-t x))
template <class T>
struct SoftMargin {
  using V = Vec<T>;
  V loss(V x, V t, V) const { return softplus(-t * x); }
  Slopes<T> slopes(V x, V t, V) const { return {-t * sigmoid(-t * x), V::zero(), V::zero()}; }
};

}  // namespace
}  // namespace piste::PISTE_ISA
