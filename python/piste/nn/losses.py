"""Losses for `piste.Trainer` and for loops of one's own, with PyTorch's constructor arguments.

The options are those of the function in `piste.functional` that a class names; `size_average` and
`reduce` are what PyTorch had before `reduction`, and decide where they are not None.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core, functional
from .._arrays import FloatArray, as_array, as_float
from ..functional._arguments import as_finite
from ..functional._losses import REDUCTIONS, as_reduction
from ..functional.class_losses import NO_LABEL, as_ignore_index, as_smoothing
from ..functional.losses import as_delta
from ..functional.margin_losses import as_power

_Flag = bool | None


class Loss:
    """What a network is trained to make small.

    ``loss(input, target)`` is its value. ``loss.forward(input, target)`` is the same, after which
    ``loss.backward()`` is the gradient by the input, to be handed to a model's ``backward``.
    Targets and weights are taken in the input's dtype.

    Attributes
    ----------
    reduction : str
        ``"mean"``, ``"sum"``, or ``"none"``, which a Trainer does not take.
    labels, numbers : bool
        What targets may be: integer labels; an array of the input's shape.
    target_range : tuple of float
        Of those numbers.
    ignore_index : int
        Label that counts for nothing.
    """

    _function = ""  # of piste.functional
    _kind = "pointwise"  # the engine's
    _pointwise = ""  # its name of a pointwise loss
    labels, numbers = False, True
    target_range = (-math.inf, math.inf)
    ignore_index = NO_LABEL
    size_average: _Flag = None  # `reduction` has what they asked for
    reduce: _Flag = None
    _kept: tuple[Any, ...] | None = None

    def __init__(
        self,
        reduction: str = "mean",
        size_average: _Flag = None,
        reduce: _Flag = None,
        allowed: tuple[str, ...] = REDUCTIONS,
    ) -> None:
        self.reduction = as_reduction(reduction, size_average, reduce, allowed)

    def __call__(self, input: npt.ArrayLike, target: npt.ArrayLike) -> FloatArray:
        """The loss: one number of shape (), or without reduction one for each value or row."""
        return self._value(self._arguments(input, target))

    def forward(self, input: npt.ArrayLike, target: npt.ArrayLike) -> FloatArray:
        """The loss, keeping what `backward` needs."""
        self._kept = self._arguments(input, target)
        return self._value(self._kept)

    def backward(self, grad_output: npt.ArrayLike = 1.0) -> FloatArray:
        """Gradient by the input of the last `forward`; `grad_output` has the loss's shape."""
        if self._kept is None:
            raise RuntimeError("backward: call forward first")
        gradient: FloatArray = self._run("_backward", grad_output, *self._kept)[0]
        return gradient

    def _arguments(self, input: npt.ArrayLike, *others: npt.ArrayLike) -> tuple[Any, ...]:
        x = as_float(input, "input")
        return x, *(self._like(as_array(value, "target"), x) for value in others)

    def _like(self, target: npt.NDArray[Any], x: FloatArray) -> npt.NDArray[Any]:
        if self.labels and target.dtype.kind in "iu":
            return target
        return np.asarray(target, x.dtype) if target.dtype.kind in "fiub" else target

    def _value(self, arrays: tuple[Any, ...]) -> FloatArray:
        value: FloatArray = self._run("", *arrays)
        return value

    def _run(self, suffix: str, *arrays: Any) -> Any:
        dtype = next(array.dtype for array in arrays if isinstance(array, np.ndarray))
        options = {
            name: np.asarray(value, dtype) if isinstance(value, np.ndarray) else value
            for name, value in self._options().items()
        }
        return getattr(functional, self._function + suffix)(*arrays, **options)

    def _options(self) -> dict[str, Any]:
        """The constructor's arguments, which are those of the function too."""
        names = inspect.signature(type(self).__init__).parameters
        return {
            name: getattr(self, name)
            for name in names
            if name not in ("self", "size_average", "reduce")
        }

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        """The engine's options for outputs of `shape`."""
        return {"pointwise": self._pointwise}

    def _lower(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        if self.reduction == "none":
            raise ValueError("reduction: training needs 'mean' or 'sum', got 'none'")
        make: Any = _core.LossF32 if dtype == np.float32 else _core.LossF64
        return make(kind=self._kind, reduction=self.reduction, **self._engine(dtype, shape))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._options().items())})"
        )


def _as_weight(value: npt.ArrayLike | None, name: str) -> npt.NDArray[np.float64] | None:
    if value is None:
        return None
    weight = as_array(value, name)
    if weight.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got dtype {weight.dtype}")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(f"{name}: expected finite values of at least 0")
    return np.array(weight, np.float64)


def _as_class_weight(value: npt.ArrayLike | None) -> npt.NDArray[np.float64] | None:
    weight = _as_weight(value, "weight")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"weight: expected one per class, got shape {weight.shape}")
    return weight


