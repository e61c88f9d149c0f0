#include "kernels/pointwise/pointwise.h"

#include "simd/vec.h"

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
void relu(const T* x, T* y, Index n) {
  // x < 0 ? 0 : x and not max(x, 0): the comparison is false for NaN, which so stays.
  map([](Vec<T> v) { return Vec<T>::select(v < Vec<T>::zero(), Vec<T>::zero(), v); }, y, n, x);
}

template <class T>
void relu_backward(const T* dy, const T* x, T* dx, Index n) {
  // A NaN input passes its gradient on, as in PyTorch: only x <= 0 stops it.
  map([](Vec<T> g, Vec<T> v) { return Vec<T>::select(v <= Vec<T>::zero(), Vec<T>::zero(), g); }, dx,
      n, dy, x);
}

}  // namespace

extern const kernels::PointwiseKernels<float> pointwise_f32{relu<float>, relu_backward<float>};
extern const kernels::PointwiseKernels<double> pointwise_f64{relu<double>, relu_backward<double>};

}  // namespace piste::PISTE_ISA
