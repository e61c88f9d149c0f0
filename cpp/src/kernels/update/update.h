#pragma once

#include "piste/index.h"
#include "piste/kinds.h"

namespace piste {

/// What one array's step multiplies by; a rule reads those that its formula names.
template <class T>
struct UpdateOptions {
  T lr = 0, weight_decay = 0;
  T momentum = 0, dampening = 0;
  T beta2 = 0, rest1 = 0, rest2 = 0, eps = 0;  // rests: 1 - beta, which T would round
  T shrink = 1, correction = 1;
  bool nesterov = false, maximize = false, amsgrad = false, centered = false;
  bool first_step = false;  // starts sgd's momentum buffer at the gradient
};

namespace kernels {

template <class T>
struct UpdateKernels {
  static constexpr int rules = 4;

  /// One step of the rule (an index) on n values p with gradients g and its states s0, s1, s2,
  /// which may be null where the formula does not name them. All begin with
  ///   g' = (maximize ? -g : g) + weight_decay * p
  /// sgd:
  ///   s0 = first_step ? g' : momentum * s0 + (1 - dampening) * g'            (momentum != 0)
  ///   p -= lr * (nesterov ? g' + momentum * s0 : s0)
  /// adam:
  ///   s0 += rest1 * (g' - s0),  s1 = beta2 * s1 + rest2 * g'^2
  ///   s2 = max(s2, s1)                                                       (amsgrad)
  ///   p = shrink * p - lr * s0 / (correction * sqrt(amsgrad ? s2 : s1) + eps)
  /// rmsprop:
  ///   s0 = beta2 * s0 + rest2 * g'^2
  ///   s1 += rest2 * (g' - s1)                                                (centered)
  ///   d = g' / (sqrt(centered ? max(s0 - s1^2, 0) : s0) + eps)
  ///   s2 = momentum * s2 + d                                                 (momentum != 0)
  ///   p -= lr * (momentum != 0 ? s2 : d)
  /// adagrad:
  ///   s0 += g'^2,  p -= lr * g' / (sqrt(s0) + eps)
  /// Options are a copy, which no store changes: the loops decide on them once.
  void (*step[rules])(T* p, const T* g, T* const* states, Index n, UpdateOptions<T> options);
  /// Not finite where any value is not, or where a square overflows.
  double (*sum_squares)(const T* x, Index n);
  bool (*all_finite)(const T* x, Index n);
  /// g = scale * (g bounded by -limit and limit); NaN stays.
  void (*clip)(T* g, Index n, T limit, T scale);
  /// mean += weight * (x - mean).
  void (*average)(T* mean, const T* x, Index n, T weight);
};

}  // namespace kernels
}  // namespace piste

#ifdef PISTE_ISA
namespace piste::PISTE_ISA {
extern const kernels::UpdateKernels<float> update_f32;
extern const kernels::UpdateKernels<double> update_f64;
}  // namespace piste::PISTE_ISA
#endif
