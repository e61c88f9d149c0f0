"""Losses for `piste.Trainer` and for loops of one's own, with PyTorch's constructor arguments.

The options are those of the function in `piste.functional` that a class names; `size_average` and
`reduce` are what PyTorch had before `reduction`, and decide where they are not None.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arrays import FloatArray
from ..functional._arguments import as_finite
from ..functional._losses import REDUCTIONS
from ..functional.losses import as_beta, as_delta
from ._loss import Flag, Loss, as_weight, spread
from .class_losses import CrossEntropyLoss, MultiMarginLoss, NLLLoss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LeastSquaresLoss",
    "Loss",
    "MSELoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
]


class MSELoss(Loss):
    """Mean of squared differences; see `functional.mse_loss`."""

    _function, _pointwise = "mse_loss", "squared"

    def __init__(
        self, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, size_average, reduce)


class LeastSquaresLoss(Loss):
    """Sum of squared differences, with no division by their number."""

    _function, _pointwise = "least_squares_loss", "squared"

    def __init__(self) -> None:
        super().__init__("sum")


class L1Loss(Loss):
    """Mean of absolute differences; see `functional.l1_loss`."""

    _function, _pointwise = "l1_loss", "absolute"

    def __init__(
        self, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, size_average, reduce)


class SmoothL1Loss(Loss):
    """Squared below `beta`, absolute above; see `functional.smooth_l1_loss`."""

    _function, _pointwise = "smooth_l1_loss", "smooth_l1"

    def __init__(
        self,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.beta = as_beta(beta)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {**super()._engine(dtype, shape), "a": self.beta}


class HuberLoss(Loss):
    """Squared below `delta`, absolute above; see `functional.huber_loss`."""

    _function, _pointwise = "huber_loss", "huber"

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = as_delta(delta)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {**super()._engine(dtype, shape), "a": self.delta}


class BCELoss(Loss):
    """Binary cross-entropy of probabilities; see `functional.binary_cross_entropy`.

    For training, `weight` broadcasts to one output.
    """

    _function, _pointwise = "binary_cross_entropy", "bce"
    target_range = (0.0, 1.0)

    def __init__(
        self,
        weight: npt.ArrayLike | None = None,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.weight = as_weight(weight, "weight")

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        weight = spread(self.weight, "weight", dtype, shape)
        return {**super()._engine(dtype, shape), "weight": weight}


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits; see `functional.binary_cross_entropy_with_logits`.

    For training, `weight` and `pos_weight` broadcast to one output.
    """

    _function = "binary_cross_entropy_with_logits"
    _pointwise = "bce_with_logits"
    target_range = (0.0, 1.0)

    def __init__(
        self,
        weight: npt.ArrayLike | None = None,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
        pos_weight: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.weight = as_weight(weight, "weight")
        self.pos_weight = as_weight(pos_weight, "pos_weight")

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {
            **super()._engine(dtype, shape),
            "weight": spread(self.weight, "weight", dtype, shape),
            "extra": spread(self.pos_weight, "pos_weight", dtype, shape),
        }


class KLDivLoss(Loss):
    """Kullback and Leibler's divergence of log-probabilities; see `functional.kl_div`."""

    _function = "kl_div"

    def __init__(
        self,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(reduction, size_average, reduce, (*REDUCTIONS, "batchmean"))
        self.log_target = bool(log_target)

    @property
    def target_range(self) -> tuple[float, float]:  # type: ignore[override]
        """Of probabilities, or of their logarithms."""
        return (-math.inf if self.log_target else 0.0, math.inf)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {"pointwise": "kl_div_log_target" if self.log_target else "kl_div"}


class PoissonNLLLoss(Loss):
    """Likelihood loss of counts; see `functional.poisson_nll_loss`."""

    _function = "poisson_nll_loss"
    target_range = (0.0, math.inf)

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: Flag = None,
        eps: float = 1e-8,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.log_input, self.full = bool(log_input), bool(full)
        self.eps = as_finite(eps, "eps", 0)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        kind = "poisson_nll_log_input" if self.log_input else "poisson_nll"
        return {"pointwise": kind, "a": self.eps, "b": float(self.full)}


class GaussianNLLLoss(Loss):
    """Likelihood loss of means and variances; see `functional.gaussian_nll_loss`.

    It is called with input, target and var. A Trainer has no place for the variances.
    """

    _function = "gaussian_nll_loss"

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = bool(full), as_finite(eps, "eps", 0)

    def __call__(  # type: ignore[override]
        self, input: npt.ArrayLike, target: npt.ArrayLike, var: npt.ArrayLike
    ) -> FloatArray:
        """The loss."""
        return self._value(self._arguments(input, target, var))

    def forward(  # type: ignore[override]
        self, input: npt.ArrayLike, target: npt.ArrayLike, var: npt.ArrayLike
    ) -> FloatArray:
        """The loss, keeping what `backward` needs."""
        self._kept = self._arguments(input, target, var)
        return self._value(self._kept)

    def _lower(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        raise TypeError(
            "loss: GaussianNLLLoss needs variances, for which a Trainer has no place; call it in a "
            "loop of your own, with model.forward and model.backward"
        )


class HingeEmbeddingLoss(Loss):
    """Distances of what is alike (1) and unlike (-1); see `functional.hinge_embedding_loss`."""

    _function, _pointwise = "hinge_embedding_loss", "hinge_embedding"
    target_range = (-1.0, 1.0)

    def __init__(
        self,
        margin: float = 1.0,
        size_average: Flag = None,
        reduce: Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.margin = as_finite(margin, "margin")

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {**super()._engine(dtype, shape), "a": self.margin}


class SoftMarginLoss(Loss):
    """Logistic loss of targets 1 and -1; see `functional.soft_margin_loss`."""

    _function, _pointwise = "soft_margin_loss", "soft_margin"
    target_range = (-1.0, 1.0)

    def __init__(
        self, size_average: Flag = None, reduce: Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, size_average, reduce)
