"""Linear maps."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import (
    FloatArray,
    Output,
    as_array,
    as_float,
    as_gradient,
    as_optional_float,
    check_shape,
    empty_like,
)
from ._losses import sum_to


def _arguments(
    input: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray | None, tuple[int, ...]]:
    """Checked input, weight and bias, and the output's shape."""
    x = as_float(input, "input")
    w = as_float(weight, "weight", like=x)
    b = as_optional_float(bias, "bias", like=x)
    x_shape, w_shape = x.shape, w.shape
    if len(w_shape) not in (1, 2):
        raise ValueError(f"weight: expected shape (out, in) or (in,), got {w_shape}")
    if not x_shape or x_shape[-1] != w_shape[-1]:
        raise ValueError(f"input: expected shape (..., {w_shape[-1]}), got {x_shape}")
    if b is not None and b.shape != w_shape[:-1]:
        if b.shape not in ((), (1,)) or len(w_shape) == 1:
            check_shape(b, w_shape[:-1], "bias")
        b = np.full(w_shape[0], b, b.dtype)
    return x, w, b, x_shape[:-1] + w_shape[:-1]


def _joined(array: FloatArray, lead: int) -> FloatArray:
    """The same memory with its first `lead` axes as one; the core takes a few axes only."""
    if lead <= 1:
        return array
    return array.reshape(math.prod(array.shape[:lead]), *array.shape[lead:])


def linear(
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """``input @ weight.T + bias``, as ``torch.nn.functional.linear``.

    Parameters
    ----------
    input
        (..., in features), float32 or float64.
    weight
        (out features, in features), or (in features,) for a single output without an axis.
    bias
        (out features,), or () or (1,) for one value that all share; () where `weight` has one axis.
    out
        Array of the result's shape and dtype to write to.

    Returns
    -------
    ndarray
        (..., out features), or (...).

    Raises
    ------
    ValueError, TypeError
        Where shapes or dtypes do not fit; the message names what was expected.
    """
    x, w, b, shape = _arguments(input, weight, bias)
    output = Output(shape, x.dtype, out, (x, w, b))
    lead = x.ndim - 1
    _core.linear(_joined(x, lead), w, b, _joined(output.buffer, lead))
    return output.result()


def linear_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Gradients of `linear` by input, weight and bias (None where there was none)."""
    x, w, b, shape = _arguments(input, weight, bias)
    dy = as_gradient(grad_output, x, shape)
    dx, dw = empty_like(x), empty_like(w)
    db = None if b is None else empty_like(b)
    lead = x.ndim - 1
    _core.linear_backward(_joined(dy, lead), _joined(x, lead), w, _joined(dx, lead), dw, db)
    return dx, dw, None if db is None else sum_to(db, as_array(bias, "bias").shape)
