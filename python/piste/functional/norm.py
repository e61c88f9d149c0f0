"""Batch normalisation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import (
    FloatArray,
    as_float,
    as_gradient,
    as_optional_floats,
    describe,
    empty,
    empty_like,
)
from ._arguments import as_finite, as_flag, as_positive


def check_updatable(array: object, name: str) -> None:
    """Raise unless `array` is None or can be written to."""
    if array is None:
        return
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array to update, got {describe(array)}")
    if not array.flags.writeable:
        raise ValueError(f"{name}: the array is read-only and training updates it")


def as_planes(input: npt.ArrayLike) -> tuple[FloatArray, tuple[int, int, int]]:
    """The input, and its shape as (n, channels, pixels)."""
    x = as_float(input, "input")
    if x.ndim < 2:
        raise ValueError(f"input: expected shape (n, channels, ...), got {x.shape}")
    return x, (x.shape[0], x.shape[1], math.prod(x.shape[2:]))


class _Problem:
    """Checked arguments of batch norm; the input as (n, channels, pixels)."""

    def __init__(
        self,
        input: npt.ArrayLike,
        running_mean: npt.ArrayLike | None,
        running_var: npt.ArrayLike | None,
        weight: npt.ArrayLike | None,
        bias: npt.ArrayLike | None,
        training: bool,
        momentum: float,
        eps: float,
    ) -> None:
        x = as_float(input, "input")
        self.shape = x.shape
        if x.shape == (0,):  # no samples of no channels, as in PyTorch
            x = x.reshape(0, 0)
        x, self.lifted = as_planes(x)
        channels = self.lifted[1]
        self.x = x.reshape(self.lifted)
        running = {"running_mean": running_mean, "running_var": running_var}
        self.mean, self.var, self.weight, self.bias = as_optional_floats(
            x, (channels,), **running, weight=weight, bias=bias
        )
        if (self.mean is None) != (self.var is None):
            raise ValueError("running_mean, running_var: expected both or neither")
        self.training = as_flag(training, "training")
        if not self.training and self.mean is None:
            raise ValueError("running_mean, running_var: expected arrays unless training")
        if self.training and self.lifted[0] * self.lifted[2] == 1:
            raise ValueError(
                f"input: expected more than 1 value per channel in training, got shape {x.shape}"
            )
        added = as_positive(eps, "eps") if self.training else as_finite(eps, "eps", 0)
        self.options = _core.BatchNormOptions(self.training, as_finite(momentum, "momentum"), added)


def batch_norm(
    input: npt.ArrayLike,
    running_mean: FloatArray | None,
    running_var: FloatArray | None,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> FloatArray:
    """Batch normalisation per channel, as ``torch.nn.functional.batch_norm``.

    Parameters
    ----------
    input
        (n, channels, ...), float32 or float64. Nothing is updated by an empty one, which may have
        the shape (0,), too.
    running_mean, running_var
        (channels,). Read in evaluation; in training updated in place, the variance unbiased, or
        None.
    weight, bias
        (channels,) or None for 1 and 0.
    training
        Normalise by the batch's own mean and biased variance.
    momentum
        The batch's share in the new running statistics.
    eps
        Added to the variance; above 0 in training.

    Returns
    -------
    ndarray
        Of the input's shape.

    Raises
    ------
    ValueError, TypeError
        Where shapes or dtypes do not fit, or training gets one value per channel. Nothing has been
        updated then.
    """
    problem = _Problem(input, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, var = problem.mean, problem.var
    y = empty(problem.lifted, problem.x.dtype)
    if not y.size:
        return y.reshape(problem.shape)
    if training and mean is not None and var is not None:
        check_updatable(running_mean, "running_mean")
        check_updatable(running_var, "running_var")
        if np.shares_memory(running_mean, running_var):
            raise ValueError("running_mean, running_var: expected arrays that share no memory")
        mean, var = mean.copy(), var.copy()  # the user's may be strided or overlap an input
    elif mean is not None and var is not None:  # the core wants them writable all the same
        mean = mean if mean.flags.writeable else mean.copy()
        var = var if var.flags.writeable else var.copy()
    _core.batch_norm(problem.x, mean, var, problem.weight, problem.bias, problem.options, y)
    if training and running_mean is not None and running_var is not None:
        running_mean[...] = mean
        running_var[...] = var
    return y.reshape(problem.shape)


def batch_norm_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    running_mean: npt.ArrayLike | None,
    running_var: npt.ArrayLike | None,
    weight: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
    """Gradients of `batch_norm` by input, weight and bias (None where there was none).

    The running statistics are not updated.
    """
    problem = _Problem(input, running_mean, running_var, weight, bias, training, momentum, eps)
    dy = as_gradient(grad_output, problem.x, problem.shape)
    dx = empty_like(problem.x)
    dw = None if problem.weight is None else np.zeros_like(problem.weight, subok=False)
    db = None if problem.bias is None else np.zeros_like(problem.bias, subok=False)
    if not dx.size:
        return dx.reshape(problem.shape), dw, db
    _core.batch_norm_backward(
        dy.reshape(problem.lifted),
        problem.x,
        problem.mean,
        problem.var,
        problem.weight,
        problem.options,
        dx,
        dw,
        db,
    )
    return dx.reshape(problem.shape), dw, db
