"""Losses of the difference between an input and its target."""

from __future__ import annotations

import numpy.typing as npt

from .._arrays import FloatArray
from ._arguments import as_number
from ._losses import PointwiseLoss, as_reduction

Gradients = tuple[FloatArray | None, ...]


def _mse(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: npt.ArrayLike | None = None,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    return PointwiseLoss("squared", input, target, reduction, weight=weight, weighted_mean=True)


def mse_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: npt.ArrayLike | None = None,
) -> FloatArray:
    """Squared error, ``mean((input - target)**2)``.

    Parameters
    ----------
    input, target
        float32 or float64 arrays of one dtype, whose shapes broadcast; a target of integers counts
        as constants of the input's dtype, without a gradient. There is a warning where the input
        has to be repeated, which mostly is the slip of (n, 1) against (n,).
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    reduction
        ``"mean"`` over all values, ``"sum"``, or ``"none"`` for each value's loss.
    weight
        Factors of the values' losses, of a shape that broadcasts to them; constants, without a
        gradient. A mean divides by their sum.

    Returns
    -------
    ndarray
        Of shape (), or of the broadcast shape without reduction; of the input's dtype. Sums are
        taken in double precision. The mean of no values is NaN.

    Raises
    ------
    TypeError
        For other dtypes.
    ValueError
        For shapes that do not broadcast, and other reductions.
    """
    return _mse(input, target, size_average, reduce, reduction, weight).forward()


def mse_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: npt.ArrayLike | None = None,
) -> Gradients:
    """Gradients of `mse_loss` by input and target; `grad_output` has the loss's shape."""
    return _mse(input, target, size_average, reduce, reduction, weight).backward(grad_output)


def least_squares_loss(
    input: npt.ArrayLike, target: npt.ArrayLike, weight: npt.ArrayLike | None = None
) -> FloatArray:
    """Sum of squares, ``sum((input - target)**2)``: nothing is divided.

    See `mse_loss` for the arguments.
    """
    return _mse(input, target, reduction="sum", weight=weight).forward()


def least_squares_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
) -> Gradients:
    """Gradients of `least_squares_loss` by input and target."""
    return _mse(input, target, reduction="sum", weight=weight).backward(grad_output)


def _l1(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    weight: npt.ArrayLike | None,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    return PointwiseLoss("absolute", input, target, reduction, weight=weight, weighted_mean=True)


def l1_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: npt.ArrayLike | None = None,
) -> FloatArray:
    """Absolute error, ``mean(abs(input - target))``.

    See `mse_loss` for the arguments.
    """
    return _l1(input, target, size_average, reduce, reduction, weight).forward()


def l1_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: npt.ArrayLike | None = None,
) -> Gradients:
    """Gradients of `l1_loss` by input and target: 0 where they are equal."""
    return _l1(input, target, size_average, reduce, reduction, weight).backward(grad_output)


def as_beta(value: object) -> float:
    """`value` as a number of at least 0, also infinity.

    Raises
    ------
    TypeError, ValueError
        Where it is none.
    """
    beta = as_number(value, "beta")
    if beta < 0:
        raise ValueError(f"beta: expected a number of at least 0, got {beta}")
    return beta


def _smooth_l1(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    beta: float,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    return PointwiseLoss("smooth_l1", input, target, reduction, a=as_beta(beta))


def smooth_l1_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> FloatArray:
    """With ``d = abs(input - target)``: ``d**2 / (2 * beta)`` below `beta`, else ``d - beta / 2``.

    Parameters
    ----------
    input, target, size_average, reduce, reduction
        As in `mse_loss`.
    beta
        At least 0, which makes it `l1_loss`.

    Returns
    -------
    ndarray
        Of shape (), or of the broadcast shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`, and for a negative `beta`.

    Notes
    -----
    Girshick 2015, "Fast R-CNN". `huber_loss` is `beta` times it.
    """
    return _smooth_l1(input, target, size_average, reduce, reduction, beta).forward()


def smooth_l1_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Gradients:
    """Gradients of `smooth_l1_loss` by input and target."""
    return _smooth_l1(input, target, size_average, reduce, reduction, beta).backward(grad_output)


def as_delta(value: object) -> float:
    """`value` as a number above 0, also infinity.

    Raises
    ------
    TypeError, ValueError
        Where it is none.
    """
    delta = as_number(value, "delta")
    if delta <= 0:
        raise ValueError(f"delta: expected a number above 0, got {delta}")
    return delta


def _huber(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    reduction: str,
    delta: float,
    weight: npt.ArrayLike | None,
) -> PointwiseLoss:
    reduction = as_reduction(reduction)
    return PointwiseLoss("huber", input, target, reduction, a=as_delta(delta), weight=weight)


def huber_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: npt.ArrayLike | None = None,
) -> FloatArray:
    """With ``d = abs(input - target)``: ``d**2 / 2`` below `delta`, else ``delta * (d - delta/2)``.

    Parameters
    ----------
    input, target, reduction
        As in `mse_loss`.
    delta
        Above 0; infinity makes it half of `mse_loss`.
    weight
        Factors of the values' losses; constants, without a gradient. As in PyTorch, and unlike in
        `mse_loss`, a mean divides by the number of values.

    Returns
    -------
    ndarray
        Of shape (), or of the broadcast shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError, ValueError
        As `mse_loss`, and for a `delta` that is not above 0.

    Notes
    -----
    Huber 1964, "Robust estimation of a location parameter".
    """
    return _huber(input, target, reduction, delta, weight).forward()


def huber_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: npt.ArrayLike | None = None,
) -> Gradients:
    """Gradients of `huber_loss` by input and target."""
    return _huber(input, target, reduction, delta, weight).backward(grad_output)
