"""The activation with a weight."""

from __future__ import annotations

import math

import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, as_gradient, empty_like


def _checked(
    input: npt.ArrayLike, weight: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, tuple[int, int, int]]:
    """Both arrays, and the input's shape as (outer, channels, inner)."""
    x = as_float(input, "input")
    w = as_float(weight, "weight", like=x)
    if w.ndim > 1:
        raise ValueError(f"weight: expected one value or one per channel, got shape {w.shape}")
    if w.size == 1:
        return x, w, (1, 1, x.size)
    channels = x.shape[1] if x.ndim > 1 else 1
    if w.size != channels:
        raise ValueError(
            f"weight: expected 1 value or {channels}, one per channel of an input of shape "
            f"{x.shape}, got {w.size}"
        )
    return x, w, (x.shape[0], channels, math.prod(x.shape[2:]))


def prelu(
    input: npt.ArrayLike, weight: npt.ArrayLike, *, out: FloatArray | None = None
) -> FloatArray:
    """`input` where that is positive, else ``weight * input`` (He et al. 2015).

    Parameters
    ----------
    input
        float32 or float64 array; with one weight per channel (n, channels, ...).
    weight
        One value, or one per channel: shape (), (1,) or (channels,).
    out
        Array of the input's shape and dtype to write to.

    Returns
    -------
    ndarray
        `input`'s shape and dtype.

    Raises
    ------
    ValueError, TypeError
        Where shapes or dtypes do not fit.
    """
    x, w, lifted = _checked(input, weight)
    output = Output(x.shape, x.dtype, out, (x, w))
    _core.prelu(x.reshape(lifted), w.reshape(-1), output.buffer.reshape(lifted))
    return output.result()


def prelu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, weight: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Gradients of `prelu` by input and weight; at 0 that of the negative side."""
    x, w, lifted = _checked(input, weight)
    dy = as_gradient(grad_output, x, x.shape)
    dx, dw = empty_like(x), empty_like(w)
    arrays = (dy.reshape(lifted), x.reshape(lifted))
    _core.prelu_backward(*arrays, w.reshape(-1), dx.reshape(lifted), dw.reshape(-1))
    return dx, dw
