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

enum class PointwiseLoss { squared, absolute, bce, bce_with_logits };

}  // namespace piste
