"""Pure functions on NumPy arrays, named and called as those of ``torch.nn.functional``.

Every differentiable ``op(*args, **opts)`` has an ``op_backward(grad_output, *args, **opts)`` that
returns a tuple of gradients, one per differentiable array argument in order, ``None`` for an
argument that was ``None``.
"""

from .activation import relu, relu_backward
from .conv import (
    conv1d,
    conv1d_backward,
    conv2d,
    conv2d_backward,
    conv3d,
    conv3d_backward,
    linear,
    linear_backward,
)
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

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv1d",
    "conv1d_backward",
    "conv2d",
    "conv2d_backward",
    "conv3d",
    "conv3d_backward",
    "linear",
    "linear_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "relu",
    "relu_backward",
]
