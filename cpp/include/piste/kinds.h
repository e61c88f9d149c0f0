#pragma once

namespace piste {

enum class Activation {
  relu,
  sigmoid,
  tanh,
  relu6,
  leaky_relu,
  elu,
  selu,
  celu,
  gelu,
  gelu_tanh,
  silu,
  mish,
  softplus,
  logsigmoid,
  threshold,
  hardswish,
  hardsigmoid,
  hardtanh,
  tanhshrink,
  softsign,
};

/// f(x, t) of an input and a target, some with a third array and parameters a, b.
enum class PointwiseLoss {
  squared,
  absolute,
  smooth_l1,  // a: beta
  huber,      // a: delta
  bce,
  bce_with_logits,  // third array: weight of positive targets
  kl_div,
  kl_div_log_target,
  poisson_nll,            // a: eps; b != 0: with Stirling's term
  poisson_nll_log_input,  // b != 0: with Stirling's term
  gaussian_nll,           // third array: variance; a: eps; b: constant added
  hinge_embedding,        // a: margin
  soft_margin,
};

/// How a gradient changes a parameter; the order is that of the kernels.
enum class UpdateRule { sgd, adam, rmsprop, adagrad };

}  // namespace piste
