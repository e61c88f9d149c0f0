"""Losses for `piste.Trainer`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import as_array
from ..functional._arguments import LARGEST, as_int, as_number


class Loss:
    """What a network is trained to make small.

    Parameters
    ----------
    reduction
        ``"mean"`` or ``"sum"`` over the batch.
    """

    _kind = ""
    labels = False
    target_range = (-math.inf, math.inf)

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction: expected 'mean' or 'sum', got {reduction!r}")
        self.reduction = reduction

    def _options(self, dtype: np.dtype[Any]) -> tuple[Any, int, float]:
        return None, -100, 0.0

    def _lower(self, dtype: np.dtype[Any]) -> Any:
        make = _core.LossF32 if dtype == np.float32 else _core.LossF64
        return make(self._kind, self.reduction, *self._options(dtype))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(reduction={self.reduction!r})"


class MSELoss(Loss):
    """Mean of squared differences."""

    _kind = "mse"


class LeastSquaresLoss(Loss):
    """Sum of squared differences, with no division by their number."""

    _kind = "least_squares"

    def __init__(self) -> None:
        super().__init__("sum")


class L1Loss(Loss):
    """Mean of absolute differences."""

    _kind = "l1"


class BCELoss(Loss):
    """Binary cross-entropy of probabilities."""

    _kind = "bce"
    target_range = (0.0, 1.0)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits, stable for large ones."""

    _kind = "bce_with_logits"
    target_range = (0.0, 1.0)


class CrossEntropyLoss(Loss):
    """Cross-entropy of logits with class labels, or with probabilities.

    Parameters
    ----------
    weight
        One factor per class; a mean divides by the labels' weights.
    ignore_index
        Label that counts for nothing.
    reduction
        ``"mean"`` or ``"sum"``.
    label_smoothing
        Share of the target spread evenly over all classes, from 0 to 1.
    """

    _kind = "cross_entropy"
    labels = True

    def __init__(
        self,
        weight: npt.ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.label_smoothing = as_number(label_smoothing, "label_smoothing")
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing: expected 0 to 1, got {label_smoothing}")
        self.weight = None if weight is None else as_array(weight, "weight")
        if self.weight is not None:
            if self.weight.ndim != 1:
                raise ValueError(f"weight: expected one per class, got shape {self.weight.shape}")
            if self.weight.dtype.kind not in "fiu":
                raise TypeError(f"weight: expected numbers, got dtype {self.weight.dtype}")
            if not np.isfinite(self.weight).all() or (self.weight < 0).any():
                raise ValueError("weight: expected finite values of at least 0")
        self.ignore_index = as_int(ignore_index, "ignore_index", -LARGEST)

    def _options(self, dtype: np.dtype[Any]) -> tuple[Any, int, float]:
        weight = None if self.weight is None else np.ascontiguousarray(self.weight, dtype)
        return weight, self.ignore_index, self.label_smoothing
