"""Losses for `piste.Trainer`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import as_array


class Loss:
    """What a network is trained to make small.

    Parameters
    ----------
    reduction
        ``"mean"`` or ``"sum"`` over the batch.
    """

    _kind = ""
    labels = False

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


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits, stable for large ones."""

    _kind = "bce_with_logits"


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
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing: expected 0 to 1, got {label_smoothing}")
        self.weight = None if weight is None else as_array(weight, "weight")
        if self.weight is not None and self.weight.ndim != 1:
            raise ValueError(f"weight: expected one per class, got shape {self.weight.shape}")
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def _options(self, dtype: np.dtype[Any]) -> tuple[Any, int, float]:
        weight = None if self.weight is None else np.ascontiguousarray(self.weight, dtype)
        return weight, self.ignore_index, self.label_smoothing
