#include "kernels/pointwise/pointwise.h"

#include "simd/math.h"

namespace piste::PISTE_ISA {
namespace {

// y[i] = f(x[i]...) over whole vectors, then once more over the tail, padded to a vector: every
// value goes through the same arithmetic wherever it stands.
template <class T, class F, class... X>
void map(F f, T* y, Index n, const X*... x) {
  constexpr int lanes = Vec<T>::lanes;
  Index i = 0;
  for (; i + lanes <= n; i += lanes) f(Vec<T>::load(x + i)...).store(y + i);
  if (const int tail = static_cast<int>(n - i))
    f(Vec<T>::load_partial(x + i, tail)...).store_partial(y + i, tail);
}

template <class T>
void forward(Activation kind, const T* x, T* y, Index n, T a, T b) {
  using V = Vec<T>;
  const V zero = V::zero(), one(T(1));
  switch (kind) {
    case Activation::relu:
      // x < 0 ? 0 : x and not max(x, 0): the comparison is false for NaN, which so stays.
      return map([=](V v) { return V::select(v < zero, zero, v); }, y, n, x);
    case Activation::sigmoid:
      return map([](V v) { return sigmoid(v); }, y, n, x);
    case Activation::tanh:
      return map([](V v) { return tanh(v); }, y, n, x);
    case Activation::relu6:
      a = 0, b = 6;
      [[fallthrough]];
    case Activation::hardtanh:
      return map([=](V v) { return V::select(v < V(a), V(a), V::select(v > V(b), V(b), v)); }, y, n,
                 x);
    case Activation::leaky_relu:
      return map([=](V v) { return V::select(v < zero, v * V(a), v); }, y, n, x);
    case Activation::silu:
      return map([](V v) { return v * sigmoid(v); }, y, n, x);
    case Activation::softsign:
      return map([=](V v) { return v / (one + V::select(v < zero, -v, v)); }, y, n, x);
    case Activation::tanhshrink:
      return map([](V v) { return v - tanh(v); }, y, n, x);
    default:
      return;  // ops refuse what is not listed here
  }
}

template <class T>
void backward(Activation kind, const T* dy, const T* x, T* dx, Index n, T a, T b) {
  using V = Vec<T>;
  const V zero = V::zero(), one(T(1));
  switch (kind) {
    case Activation::relu:
      return map([=](V g, V v) { return V::select(v <= zero, zero, g); }, dx, n, dy, x);
    case Activation::sigmoid:
      return map(
          [=](V g, V v) {
            const V s = sigmoid(v);
            return g * s * (one - s);
          },
          dx, n, dy, x);
    case Activation::tanh:
      return map(
          [=](V g, V v) {
            const V t = tanh(v);
            return g * (one - t * t);
          },
          dx, n, dy, x);
    case Activation::relu6:
      a = 0, b = 6;
      [[fallthrough]];
    case Activation::hardtanh:
      return map(
          [=](V g, V v) { return V::select(v <= V(a), zero, V::select(v >= V(b), zero, g)); }, dx,
          n, dy, x);
    case Activation::leaky_relu:
      return map([=](V g, V v) { return V::select(v <= zero, g * V(a), g); }, dx, n, dy, x);
    case Activation::silu:
      return map(
          [=](V g, V v) {
            const V s = sigmoid(v);
            return g * s * (one + v * (one - s));
          },
          dx, n, dy, x);
    case Activation::softsign:
      return map(
          [=](V g, V v) {
            const V d = one + V::select(v < zero, -v, v);
            return g / (d * d);
          },
          dx, n, dy, x);
    case Activation::tanhshrink:
      return map(
          [=](V g, V v) {
            const V t = tanh(v);
            return g * t * t;
          },
          dx, n, dy, x);
    default:
      return;
  }
}

template <class T>
void add(const T* x, const T* z, T* y, Index n) {
  map([](Vec<T> v, Vec<T> w) { return v + w; }, y, n, x, z);
}

// A counter-based generator: SplitMix64's finaliser (Steele, Lea, Flood 2014) of key + counter.
std::uint64_t random_bits(std::uint64_t key, std::uint64_t counter) {
  std::uint64_t z = key + 0x9e3779b97f4a7c15u * (counter + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

template <class T>
void dropout(const T* x, T* y, Index n, T p, std::uint64_t key, std::uint64_t offset) {
  const T scale = p < 1 ? 1 / (1 - p) : 0;
  const double threshold = static_cast<double>(p) * 9007199254740992.0;  // 2^53
  const std::uint64_t dropped = static_cast<std::uint64_t>(threshold);
  for (Index i = 0; i < n; ++i)
    y[i] = random_bits(key, offset + static_cast<std::uint64_t>(i)) >> 11 < dropped ? T(0)
                                                                                    : x[i] * scale;
}

}  // namespace

extern const kernels::PointwiseKernels<float> pointwise_f32{forward<float>, backward<float>,
                                                            add<float>, dropout<float>};
extern const kernels::PointwiseKernels<double> pointwise_f64{forward<double>, backward<double>,
                                                             add<double>, dropout<double>};

}  // namespace piste::PISTE_ISA
