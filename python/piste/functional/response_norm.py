"""Normalisation by the neighbouring channels."""

from __future__ import annotations

import math

import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, as_gradient, empty_like
from ._arguments import as_int, as_number


def _checked(
    input: npt.ArrayLike, size: int, alpha: float, beta: float, k: float
) -> tuple[FloatArray, tuple[int, int, int], _core.ResponseNormOptions]:
    """The input, its shape as (n, channels, pixels), and the core's options."""
    x = as_float(input, "input")
    if x.ndim < 3:
        raise ValueError(
            f"input: expected shape (n, channels, ...) of 3 axes or more, got {x.shape}"
        )
    options = _core.ResponseNormOptions(
        as_int(size, "size", 1),
        as_number(alpha, "alpha"),
        as_number(beta, "beta"),
        as_number(k, "k"),
    )
    return x, (x.shape[0], x.shape[1], math.prod(x.shape[2:])), options


def local_response_norm(
    input: npt.ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """``input / (k + alpha / size * s)**beta``, `s` the squares' sum over `size` channels.

    Parameters
    ----------
    input
        (n, channels, ...) with at least one further axis, float32 or float64.
    size
        Channels of a window: ``size // 2`` before its own, the others from it on; those that do
        not exist count as 0.
    alpha, beta, k
        Numbers of the formula (Krizhevsky et al. 2012).
    out
        Array of the input's shape and dtype to write to.

    Returns
    -------
    ndarray
        Of the input's shape.

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or number that does not fit.
    """
    x, lifted, options = _checked(input, size, alpha, beta, k)
    output = Output(x.shape, x.dtype, out, (x,))
    _core.local_response_norm(x.reshape(lifted), options, output.buffer.reshape(lifted))
    return output.result()


def local_response_norm_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> tuple[FloatArray]:
    """Gradient of `local_response_norm`."""
    x, lifted, options = _checked(input, size, alpha, beta, k)
    dy = as_gradient(grad_output, x, x.shape)
    dx = empty_like(x)
    _core.local_response_norm_backward(
        dy.reshape(lifted), x.reshape(lifted), options, dx.reshape(lifted)
    )
    return (dx,)
