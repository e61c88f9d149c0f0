#include "kernels/softmax/softmax.h"

#include "kernels/softmax/row.h"

namespace piste::PISTE_ISA {
namespace {

template <class T>
void softmax(const T* x, T* y, Index rows, Index stride, Index channels) {
  for (Index row = 0; row < rows; ++row, x += stride, y += stride) {
    const Vec<T> inverse(T(1) / exp_sum(x, channels, row_max(x, channels), y));
    for_row(y, channels, T(0),
            [&](Vec<T> v, Index i, int count) { (v * inverse).store_partial(y + i, count); });
  }
}

template <class T>
void log_softmax(const T* x, T* y, Index rows, Index stride, Index channels) {
  for (Index row = 0; row < rows; ++row, x += stride, y += stride) {
    const T largest = row_max(x, channels);
    const Vec<T> log_sum = log(Vec<T>(exp_sum(x, channels, largest, static_cast<T*>(nullptr))));
    for_row(x, channels, T(0), [&](Vec<T> v, Index i, int count) {
      (v - Vec<T>(largest) - log_sum).store_partial(y + i, count);
    });
  }
}

/// Sum over a row of f(dy, y).
template <class T, class F>
T row_sum(const T* dy, const T* y, Index n, F f) {
  Vec<T> sum = Vec<T>::zero();
  for_row(dy, n, T(0),
          [&](Vec<T> g, Index i, int count) { sum += f(g, Vec<T>::load_partial(y + i, count)); });
  return sum.sum();
}

template <class T>
void softmax_backward(const T* dy, const T* y, T* dx, Index rows, Index stride, Index channels) {
  for (Index row = 0; row < rows; ++row, dy += stride, y += stride, dx += stride) {
    const Vec<T> dot(row_sum(dy, y, channels, [](Vec<T> g, Vec<T> v) { return g * v; }));
    for_row(dy, channels, T(0), [&](Vec<T> g, Index i, int count) {
      (Vec<T>::load_partial(y + i, count) * (g - dot)).store_partial(dx + i, count);
    });
  }
}

template <class T>
void log_softmax_backward(const T* dy, const T* y, T* dx, Index rows, Index stride,
                          Index channels) {
  for (Index row = 0; row < rows; ++row, dy += stride, y += stride, dx += stride) {
    const Vec<T> total(row_sum(dy, y, channels, [](Vec<T> g, Vec<T>) { return g; }));
    for_row(dy, channels, T(0), [&](Vec<T> g, Index i, int count) {
      (g - exp(Vec<T>::load_partial(y + i, count)) * total).store_partial(dx + i, count);
    });
  }
}

}  // namespace

extern const kernels::SoftmaxKernels<float> softmax_f32{
    softmax<float>, log_softmax<float>, softmax_backward<float>, log_softmax_backward<float>};
extern const kernels::SoftmaxKernels<double> softmax_f64{
    softmax<double>, log_softmax<double>, softmax_backward<double>, log_softmax_backward<double>};

}  // namespace piste::PISTE_ISA
