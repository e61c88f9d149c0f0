"""Activations, applied to each value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, check_shape
from ._arguments import as_number


def _forward(
    kind: str, input: npt.ArrayLike, out: Any, a: float = 0.0, b: float = 0.0
) -> FloatArray:
    x = as_float(input, "input")
    output = Output(x.shape, x.dtype, out, (x,))
    _core.activation(kind, x.reshape(-1), output.buffer.reshape(-1), a, b)
    return output.result()


def _backward(
    kind: str, grad_output: npt.ArrayLike, input: npt.ArrayLike, a: float = 0.0, b: float = 0.0
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    dy = as_float(grad_output, "grad_output", like=x)
    check_shape(dy, x.shape, "grad_output")
    dx = np.empty_like(x)
    _core.activation_backward(kind, dy.reshape(-1), x.reshape(-1), dx.reshape(-1), a, b)
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
    return _forward("relu", input, input if inplace else out)


def relu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `relu`: `grad_output` where ``input > 0``, else 0."""
    return _backward("relu", grad_output, input)


def sigmoid(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """``1 / (1 + exp(-input))``.

    See `relu` for `out`.
    """
    return _forward("sigmoid", input, out)


def sigmoid_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `sigmoid` by `input`."""
    return _backward("sigmoid", grad_output, input)


def tanh(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """Hyperbolic tangent.

    See `relu` for `out`.
    """
    return _forward("tanh", input, out)


def tanh_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `tanh` by `input`."""
    return _backward("tanh", grad_output, input)


def relu6(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """``min(max(input, 0), 6)``.

    See `relu` for `inplace` and `out`.
    """
    return _forward("relu6", input, input if inplace else out)


def relu6_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `relu6`: 0 at 0, at 6 and outside."""
    return _backward("relu6", grad_output, input)


def _limits(min_val: object, max_val: object) -> tuple[float, float]:
    low, high = as_number(min_val, "min_val"), as_number(max_val, "max_val")
    if not low <= high:
        raise ValueError(f"min_val: expected at most max_val, got {low} and {high}")
    return low, high


def hardtanh(
    input: npt.ArrayLike,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """`input` limited to the range from `min_val` to `max_val`.

    See `relu` for `inplace` and `out`.
    """
    return _forward("hardtanh", input, input if inplace else out, *_limits(min_val, max_val))


def hardtanh_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `hardtanh`: 0 at the limits and outside."""
    return _backward("hardtanh", grad_output, input, *_limits(min_val, max_val))


def leaky_relu(
    input: npt.ArrayLike,
    negative_slope: float = 0.01,
    inplace: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """`input` where that is positive, else ``negative_slope * input``.

    See `relu` for `inplace` and `out`.
    """
    return _forward(
        "leaky_relu", input, input if inplace else out, as_number(negative_slope, "negative_slope")
    )


def leaky_relu_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    negative_slope: float = 0.01,
    inplace: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `leaky_relu`; at 0 that of the negative side."""
    return _backward("leaky_relu", grad_output, input, as_number(negative_slope, "negative_slope"))


def silu(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """``input * sigmoid(input)``.

    See `relu` for `inplace` and `out`.
    """
    return _forward("silu", input, input if inplace else out)


def silu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `silu` by `input`."""
    return _backward("silu", grad_output, input)


def softsign(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """``input / (1 + abs(input))``.

    See `relu` for `out`.
    """
    return _forward("softsign", input, out)


def softsign_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `softsign` by `input`."""
    return _backward("softsign", grad_output, input)


def tanhshrink(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """``input - tanh(input)``.

    See `relu` for `out`.
    """
    return _forward("tanhshrink", input, out)


def tanhshrink_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `tanhshrink` by `input`."""
    return _backward("tanhshrink", grad_output, input)
