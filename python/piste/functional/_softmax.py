"""Softmax and its logarithm, over any axis."""

from __future__ import annotations

import math

import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_array, as_dtype, as_float, as_gradient, empty_like
from ._arguments import as_axis


def _axis(x: FloatArray, dim: object) -> int:
    if dim is None:  # the axis that PyTorch implies
        return 0 if x.ndim in (0, 1, 3) else 1
    return as_axis(dim, "dim", max(x.ndim, 1))


def _lifted(x: FloatArray, dim: object) -> tuple[int, int, int]:
    """The shape as (outer, along the axis, inner)."""
    axis = _axis(x, dim)
    shape = x.shape or (1,)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _converted(input: npt.ArrayLike, dtype: npt.DTypeLike | None) -> FloatArray:
    """`input`, converted where a dtype is asked for."""
    if dtype is None:
        return as_float(input, "input")
    return as_float(as_array(input, "input").astype(as_dtype(dtype), copy=False), "input")


def _softmax(
    input: npt.ArrayLike,
    dim: int | None,
    dtype: npt.DTypeLike | None,
    out: FloatArray | None,
    log: bool,
) -> FloatArray:
    x = _converted(input, dtype)
    lifted = _lifted(x, dim)
    output = Output(x.shape, x.dtype, out, (x,))
    _core.softmax(x.reshape(lifted), output.buffer.reshape(lifted), log)
    return output.result()


def _softmax_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    dim: int | None,
    dtype: npt.DTypeLike | None,
    log: bool,
) -> tuple[FloatArray]:
    x = _converted(input, dtype)
    dy = as_gradient(grad_output, x, x.shape)
    lifted = _lifted(x, dim)
    dx = empty_like(x)
    _core.softmax_backward(dy.reshape(lifted), x.reshape(lifted), dx.reshape(lifted), log)
    # The gradient by what was converted is that by its origin, in the origin's dtype.
    origin = as_array(input, "input").dtype
    return (dx.astype(origin.newbyteorder("="), copy=False) if origin.kind == "f" else dx,)


def softmax(
    input: npt.ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: npt.DTypeLike | None = None,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """``exp(input) / sum(exp(input))`` along one axis.

    Parameters
    ----------
    input
        float32 or float64 array of any shape.
    dim
        The axis; where None, 0 for arrays of 0, 1 or 3 axes and else 1, as in PyTorch.
    _stacklevel
        Of no effect; PyTorch has it.
    dtype
        float32 or float64: `input` is converted to it first.
    out
        Array of the result's shape and dtype to write to.

    Returns
    -------
    ndarray
        `input`'s shape, and its dtype unless `dtype` is given.
    """
    return _softmax(input, dim, dtype, out, False)


def softmax_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: npt.DTypeLike | None = None,
) -> tuple[FloatArray]:
    """Gradient of `softmax` by `input`."""
    return _softmax_backward(grad_output, input, dim, dtype, False)


def log_softmax(
    input: npt.ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: npt.DTypeLike | None = None,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """``log(softmax(input, dim))``, without its overflow; see `softmax`."""
    return _softmax(input, dim, dtype, out, True)


def log_softmax_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: npt.DTypeLike | None = None,
) -> tuple[FloatArray]:
    """Gradient of `log_softmax` by `input`."""
    return _softmax_backward(grad_output, input, dim, dtype, True)
