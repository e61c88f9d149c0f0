"""Losses of one label, or one row of probabilities, for each row of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..functional._arguments import as_finite
from ..functional.class_losses import as_ignore_index, as_smoothing
from ..functional.margin_losses import as_power
from ._loss import Flag, Loss, as_class_weight, check_trainable


class _ClassLoss(Loss):
    labels, numbers = True, False
    weight: npt.NDArray[np.float64] | None

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        check_trainable(self.weight, "weight")
        weight = None if self.weight is None else self.weight.astype(dtype)
        return {"class_weight": weight, "ignore_index": self.ignore_index}


class CrossEntropyLoss(_ClassLoss):
    """Cross-entropy of logits with labels or probabilities; see `functional.cross_entropy`.

    A Trainer takes the loss of a batch whose labels are all ignored for 0, as there is nothing to
    learn from it; the loss itself, called or by `forward`, is NaN then, as in PyTorch.
    """

    _function, _kind = "cross_entropy", "cross_entropy"
    numbers = True

    def __init__(
        self,
        weight: npt.ArrayLike | None = None,
        size_average: Flag = None,
        ignore_index: int = -100,
        reduce: Flag = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.weight = as_class_weight(weight)
        self.ignore_index = as_ignore_index(ignore_index)
        self.label_smoothing = as_smoothing(label_smoothing)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {**super()._engine(dtype, shape), "label_smoothing": self.label_smoothing}


class NLLLoss(_ClassLoss):
    """Likelihood loss of log-probabilities with labels; see `functional.nll_loss`.

    Where all labels are ignored, it is as `CrossEntropyLoss`.
    """

    _function, _kind = "nll_loss", "nll"

    def __init__(
        self,
        weight: npt.ArrayLike | None = None,
        size_average: Flag = None,
        ignore_index: int = -100,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.weight = as_class_weight(weight)
        self.ignore_index = as_ignore_index(ignore_index)


class MultiMarginLoss(_ClassLoss):
    """A margin between the label's score and every other; see `functional.multi_margin_loss`."""

    _function, _kind = "multi_margin_loss", "multi_margin"

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: npt.ArrayLike | None = None,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.p, self.margin = as_power(p), as_finite(margin, "margin")
        self.weight = as_class_weight(weight)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {**super()._engine(dtype, shape), "a": self.margin, "b": self.p}
