"""Losses of class scores with one target per sample or pixel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import (
    FloatArray,
    as_array,
    as_float,
    as_optional_float,
    check_shape,
    describe,
    empty,
    within_int64,
)
from ._arguments import as_number
from ._losses import as_loss, as_reduction, quotient, split_grad_output
from .losses import Gradients


class Scores:
    """An input (C,), (n, C) or (n, C, d1, ...) as the core's (n, C, pixels), and its weights."""

    def __init__(
        self, input: npt.ArrayLike, weight: npt.ArrayLike | None, scalar: bool = False
    ) -> None:
        x = as_float(input, "input")
        if x.ndim < 1 and not scalar:
            raise ValueError("input: expected shape (C,), (n, C) or (n, C, d1, ...), got ()")
        self.shape = x.shape
        self.x = x if x.ndim else x.reshape(1)  # a scalar is a row of one class
        axis = min(self.x.ndim - 1, 1)
        pixels = self.x.shape[axis + 1 :]
        self.classes: int = self.x.shape[axis]
        self.per_row: tuple[int, ...] = self.x.shape[:axis] + pixels
        self.lifted = (math.prod(self.x.shape[:axis]), self.classes, math.prod(pixels))
        self.weight = as_optional_float(weight, "weight", like=self.x)
        if self.weight is not None:
            check_shape(self.weight, (self.classes,), "weight")

    def rows(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array of one value per row, as the core takes it."""
        return array.reshape(self.lifted[0], self.lifted[2])


class RowLoss:
    """A loss of each row of scores, reduced: forward and backward.

    Parameters
    ----------
    name, arguments
        The core's function and its arguments before the arrays of losses and gradients.
    divisor
        Of the sum in a mean.
    empty
        The mean where no row counts.
    gradients
        How many arrays of the scores' shape have one.
    """

    def __init__(
        self,
        name: str,
        scores: Scores,
        reduction: str,
        arguments: tuple[object, ...],
        divisor: float,
        gradients: int = 1,
        empty: float | None = None,
    ) -> None:
        self.name, self.scores, self.reduction, self.arguments = name, scores, reduction, arguments
        self.divisor = divisor if reduction == "mean" else 1.0
        self.gradients, self.empty = gradients, empty if reduction == "mean" else None

    def forward(self) -> FloatArray:
        """The loss."""
        core, scores = getattr(_core, self.name), self.scores
        if self.reduction == "none":
            losses = empty(scores.per_row, scores.x.dtype)
            core(*self.arguments, scores.rows(losses))
            return losses
        total = core(*self.arguments, None)
        mean = quotient(total, self.divisor) if self.empty is None else self.empty
        return as_loss(mean, scores.x)

    def backward(self, grad_output: object) -> Gradients:
        """Gradients by the scores and, where those are probabilities, the targets."""
        scores = self.scores
        shape = scores.per_row if self.reduction == "none" else None
        grad, scale = split_grad_output(grad_output, shape, self.divisor, scores.x)
        results = tuple(empty(scores.lifted, scores.x.dtype) for _ in range(self.gradients))
        core = getattr(_core, self.name + "_backward")
        core(*self.arguments, None if grad is None else scores.rows(grad), scale, *results)
        return tuple(result.reshape(scores.shape) for result in results)


def label_loss(
    name: str,
    scores: Scores,
    target: npt.NDArray[Any],
    ignore_index: int | None,
    reduction: str,
    options: tuple[object, ...] = (),
    all_ignored: str = "nan",
    weighted_mean: bool = True,
) -> RowLoss:
    """The loss of integer labels, checked; a mean divides by the sum of their weights or number."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"target: expected integer labels, got dtype {target.dtype}")
    if scores.per_row == () and target.shape == (1,):
        target = target.reshape(())  # the label of a single sample
    check_shape(target, scores.per_row, "target")
    labels = target
    if labels.dtype != np.int64 or not labels.flags.c_contiguous:
        labels = np.ascontiguousarray(within_int64(labels), np.int64)
    single = scores.x.dtype == np.float32
    make: Any = _core.LabelLossInputF32 if single else _core.LabelLossInputF64
    lifted = scores.x.reshape(scores.lifted)
    problem = make(lifted, scores.rows(labels), scores.weight, ignore_index)
    count = problem.count()
    if count.first_wrong >= 0:
        at = tuple(int(i) for i in np.unravel_index(count.first_wrong, target.shape or (1,)))
        raise ValueError(
            f"target: label {target.flat[count.first_wrong]} at index "
            f"{at[0] if len(at) == 1 else at} is not in [0, {scores.classes})"
        )
    if all_ignored not in ("nan", "zero"):
        raise ValueError(f"all_ignored: expected 'nan' or 'zero', got {all_ignored!r}")
    empty = 0.0 if all_ignored == "zero" and count.counted == 0 else None
    divisor = count.weight if weighted_mean else count.counted
    return RowLoss(name, scores, reduction, (problem, *options), divisor, empty=empty)


def as_ignore_index(value: object) -> int:
    """`value` as a label of 64 bits, which may be negative.

    Raises
    ------
    TypeError, ValueError
        Where it is none.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"ignore_index: expected an integer, got {describe(value)}")
    if not -(2**63) <= int(value) < 2**63:
        raise ValueError(f"ignore_index: expected an integer of 64 bits, got {value}")
    return int(value)


def as_smoothing(value: object) -> float:
    """`value` as a share from 0 to 1.

    Raises
    ------
    TypeError, ValueError
        Where it is none.
    """
    smoothing = as_number(value, "label_smoothing")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing: expected a number from 0 to 1, got {smoothing}")
    return smoothing


def _cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    size_average: bool | None,
    ignore_index: int,
    reduce: bool | None,
    reduction: str,
    label_smoothing: float,
    all_ignored: str,
) -> RowLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    smoothing = as_smoothing(label_smoothing)
    ignored = as_ignore_index(ignore_index)
    scores, goal = Scores(input, weight), as_array(target, "target")
    if goal.dtype.kind in "iu":
        return label_loss(
            "cross_entropy", scores, goal, ignored, reduction, (smoothing,), all_ignored
        )
    if goal.dtype.kind != "f" or (goal.shape == scores.per_row and goal.shape != scores.x.shape):
        raise TypeError(
            f"target: expected integer labels of shape {scores.per_row} or probabilities of shape "
            f"{scores.x.shape}, got {describe(goal)}"
        )
    if ignored >= 0:
        raise ValueError(f"ignore_index: expected labels for it, got probabilities and {ignored}")
    probabilities = as_float(goal, "target", like=scores.x)
    check_shape(probabilities, scores.x.shape, "target")
    arrays = [array.reshape(scores.lifted) for array in (scores.x, probabilities)]
    return RowLoss(
        "cross_entropy_probabilities",
        scores,
        reduction,
        (*arrays, scores.weight, smoothing),
        math.prod(scores.per_row) if scores.classes else 0,  # the mean of no terms is NaN
        gradients=2,
    )


def cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    all_ignored: str = "nan",
) -> FloatArray:
    """Cross-entropy of logits, ``-log_softmax(input)`` at each label.

    Parameters
    ----------
    input
        Logits (C,), (n, C) or (n, C, d1, ...), float32 or float64.
    target
        Integer labels () or (1,), (n,) or (n, d1, ...) from 0 to C - 1; or probabilities of the
        input's shape and dtype.
    weight
        (C,), a factor for each class, or None for 1; constants, without a gradient. A mean of
        labels' losses divides by the sum of the labels' weights.
    size_average, reduce
        What PyTorch had before `reduction`; they decide where they are not None.
    ignore_index
        Label whose rows have no loss and no gradient and do not count in a mean.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for each row's loss.
    label_smoothing
        Share of the target that is spread evenly over all classes (Szegedy et al. 2016).
    all_ignored
        The mean where all labels are ignored or there are none: ``"nan"`` as in PyTorch, or
        ``"zero"``.

    Returns
    -------
    ndarray
        Of shape (), or of the labels' shape without reduction; of the input's dtype. Sums over rows
        are taken in double precision.

    Raises
    ------
    TypeError
        For other dtypes.
    ValueError
        For other shapes and options, and for a label out of range.
    """
    return _cross_entropy(
        input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing,
        all_ignored,
    ).forward()  # fmt: skip


def cross_entropy_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    all_ignored: str = "nan",
) -> Gradients:
    """Gradient of `cross_entropy` by the input and, where they are probabilities, by the targets.

    `grad_output` has the loss's shape. Ignored rows have gradient 0, also where all are ignored.
    """
    return _cross_entropy(
        input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing,
        all_ignored,
    ).backward(grad_output)  # fmt: skip


def _nll(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    size_average: bool | None,
    ignore_index: int,
    reduce: bool | None,
    reduction: str,
    all_ignored: str,
) -> RowLoss:
    reduction = as_reduction(reduction, size_average, reduce)
    scores, labels = Scores(input, weight), as_array(target, "target")
    ignored = as_ignore_index(ignore_index)
    return label_loss("nll_loss", scores, labels, ignored, reduction, all_ignored=all_ignored)


def nll_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    all_ignored: str = "nan",
) -> FloatArray:
    """Minus the input at each label: the likelihood loss of log-probabilities.

    Parameters
    ----------
    input
        Log-probabilities (C,), (n, C) or (n, C, d1, ...), float32 or float64.
    target
        Integer labels () or (1,), (n,) or (n, d1, ...) from 0 to C - 1.
    weight, size_average, ignore_index, reduce, reduction, all_ignored
        As in `cross_entropy`, which is this loss of `log_softmax`.

    Returns
    -------
    ndarray
        Of shape (), or of the labels' shape without reduction; of the input's dtype.

    Raises
    ------
    TypeError
        For other dtypes.
    ValueError
        For other shapes and options, and for a label out of range.
    """
    return _nll(
        input, target, weight, size_average, ignore_index, reduce, reduction, all_ignored
    ).forward()


def nll_loss_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    all_ignored: str = "nan",
) -> Gradients:
    """Gradient of `nll_loss` by the input; `grad_output` has the loss's shape."""
    return _nll(
        input, target, weight, size_average, ignore_index, reduce, reduction, all_ignored
    ).backward(grad_output)
