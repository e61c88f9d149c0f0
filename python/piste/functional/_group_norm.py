"""Normalisation over groups of channels, or over single ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import (
    FloatArray,
    Output,
    as_float,
    as_gradient,
    as_optional_floats,
    check_shape,
    empty,
    empty_like,
)
from ._arguments import as_finite, as_flag, as_int
from .norm import as_planes, batch_norm, batch_norm_backward, check_updatable


class _Problem:
    """Checked arguments of group norm; the input as (n, channels, pixels)."""

    def __init__(
        self,
        input: npt.ArrayLike,
        num_groups: int | None,
        weight: npt.ArrayLike | None,
        bias: npt.ArrayLike | None,
        eps: float,
    ) -> None:
        self.x, self.lifted = as_planes(input)
        x, channels = self.x, self.lifted[1]
        self.groups = channels if num_groups is None else as_int(num_groups, "num_groups", 1)
        if self.groups and channels % self.groups:
            raise ValueError(
                f"num_groups: {channels} channels cannot be split into {self.groups} groups"
            )
        self.weight, self.bias = as_optional_floats(x, (channels,), weight=weight, bias=bias)
        self.eps = as_finite(eps, "eps")

    def forward(
        self, out: FloatArray | None, mean: FloatArray | None, var: FloatArray | None
    ) -> FloatArray:
        output = Output(self.x.shape, self.x.dtype, out, (self.x, self.weight, self.bias))
        x, y = self.x.reshape(self.lifted), output.buffer.reshape(self.lifted)
        if x.size:
            _core.group_norm(x, self.groups, self.weight, self.bias, self.eps, y, mean, var)
        return output.result()

    def backward(
        self, grad_output: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
        dy = as_gradient(grad_output, self.x, self.x.shape)
        dx = empty_like(self.x)
        dw = None if self.weight is None else np.zeros_like(self.weight, subok=False)
        db = None if self.bias is None else np.zeros_like(self.bias, subok=False)
        if dx.size:
            dy_rows, x_rows, dx_rows = (a.reshape(self.lifted) for a in (dy, self.x, dx))
            _core.group_norm_backward(
                dy_rows, x_rows, self.groups, self.weight, self.eps, dx_rows, dw, db
            )
        return dx, dw, db


def group_norm(
    input: npt.ArrayLike,
    num_groups: int,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over groups of channels (Wu, He 2018).

    Parameters
    ----------
    input
        (n, channels, ...), float32 or float64.
    num_groups
        Groups of equally many channels; mean and biased variance are those of one sample's group.
    weight, bias
        (channels,) or None for 1 and 0.
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
        Where shapes or dtypes do not fit, or a group has a single value.
    """
    return _group_norm(input, num_groups, weight, bias, eps).forward(out, None, None)


def _group_norm(
    input: npt.ArrayLike,
    num_groups: int,
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    eps: float,
) -> _Problem:
    as_int(num_groups, "num_groups", 1)
    problem = _Problem(input, num_groups, weight, bias, eps)
    n, channels, pixels = problem.lifted
    if n * channels // problem.groups * pixels == 1:
        raise ValueError(
            f"input: expected more than 1 value per group, got shape {problem.x.shape}"
        )
    return problem


def group_norm_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    num_groups: int,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
    """Gradients of `group_norm` by input, weight and bias (None where there was none)."""
    return _group_norm(input, num_groups, weight, bias, eps).backward(grad_output)


def _instance_norm(
    input: npt.ArrayLike,
    running: tuple[Any, Any],
    weight: npt.ArrayLike | None,
    bias: npt.ArrayLike | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
) -> _Problem:
    problem = _Problem(input, None, weight, bias, eps)
    for name, array in zip(("running_mean", "running_var"), running, strict=True):
        if array is not None:
            check_shape(as_float(array, name, like=problem.x), problem.x.shape[1:2], name)
    as_finite(momentum, "momentum")
    use_input_stats = as_flag(use_input_stats, "use_input_stats")
    if (running[0] is None) != (running[1] is None):
        raise ValueError("running_mean, running_var: expected both or neither")
    if not use_input_stats and running[0] is None:
        raise ValueError("running_mean, running_var: expected arrays unless use_input_stats")
    if use_input_stats and problem.lifted[2] == 1:
        raise ValueError(
            "input: expected more than 1 spatial value for use_input_stats, got shape "
            f"{problem.x.shape}"
        )
    return problem


def instance_norm(
    input: npt.ArrayLike,
    running_mean: FloatArray | None = None,
    running_var: FloatArray | None = None,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> FloatArray:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over each plane (Ulyanov et al. 2016).

    Parameters
    ----------
    input
        (n, channels, ...), float32 or float64.
    running_mean, running_var
        (channels,) or None. With `use_input_stats` they are updated in place by the averages over
        the samples, the variance unbiased; else they take the place of the input's statistics.
    weight, bias
        (channels,) or None for 1 and 0.
    use_input_stats
        Normalise each plane by its own mean and biased variance.
    momentum
        The input's share in the new running statistics.
    eps
        Added to the variance.

    Returns
    -------
    ndarray
        Of the input's shape.

    Raises
    ------
    ValueError, TypeError
        Where shapes or dtypes do not fit. Nothing has been updated then.
    """
    running = (running_mean, running_var)
    p = _instance_norm(input, running, weight, bias, use_input_stats, momentum, eps)
    if not use_input_stats:
        return batch_norm(p.x, *running, p.weight, p.bias, False, momentum, p.eps)
    if running_mean is None or running_var is None or not p.x.size:
        return p.forward(None, None, None)
    check_updatable(running_mean, "running_mean")
    check_updatable(running_var, "running_var")
    mean, var = empty((2, *p.lifted[:2]), p.x.dtype)
    y = p.forward(None, mean, var)
    pixels = p.lifted[2]
    running_mean += momentum * (mean.mean(axis=0) - running_mean)
    running_var += momentum * (var.mean(axis=0) * (pixels / (pixels - 1)) - running_var)
    return y


def instance_norm_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    running_mean: npt.ArrayLike | None = None,
    running_var: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
    """Gradients of `instance_norm` by input, weight and bias (None where there was none).

    The running statistics are not updated.
    """
    running = (running_mean, running_var)
    p = _instance_norm(input, running, weight, bias, use_input_stats, momentum, eps)
    if use_input_stats:
        return p.backward(grad_output)
    return batch_norm_backward(grad_output, p.x, *running, p.weight, p.bias, False, momentum, p.eps)
