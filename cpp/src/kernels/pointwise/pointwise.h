#pragma once

#include <cstdint>

#include "kernels/gradient.h"
#include "kernels/stores.h"
#include "piste/index.h"
#include "piste/kinds.h"

namespace piste::kernels {

template <class T>
struct PointwiseKernels {
  /// y[i] = f(x[i]; a, b). NaN stays NaN in every lane.
  void (*forward)(Activation kind, const T* x, T* y, Index n, T a, T b, Stores stores);
  /// dx[i] = dy[i] * f'(x[i]; a, b). For relu x may also be its output; a NaN there passes on.
  void (*backward)(Activation kind, const T* dy, const T* x, T* dx, Index n, T a, T b,
                   Stores stores);
  /// y = x > 0 ? x : weight * x, weight[i] for the values at place i of `rows` rows of `width`.
  void (*prelu)(const T* x, const T* weight, T* y, Index rows, Index width);
  /// dx = dy * (x > 0 ? 1 : weight); dweight[i] += sum of dy * x over the rows where x <= 0.
  void (*prelu_backward)(const T* dy, const T* x, const T* weight, T* dx, T* dweight, Index rows,
                         Index width);
  /// y[i] = x[i] + z[i].
  void (*add)(const T* x, const T* z, T* y, Index n);
  /// y[i] = max(x[i] + z[i], 0), NaN kept.
  void (*add_relu)(const T* x, const T* z, T* y, Index n);
  /// Stores g.whole, which is not null.
  void (*output_gradient)(const OutputGradient<T>& g, Index n);
  /// y[i] = kept(key, offset + i) ? x[i] / (1 - p) : 0.
  void (*dropout)(const T* x, T* y, Index n, T p, std::uint64_t key, std::uint64_t offset);
};

}  // namespace piste::kernels

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::PointwiseKernels<float> pointwise_f32;
extern const kernels::PointwiseKernels<double> pointwise_f64;
}  // namespace piste::PISTE_ISA
#endif
