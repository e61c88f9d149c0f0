"""Losses that are minus the logarithm of a probability."""

from __future__ import annotations

import numpy.typing as npt

from .._arrays import FloatArray
from ._losses import PointwiseLoss, as_reduction
from .losses import Gradients


def _bce(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    loss = PointwiseLoss("bce", input, target, reduction, broadcast=False, weight=weight)
    _check_probabilities(loss.x)
    return loss


def _check_probabilities(x: FloatArray) -> None:
    if not x.size or (x.min() >= 0 and x.max() <= 1):
        return
    wrong = x[(x < 0) | (x > 1)]  # empty where it is NaN alone that fails the test above
    if wrong.size:
        raise ValueError(
            f"input: expected probabilities from 0 to 1, got {wrong[0]}; "
            "binary_cross_entropy_with_logits takes any number"
        )


def binary_cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> FloatArray:
    """``-(target * log(input) + (1 - target) * log(1 - input))``: cross-entropy of two classes.

    Parameters
    ----------
    input
        Probabilities from 0 to 1, float32 or float64. A logarithm counts as no less than -100, so
        that a wrong certainty costs 100.
    target
        Of the input's shape and dtype, from 0 to 1.
    weight
        Factors of the values' losses, of a shape that broadcasts to the input's; constants, without
        a gradient. A mean still divides by the number of values.
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    reduction
        ``"mean"`` over all values, ``"sum"``, or ``"none"`` for each value's loss.

    Returns
    -------
    ndarray
        Of shape (), or of the input's without reduction; of the input's dtype.

    Raises
    ------
    TypeError
        For other dtypes.
    ValueError
        For other shapes and reductions, and for an input below 0 or above 1. NaN goes through.
    """
    return _bce(input, target, weight, size_average, reduce, reduction).forward()


def binary_cross_entropy_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Gradients:
    """Gradients of `binary_cross_entropy` by input and target.

    That by the input is ``(input - target) / max(input * (1 - input), 1e-12)``.
    """
    return _bce(input, target, weight, size_average, reduce, reduction).backward(grad_output)


def _bce_with_logits(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    pos_weight: npt.ArrayLike | None,
) -> PointwiseLoss:
    return PointwiseLoss(
        "bce_with_logits",
        input,
        target,
        as_reduction(reduction, size_average, reduce),
        broadcast=False,
        weight=weight,
        extra=("pos_weight", pos_weight),
    )


def binary_cross_entropy_with_logits(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: npt.ArrayLike | None = None,
) -> FloatArray:
    """`binary_cross_entropy` of ``sigmoid(input)``, accurate for logits of any size.

    With ``softplus(x) = log(1 + exp(x))`` it is ``pos_weight * target * softplus(-input) + (1 -
    target) * softplus(input)``.

    Parameters
    ----------
    input
        Logits, float32 or float64.
    target, weight, size_average, reduce, reduction
        As in `binary_cross_entropy`.
    pos_weight
        Weight of positive targets, of a shape that broadcasts to the input's: one per class, say.

    Returns
    -------
    ndarray
        Of shape (), or of the input's without reduction; of the input's dtype.

    Raises
    ------
    TypeError
        For other dtypes.
    ValueError
        For other shapes and reductions.
    """
    return _bce_with_logits(
        input, target, weight, size_average, reduce, reduction, pos_weight
    ).forward()


def binary_cross_entropy_with_logits_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: npt.ArrayLike | None = None,
) -> Gradients:
    """Gradients of `binary_cross_entropy_with_logits` by input and target."""
    return _bce_with_logits(
        input, target, weight, size_average, reduce, reduction, pos_weight
    ).backward(grad_output)
