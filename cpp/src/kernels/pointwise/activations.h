#pragma once
// Each activation as a formula on vectors: its value, and what it makes of the gradient g of its
// output. Comparisons choose the same side as PyTorch's at kinks, and keep NaN: select(x < 0, 0, x)
// is x where x is NaN, which the max instructions are not. Formulas marked `light` take less time
// than memory does.

#include "piste/kinds.h"
#include "simd/math.h"

namespace piste::PISTE_ISA {
namespace {

template <class T>
struct Relu {
  using V = Vec<T>;
  static constexpr bool light = true;
  V operator()(V x) const { return at_least_zero(x); }
  V gradient(V g, V x) const { return V::select(x <= V::zero(), V::zero(), g); }
};

template <class T>
struct Sigmoid {
  using V = Vec<T>;
  V operator()(V x) const { return sigmoid(x); }
  V gradient(V g, V x) const {
    V rest;
    const V s = sigmoid(x, rest);
    return g * s * rest;
  }
};

template <class T>
struct Tanh {
  using V = Vec<T>;
  V operator()(V x) const { return tanh(x); }
  V gradient(V g, V x) const {
    const V t = tanh(x);
    return g * (V(T(1)) - t * t);
  }
};

/// min(max(x, low), high)
template <class T>
struct Hardtanh {
  using V = Vec<T>;
  static constexpr bool light = true;
  V low, high;
  V operator()(V x) const { return V::select(x < low, low, V::select(x > high, high, x)); }
  V gradient(V g, V x) const {
    return V::select(x <= low, V::zero(), V::select(x >= high, V::zero(), g));
  }
};

template <class T>
struct LeakyRelu {
  using V = Vec<T>;
  static constexpr bool light = true;
  V slope;
  V operator()(V x) const { return V::select(x > V::zero(), x, x * slope); }
  V gradient(V g, V x) const { return V::select(x > V::zero(), g, g * slope); }
};

/// scale * x above 0, scale * alpha * (e^(rate * x) - 1) below: elu, selu and celu.
template <class T>
struct Elu {
  using V = Vec<T>;
  V alpha, scale, rate;
  V operator()(V x) const {
    return V::select(x < V::zero(), alpha * scale * expm1(x * rate), x * scale);
  }
  V gradient(V g, V x) const {
    return V::select(x > V::zero(), g * scale, g * (alpha * scale * rate) * exp(x * rate));
  }
};

/// x * Phi(x), Phi the standard normal distribution.
template <class T>
struct Gelu {
  using V = Vec<T>;
  V operator()(V x) const {
    V gauss;
    return x * normal_cdf(x, gauss);
  }
  V gradient(V g, V x) const {
    V gauss;
    const V cdf = normal_cdf(x, gauss);
    return g * fma(x * V(static_cast<T>(0.39894228040143267794)), gauss, cdf);  // 1 / sqrt(2 pi)
  }
};

/// x * (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), which is x * sigmoid(2 u).
template <class T>
struct GeluTanh {
  using V = Vec<T>;
  static constexpr T scale = static_cast<T>(1.59576912160573071176);  // 2 sqrt(2 / pi)
  static constexpr T cubic = static_cast<T>(0.044715);
  V operator()(V x) const { return x * sigmoid(x * V(scale) * fma(x * x, V(cubic), V(T(1)))); }
  V gradient(V g, V x) const {
    const V one(T(1)), square = x * x;
    V rest;
    const V s = sigmoid(x * V(scale) * fma(square, V(cubic), one), rest);
    const V slope = V(scale) * fma(square, V(3 * cubic), one);
    return g * s * fma(x * slope, rest, one);
  }
};

template <class T>
struct Silu {
  using V = Vec<T>;
  V operator()(V x) const { return x * sigmoid(x); }
  V gradient(V g, V x) const {
    V rest;
    const V s = sigmoid(x, rest);
    return g * s * fma(x, rest, V(T(1)));
  }
};

/// x * tanh(ln(1 + e)), e = e^x: tanh(ln(1 + e)) = n / (n + 2) with n = e (e + 2).
template <class T>
struct Mish {
  using V = Vec<T>;
  static V capped(V x) { return V::select(x > V(T(20)), V(T(20)), x); }  // 1 beyond, to rounding
  V operator()(V x) const {
    const V two(T(2)), e = exp(capped(x)), n = e * (e + two);
    return x * (n / (n + two));
  }
  V gradient(V g, V x) const {
    const V one(T(1)), two(T(2)), c = capped(x), e = exp(c), n = e * (e + two);
    const V inverse = one / (n + two), slope = V(T(4)) * e * (one + e) * inverse * inverse;
    return g * fma(c, slope, n * inverse);
  }
};

/// ln(1 + e^z) = max(z, 0) + ln(1 + e^-|z|)
template <class T>
[[gnu::always_inline]] inline Vec<T> softplus(Vec<T> z) {
  return at_least_zero(z) + log1p_unit(exp(-abs(z)));
}

/// softplus(beta x) / beta, and x where beta x > threshold.
template <class T>
struct Softplus {
  using V = Vec<T>;
  V beta, threshold, inverse;
  V operator()(V x) const {
    const V z = x * beta;
    return V::select(z > threshold, x, softplus(z) * inverse);
  }
  V gradient(V g, V x) const {
    const V z = x * beta;
    return V::select(z > threshold, g, g * sigmoid(z));
  }
};

/// ln(sigmoid(x))
template <class T>
struct Logsigmoid {
  using V = Vec<T>;
  V operator()(V x) const { return -softplus(-x); }
  V gradient(V g, V x) const { return g * sigmoid(-x); }
};

/// x above the threshold, else a constant.
template <class T>
struct Threshold {
  using V = Vec<T>;
  static constexpr bool light = true;
  V threshold, value;
  V operator()(V x) const { return V::select(x <= threshold, value, x); }
  V gradient(V g, V x) const { return V::select(x <= threshold, V::zero(), g); }
};

/// min(max(x + 3, 0), 6) / 6
template <class T>
struct Hardsigmoid {
  using V = Vec<T>;
  static constexpr bool light = true;
  V operator()(V x) const {
    const V zero = V::zero(), one(T(1)), six(T(6)), y = x + V(T(3));
    return V::select(y < zero, zero, V::select(y > six, one, y * V(T(1) / T(6))));
  }
  V gradient(V g, V x) const {
    const V sixth = g * V(T(1) / T(6)), zero = V::zero();
    return V::select(x > V(T(-3)), V::select(x < V(T(3)), sixth, zero), zero);
  }
};

/// x * hardsigmoid(x)
template <class T>
struct Hardswish {
  using V = Vec<T>;
  static constexpr bool light = true;
  V operator()(V x) const { return x * Hardsigmoid<T>{}(x); }
  V gradient(V g, V x) const {
    const V inside = g * fma(x, V(T(1) / T(3)), V(T(0.5)));
    return V::select(x <= V(T(-3)), V::zero(), V::select(x >= V(T(3)), g, inside));
  }
};

template <class T>
struct Tanhshrink {
  using V = Vec<T>;
  V operator()(V x) const { return x - tanh(x); }
  V gradient(V g, V x) const {
    const V t = tanh(x);
    return g * t * t;
  }
};

template <class T>
struct Softsign {
  using V = Vec<T>;
  V operator()(V x) const { return x / (V(T(1)) + abs(x)); }
  V gradient(V g, V x) const {
    const V d = V(T(1)) + abs(x);
    return g / (d * d);
  }
};

/// use(formula) with the formula of `kind` and its parameters.
template <class T, class Use>
void with_activation(Activation kind, T a, T b, Use use) {
  using V = Vec<T>;
  const V va(a), vb(b), one(T(1));
  switch (kind) {
    case Activation::relu:
      return use(Relu<T>{});
    case Activation::sigmoid:
      return use(Sigmoid<T>{});
    case Activation::tanh:
      return use(Tanh<T>{});
    case Activation::relu6:
      return use(Hardtanh<T>{V::zero(), V(T(6))});
    case Activation::leaky_relu:
      return use(LeakyRelu<T>{va});
    case Activation::elu:
      return use(Elu<T>{va, one, one});
    case Activation::selu:  // Klambauer et al. 2017
      return use(Elu<T>{V(static_cast<T>(1.6732632423543772848)),
                        V(static_cast<T>(1.0507009873554804934)), one});
    case Activation::celu:
      return use(Elu<T>{va, one, one / va});
    case Activation::gelu:
      return use(Gelu<T>{});
    case Activation::gelu_tanh:
      return use(GeluTanh<T>{});
    case Activation::silu:
      return use(Silu<T>{});
    case Activation::mish:
      return use(Mish<T>{});
    case Activation::softplus:
      return use(Softplus<T>{va, vb, one / va});
    case Activation::logsigmoid:
      return use(Logsigmoid<T>{});
    case Activation::threshold:
      return use(Threshold<T>{va, vb});
    case Activation::hardswish:
      return use(Hardswish<T>{});
    case Activation::hardsigmoid:
      return use(Hardsigmoid<T>{});
    case Activation::hardtanh:
      return use(Hardtanh<T>{va, vb});
    case Activation::tanhshrink:
      return use(Tanhshrink<T>{});
    case Activation::softsign:
      return use(Softsign<T>{});
  }
}

}  // namespace
}  // namespace piste::PISTE_ISA
