"""What all activations have in common: checked arrays in, the core's elementwise passes."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, as_gradient, empty_like


def forward(
    kind: str, input: npt.ArrayLike, out: Any, a: float = 0.0, b: float = 0.0
) -> FloatArray:
    """The core's activation `kind` with parameters `a` and `b`."""
    x = as_float(input, "input")
    output = Output(x.shape, x.dtype, out, (x,))
    _core.activation(kind, x.reshape(-1), output.buffer.reshape(-1), a, b)
    return output.result()


def backward(
    kind: str, grad_output: npt.ArrayLike, input: npt.ArrayLike, a: float = 0.0, b: float = 0.0
) -> tuple[FloatArray]:
    """Its gradient."""
    x = as_float(input, "input")
    dy = as_gradient(grad_output, x, x.shape)
    dx = empty_like(x)
    _core.activation_backward(kind, dy.reshape(-1), x.reshape(-1), dx.reshape(-1), a, b)
    return (dx,)
