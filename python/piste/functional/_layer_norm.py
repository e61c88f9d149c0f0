"""Normalisation over the last axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy.typing as npt

from .. import _core
from .._arrays import (
    FloatArray,
    Output,
    as_float,
    as_gradient,
    as_optional_floats,
    describe,
    empty_like,
)
from ._arguments import as_finite, as_int


class _Problem:
    """Checked arguments of layer norm; the input as (rows, values)."""

    def __init__(
        self,
        input: npt.ArrayLike,
        normalized_shape: Sequence[int],
        weight: npt.ArrayLike | None,
        bias: npt.ArrayLike | None,
        eps: float,
    ) -> None:
        self.x = as_float(input, "input")
        if not isinstance(normalized_shape, (tuple, list)):
            raise TypeError(
                f"normalized_shape: expected a tuple of integers, got {describe(normalized_shape)}"
            )
        shape = tuple(as_int(n, "normalized_shape", 0) for n in normalized_shape)
        if not shape or self.x.shape[-len(shape) :] != shape:
            raise ValueError(
                f"normalized_shape: expected the input's last extents of {self.x.shape}, at least "
                f"one, got {shape}"
            )
        self.weight, self.bias = as_optional_floats(self.x, shape, weight=weight, bias=bias)
        self.lifted = (math.prod(self.x.shape[: -len(shape)]), math.prod(shape))
        self.eps = as_finite(eps, "eps")

    def flat(self, array: FloatArray | None) -> FloatArray | None:
        return array if array is None or array.ndim == 1 else array.reshape(-1)


def layer_norm(
    input: npt.ArrayLike,
    normalized_shape: Sequence[int],
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last axes (Ba et al. 2016).

    Parameters
    ----------
    input
        (..., *normalized_shape), float32 or float64.
    normalized_shape
        Extents of the axes that mean and biased variance are taken over.
    weight, bias
        Arrays of `normalized_shape`, or None for 1 and 0.
    eps
        Added to the variance.
    out
        Array of the input's shape and dtype to write to.

    Returns
    -------
    ndarray
        Of the input's shape.

    Raises
    ------
    ValueError, TypeError
        Where shapes or dtypes do not fit.
    """
    p = _Problem(input, normalized_shape, weight, bias, eps)
    output = Output(p.x.shape, p.x.dtype, out, (p.x, p.weight, p.bias))
    y = output.buffer.reshape(p.lifted)
    _core.layer_norm(p.x.reshape(p.lifted), p.flat(p.weight), p.flat(p.bias), p.eps, y)
    return output.result()


def layer_norm_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    normalized_shape: Sequence[int],
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
    """Gradients of `layer_norm` by input, weight and bias (None where there was none)."""
    p = _Problem(input, normalized_shape, weight, bias, eps)
    dy = as_gradient(grad_output, p.x, p.x.shape)
    dx = empty_like(p.x)
    dw = None if p.weight is None else empty_like(p.weight)
    db = None if p.bias is None else empty_like(p.bias)
    dy_rows, x_rows, dx_rows = (array.reshape(p.lifted) for array in (dy, p.x, dx))
    _core.layer_norm_backward(
        dy_rows, x_rows, p.flat(p.weight), p.eps, dx_rows, p.flat(dw), p.flat(db)
    )
    return dx, dw, db