def _spread(
    weight: npt.NDArray[np.float64] | None, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> FloatArray | None:
    """A weight for each value of an output of `shape`."""
    if weight is None:
        return None
    try:
        return np.ascontiguousarray(np.broadcast_to(weight, shape), dtype)
    except ValueError:
        raise ValueError(
            f"{name}: expected a shape that broadcasts to an output's {shape}, got {weight.shape}"
        ) from None


class MSELoss(Loss):
    """Mean of squared differences; see `functional.mse_loss`."""

    _function, _pointwise = "mse_loss", "squared"

    def __init__(
        self, size_average: _Flag = None, reduce: _Flag = None, reduction: str = "mean"
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
        self, size_average: _Flag = None, reduce: _Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, size_average, reduce)


class SmoothL1Loss(Loss):
    """Squared below `beta`, absolute above; see `functional.smooth_l1_loss`."""

    _function, _pointwise = "smooth_l1_loss", "smooth_l1"

    def __init__(
        self,
        size_average: _Flag = None,
        reduce: _Flag = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.beta = as_finite(beta, "beta", 0)

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
        size_average: _Flag = None,
        reduce: _Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.weight = _as_weight(weight, "weight")

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        weight = _spread(self.weight, "weight", dtype, shape)
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
        size_average: _Flag = None,
        reduce: _Flag = None,
        reduction: str = "mean",
        pos_weight: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.weight = _as_weight(weight, "weight")
        self.pos_weight = _as_weight(pos_weight, "pos_weight")

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {
            **super()._engine(dtype, shape),
            "weight": _spread(self.weight, "weight", dtype, shape),
            "extra": _spread(self.pos_weight, "pos_weight", dtype, shape),
        }


class KLDivLoss(Loss):
    """Kullback and Leibler's divergence of log-probabilities; see `functional.kl_div`."""

    _function = "kl_div"

    def __init__(
        self,
        size_average: _Flag = None,
        reduce: _Flag = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(reduction, size_average, reduce, (*REDUCTIONS, "batchmean"))
        self.log_target = bool(log_target)
        self._pointwise = "kl_div_log_target" if log_target else "kl_div"
        self.target_range = (-math.inf if log_target else 0.0, math.inf)


class PoissonNLLLoss(Loss):
    """Likelihood loss of counts; see `functional.poisson_nll_loss`."""

    _function = "poisson_nll_loss"
    target_range = (0.0, math.inf)

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: _Flag = None,
        eps: float = 1e-8,
        reduce: _Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.log_input, self.full = bool(log_input), bool(full)
        self.eps = as_finite(eps, "eps", 0)
        self._pointwise = "poisson_nll_log_input" if log_input else "poisson_nll"

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {**super()._engine(dtype, shape), "a": self.eps, "b": float(self.full)}


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
        size_average: _Flag = None,
        reduce: _Flag = None,
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
        self, size_average: _Flag = None, reduce: _Flag = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction, size_average, reduce)


class CrossEntropyLoss(Loss):
    """Cross-entropy of logits with labels or probabilities; see `functional.cross_entropy`."""

    _function, _kind = "cross_entropy", "cross_entropy"
    labels = True

    def __init__(
        self,
        weight: npt.ArrayLike | None = None,
        size_average: _Flag = None,
        ignore_index: int = -100,
        reduce: _Flag = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.weight = _as_class_weight(weight)
        self.ignore_index = as_ignore_index(ignore_index)
        self.label_smoothing = as_smoothing(label_smoothing)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {
            "class_weight": None if self.weight is None else self.weight.astype(dtype),
            "ignore_index": self.ignore_index,
            "label_smoothing": self.label_smoothing,
        }


class NLLLoss(Loss):
    """Likelihood loss of log-probabilities with labels; see `functional.nll_loss`."""

    _function, _kind = "nll_loss", "nll"
    labels, numbers = True, False

    def __init__(
        self,
        weight: npt.ArrayLike | None = None,
        size_average: _Flag = None,
        ignore_index: int = -100,
        reduce: _Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.weight = _as_class_weight(weight)
        self.ignore_index = as_ignore_index(ignore_index)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {
            "class_weight": None if self.weight is None else self.weight.astype(dtype),
            "ignore_index": self.ignore_index,
        }


class MultiMarginLoss(Loss):
    """A margin between the label's score and every other; see `functional.multi_margin_loss`."""

    _function, _kind = "multi_margin_loss", "multi_margin"
    labels, numbers = True, False

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: npt.ArrayLike | None = None,
        size_average: _Flag = None,
        reduce: _Flag = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction, size_average, reduce)
        self.p, self.margin = as_power(p), as_finite(margin, "margin")
        self.weight = _as_class_weight(weight)

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        return {
            "a": self.margin,
            "b": self.p,
            "class_weight": None if self.weight is None else self.weight.astype(dtype),
            "ignore_index": NO_LABEL,
        }
