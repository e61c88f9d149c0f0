"""Activations, applied to each value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, check_shape


def _forward(
    kernel: Callable[..., None], input: npt.ArrayLike, out: FloatArray | None, *options: Any
) -> FloatArray:
    x = as_float(input, "input")
    output = Output(x.shape, x.dtype, out, (x,))
    kernel(x, output.buffer, *options)
    return output.result()


def _backward(
    kernel: Callable[..., None], grad_output: npt.ArrayLike, input: npt.ArrayLike, *options: Any
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    dy = as_float(grad_output, "grad_output", like=x)
    check_shape(dy, x.shape, "grad_output")
    dx = np.empty_like(x)
    kernel(dy, x, dx, *options)
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
    return _forward(_core.relu, input, input if inplace else out)  # type: ignore[arg-type]


def relu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `relu`: `grad_output` where ``input > 0``, else 0."""
    return _backward(_core.relu_backward, grad_output, input)
