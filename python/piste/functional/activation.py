"""Activations, applied to each value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, check_shape


def _forward(
    kind: str, input: npt.ArrayLike, out: FloatArray | None, a: float = 0.0, b: float = 0.0
) -> FloatArray:
    x = as_float(input, "input")
    output = Output(x.shape, x.dtype, out, (x,))
    _core.activation(kind, x, output.buffer, a, b)
    return output.result()


def _backward(
    kind: str, grad_output: npt.ArrayLike, input: npt.ArrayLike, a: float = 0.0, b: float = 0.0
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    dy = as_float(grad_output, "grad_output", like=x)
    check_shape(dy, x.shape, "grad_output")
    dx = np.empty_like(x)
    _core.activation_backward(kind, dy, x, dx, a, b)
    return (dx,)


def relu(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """Rectified linear unit, ``max(input, 0)``; NaN stays NaN.

    Parameters
    ----------
    input
        float32 or float64 array of any shape.
    inplace
        Write the result into `input`, which must then be a writable array.
    out
        Array of the same shape and dtype to write to.

    Returns
    -------
    ndarray
        `input`'s shape and dtype.
    """
    return _forward("relu", input, input if inplace else out)  # type: ignore[arg-type]


def relu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `relu`: `grad_output` where ``input > 0``, else 0."""
    return _backward("relu", grad_output, input)
