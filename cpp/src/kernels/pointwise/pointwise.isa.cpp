#include "kernels/pointwise/pointwise.h"

#include "kernels/pointwise/activations.h"
#include "simd/map.h"

namespace piste::PISTE_ISA {
namespace {

using kernels::Stores;

/// map() for a formula of `F`. Streaming pays for light ones only: stores past the caches that
/// follow each other slowly, as a long formula's do, take twice the time of others (Zen 4).
template <class F, class T, class G, class... X>
void map_by(Stores stores, G g, T* y, Index n, const X*... x) {
  if constexpr (requires { F::light; })
    map_to(stores == Stores::streamed, g, y, n, x...);
  else
    map(g, y, n, x...);
}

template <class T>
void forward(Activation kind, const T* x, T* y, Index n, T a, T b, Stores stores) {
  with_activation(kind, a, b, [=](auto f) { map_by<decltype(f)>(stores, f, y, n, x); });
}

template <class T>
void backward(Activation kind, const T* dy, const T* x, T* dx, Index n, T a, T b, Stores stores) {
  with_activation(kind, a, b, [=](auto f) {
    const auto gradient = [=](Vec<T> g, Vec<T> v) { return f.gradient(g, v); };
    map_by<decltype(f)>(stores, gradient, dx, n, dy, x);
  });
}

template <class T>
void prelu(const T* x, const T* weight, T* y, Index rows, Index width) {
  for (Index row = 0; row < rows; ++row, x += width, y += width)
    map([](Vec<T> v, Vec<T> w) { return LeakyRelu<T>{w}(v); }, y, width, x, weight);
}

template <class T>
void prelu_backward(const T* dy, const T* x, const T* weight, T* dx, T* dweight, Index rows,
                    Index width) {
  for (Index row = 0; row < rows; ++row, dy += width, x += width, dx += width) {
    map([](Vec<T> sum, Vec<T> g,
           Vec<T> v) { return sum + Vec<T>::select(v > Vec<T>::zero(), Vec<T>::zero(), g * v); },
        dweight, width, static_cast<const T*>(dweight), dy, x);
    map([](Vec<T> g, Vec<T> v, Vec<T> w) { return LeakyRelu<T>{w}.gradient(g, v); }, dx, width, dy,
        x, weight);
  }
}

template <class T>
void add(const T* x, const T* z, T* y, Index n) {
  map([](Vec<T> v, Vec<T> w) { return v + w; }, y, n, x, z);
}

template <class T>
void add_relu(const T* x, const T* z, T* y, Index n) {
  map([](Vec<T> v, Vec<T> w) { return Relu<T>{}(v + w); }, y, n, x, z);
}

template <class T>
void output_gradient(const kernels::OutputGradient<T>& g, Index n) {
  using V = Vec<T>;
  if (!g.y) return add(g.first, g.second, g.whole, n);
  if (!g.second)
    return map([](V v, V y) { return Relu<T>{}.gradient(v, y); }, g.whole, n, g.first, g.y);
  map([](V v, V w, V y) { return Relu<T>{}.gradient(v + w, y); }, g.whole, n, g.first, g.second,
      g.y);
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

extern const kernels::PointwiseKernels<float> pointwise_f32{
    forward<float>, backward<float>, prelu<float>,           prelu_backward<float>,
    add<float>,     add_relu<float>, output_gradient<float>, dropout<float>};
extern const kernels::PointwiseKernels<double> pointwise_f64{
    forward<double>, backward<double>, prelu<double>,           prelu_backward<double>,
    add<double>,     add_relu<double>, output_gradient<double>, dropout<double>};

}  // namespace piste::PISTE_ISA
