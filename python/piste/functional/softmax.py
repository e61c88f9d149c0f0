"""Softmax and its logarithm, over any axis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, check_shape
from ._arguments import as_axis


def _axis(x: FloatArray, dim: object) -> int:
    if dim is None:  # the axis that PyTorch implies
        return 0 if x.ndim in (0, 1, 3) else 1
    return as_axis(dim, "dim", max(x.ndim, 1))


def _rows(x: FloatArray, axis: int) -> FloatArray:
    """(rows, values along `axis`), contiguous; the core takes the last axis only."""
    moved = np.moveaxis(x, axis, -1) if x.ndim else x.reshape(1)
    length = moved.shape[-1]
    return np.ascontiguousarray(moved).reshape(moved.size // max(length, 1), length)


def _unrows(rows: FloatArray, shape: tuple[int, ...], axis: int) -> FloatArray:
    """The inverse of `_rows`."""
    if not shape:
        return rows.reshape(())
    lead = shape[:axis] + shape[axis + 1 :]
    return np.moveaxis(rows.reshape(*lead, shape[axis]), -1, axis)


def _softmax(
    input: npt.ArrayLike, dim: int | None, out: FloatArray | None, log: bool
) -> FloatArray:
    x = as_float(input, "input")
    axis = _axis(x, dim)
    output = Output(x.shape, x.dtype, out, (x,))
    if x.size:
        rows = _rows(x, axis)
        y = np.empty_like(rows)
        _core.softmax(rows, y, log)
        output.buffer[...] = _unrows(y, x.shape, axis)
    return output.result()


def _softmax_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, dim: int | None, log: bool
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    dy = as_float(grad_output, "grad_output", like=x)
    check_shape(dy, x.shape, "grad_output")
    axis = _axis(x, dim)
    dx = np.empty_like(x)
    if x.size:
        rows = _rows(x, axis)
        y, drows = np.empty_like(rows), np.empty_like(rows)
        _core.softmax(rows, y, log)
        _core.softmax_backward(_rows(dy, axis), y, drows, log)
        dx[...] = _unrows(drows, x.shape, axis)
    return (dx,)


def softmax(
    input: npt.ArrayLike, dim: int | None = None, *, out: FloatArray | None = None
) -> FloatArray:
    """``exp(input) / sum(exp(input))`` along one axis.

    Parameters
    ----------
    input
        float32 or float64 array of any shape.
    dim
        The axis; where None, 0 for arrays of 0, 1 or 3 axes and else 1, as in PyTorch.
    out
        Array of the same shape and dtype to write to.

    Returns
    -------
    ndarray
        `input`'s shape and dtype.
    """
    return _softmax(input, dim, out, False)


def softmax_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, dim: int | None = None
) -> tuple[FloatArray]:
    """Gradient of `softmax` by `input`."""
    return _softmax_backward(grad_output, input, dim, False)


def log_softmax(
    input: npt.ArrayLike, dim: int | None = None, *, out: FloatArray | None = None
) -> FloatArray:
    """``log(softmax(input, dim))``, without its overflow; see `softmax`."""
    return _softmax(input, dim, out, True)


def log_softmax_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, dim: int | None = None
) -> tuple[FloatArray]:
    """Gradient of `log_softmax` by `input`."""
    return _softmax_backward(grad_output, input, dim, True)
