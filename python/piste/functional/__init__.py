"""Pure functions on NumPy arrays, named and called as those of ``torch.nn.functional``.

Every differentiable ``op(*args, **opts)`` has an ``op_backward(grad_output, *args, **opts)`` that
returns a tuple of gradients, one per differentiable array argument in order, ``None`` for an
argument that was ``None``.
"""

from .activation import relu, relu_backward

__all__ = [
    "relu",
    "relu_backward",
]
