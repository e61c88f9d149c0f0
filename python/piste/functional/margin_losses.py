"""Losses that ask for a margin between what is right and what is wrong."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .._arrays import FloatArray, as_array, as_float
from ._arguments import as_finite, as_int
from ._losses import PointwiseLoss, as_reduction
from .class_losses import RowLoss, Scores, label_loss
from .losses import Gradients


def _hinge_embedding(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    margin: float,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    gap = as_finite(margin, "margin")
    return PointwiseLoss("hinge_embedding", input, target, reduction, a=gap, differentiable=1)


def hinge_embedding_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> FloatArray:
    """`input` where `target` is 1, ``max(0, margin - input)`` where it is -1.

    Parameters
    ----------
    input
        Distances, float32 or float64.
    target
        1 or -1, integers or in the input's dtype, of a shape that broadcasts with its. (Any other
        value gets the sum of both losses, as in PyTorch.)
    margin
        From which distance on what is unlike costs nothing.
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    reduction
        ``"mean"`` over all values, ``"sum"``, or ``"none"`` for each value's loss.

    Returns
    -------
    ndarray
        Of shape (), or of the broadcast shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError, ValueError
        For other dtypes, shapes and options.
    """
    return _hinge_embedding(input, target, margin, size_average, reduce, reduction).forward()


def hinge_embedding_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Gradients:
    """Gradient of `hinge_embedding_loss` by the input; at the margin that of ``margin - input``."""
    return _hinge_embedding(input, target, margin, size_average, reduce, reduction).backward(
        grad_output
    )


def _soft_margin(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
) -> PointwiseLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    x, goal = as_float(input, "input"), as_array(target, "target")
    try:
        fits = np.broadcast_shapes(x.shape, goal.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:  # unlike other losses, PyTorch's does not repeat the input
        raise ValueError(
            f"target: expected a shape that broadcasts to the input's {x.shape}, got {goal.shape}"
        )
    return PointwiseLoss("soft_margin", x, goal, reduction, differentiable=1)


def soft_margin_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> FloatArray:
    """``log(1 + exp(-target * input))``, for targets 1 and -1; it does not overflow.

    Parameters
    ----------
    input
        Logits, float32 or float64.
    target
        1 or -1, integers or in the input's dtype, of a shape that broadcasts to its.
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    reduction
        ``"mean"`` over all values, ``"sum"``, or ``"none"`` for each value's loss.

    Returns
    -------
    ndarray
        Of shape (), or of the broadcast shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError, ValueError
        For other dtypes, shapes and reductions.
    """
    return _soft_margin(input, target, size_average, reduce, reduction).forward()


def soft_margin_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Gradients:
    """Gradient of `soft_margin_loss` by the input."""
    return _soft_margin(input, target, size_average, reduce, reduction).backward(grad_output)


def as_power(value: object) -> int:
    """`value` as 1 or 2; 1.0 and 2.0 will do.

    Raises
    ------
    TypeError, ValueError
        Where it is neither.
    """
    whole = isinstance(value, float) and value.is_integer()
    power = as_int(int(value) if whole else value, "p", 1)  # type: ignore[call-overload]
    if power > 2:
        raise ValueError(f"p: expected 1 or 2, got {power}")
    return power


def _multi_margin(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    p: int,
    margin: float,
    weight: npt.ArrayLike | None,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
) -> RowLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    power, gap = as_power(p), as_finite(margin, "margin")
    scores, labels = Scores(input, weight, scalar=True), as_array(target, "target")
    if scores.x.ndim > 2:
        raise ValueError(f"input: expected shape (C,) or (n, C), got {scores.x.shape}")
    if not scores.classes:
        raise ValueError(f"input: expected at least one class, got shape {scores.shape}")
    if math.prod(scores.per_row) == 1 and labels.shape in ((), (1,)):
        scores.per_row = labels.shape  # as PyTorch has it, whether or not the input has a batch
    return label_loss(
        "multi_margin_loss", scores, labels, None, reduction, (power, gap), weighted_mean=False
    )


def multi_margin_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    p: int = 1,
    margin: float = 1.0,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> FloatArray:
    """``max(0, margin - x[label] + x[c])**p``, summed over all classes but the label's, over C.

    Parameters
    ----------
    input
        Scores (C,) or (n, C), float32 or float64; a scalar is the score of a single class.
    target
        Integer labels (n,), or () or (1,) for a single sample, from 0 to C - 1.
    p
        1 or 2.
    margin
        By how much the label's score should exceed every other.
    weight
        (C,), a factor for each label, or None for 1; a constant, without a gradient. A mean divides
        by the number of samples all the same.
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for each sample's loss.

    Returns
    -------
    ndarray
        Of shape (), or of the labels' shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError, ValueError
        For other dtypes, shapes and options, and for a label out of range.

    Notes
    -----
    Weston and Watkins 1999, "Support vector machines for multi-class pattern recognition".
    """
    return _multi_margin(
        input, target, p, margin, weight, size_average, reduce, reduction
    ).forward()


def multi_margin_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    p: int = 1,
    margin: float = 1.0,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Gradients:
    """Gradient of `multi_margin_loss` by the input; 0 for classes at the margin."""
    return _multi_margin(
        input, target, p, margin, weight, size_average, reduce, reduction
    ).backward(grad_output)
