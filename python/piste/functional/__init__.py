"""Pure functions on NumPy arrays, named and called as those of ``torch.nn.functional``.

Every differentiable ``op(*args, **opts)`` has an ``op_backward(grad_output, *args, **opts)`` that
returns a tuple of gradients, one per differentiable array argument in order, ``None`` for an
argument that was ``None``.
"""

from .activation import (
    hardtanh,
    hardtanh_backward,
    leaky_relu,
    leaky_relu_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softsign,
    softsign_backward,
    tanh,
    tanh_backward,
    tanhshrink,
    tanhshrink_backward,
)
from .class_losses import cross_entropy, cross_entropy_backward, nll_loss, nll_loss_backward
from .conv import (
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv3d,
    conv3d_backward,
)
from .dropout import dropout, dropout_backward
from .likelihood_losses import (
    binary_cross_entropy,
    binary_cross_entropy_backward,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_backward,
)
from .linear import linear, linear_backward
from .losses import (
    l1_loss,
    l1_loss_backward,
    least_squares_loss,
    least_squares_loss_backward,
    mse_loss,
    mse_loss_backward,
)
from .norm import batch_norm, batch_norm_backward
from .pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from .pool1d import (
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    avg_pool1d,
    avg_pool1d_backward,
    max_pool1d,
    max_pool1d_backward,
)
from .sgd import sgd_
from .softmax import log_softmax, log_softmax_backward, softmax, softmax_backward

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "binary_cross_entropy",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits_backward",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "hardtanh",
    "hardtanh_backward",
    "l1_loss",
    "l1_loss_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "least_squares_loss",
    "least_squares_loss_backward",
    "linear",
    "linear_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "mse_loss",
    "mse_loss_backward",
    "nll_loss",
    "nll_loss_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sgd_",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softsign",
    "softsign_backward",
    "tanh",
    "tanh_backward",
    "tanhshrink",
    "tanhshrink_backward",
]
