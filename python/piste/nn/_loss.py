"""What every loss is: its options, its two passes, and how it is lowered to the engine."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core, functional
from .._arrays import FloatArray, as_array, as_float
from ..functional._losses import REDUCTIONS, as_reduction

Flag = bool | None


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
    ignore_index : int or None
        Label that counts for nothing.
    """

    _function = ""  # of piste.functional
    _kind = "pointwise"  # the engine's
    _pointwise = ""  # its name of a pointwise loss
    labels, numbers = False, True
    target_range = (-math.inf, math.inf)
    ignore_index: int | None = None
    size_average: Flag = None  # `reduction` has what they asked for
    reduce: Flag = None
    _kept: tuple[Any, ...] | None = None
    _changes = 0  # of attributes

    def __init__(
        self,
        reduction: str = "mean",
        size_average: Flag = None,
        reduce: Flag = None,
        allowed: tuple[str, ...] = REDUCTIONS,
    ) -> None:
        if type(self) is Loss:
            raise TypeError("Loss is the base of all losses; expected one of them, such as MSELoss")
        self.reduction = as_reduction(reduction, size_average, reduce, allowed)

    def __setattr__(self, name: str, value: object) -> None:
        """Options that are set later are checked, and changed, as the constructor does."""
        if name[:1] != "_" and name in vars(self):
            value = self._as_option(name, value)
        object.__setattr__(self, name, value)
        object.__setattr__(self, "_changes", self._changes + 1)

    def _as_option(self, name: str, value: object) -> object:
        kind, names = self._kind_of(), self._option_names()
        if name in names:
            options = {other: getattr(self, other) for other in names}
            value = vars(kind(**{**options, name: value}))[name]
        elif name == "reduction":
            if kind is not Loss:
                raise AttributeError(f"reduction: {kind.__name__} has {self.reduction!r} alone")
            value = as_reduction(value)
        return value

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
        return {name: getattr(self, name) for name in self._option_names()}

    @classmethod
    def _kind_of(cls) -> type[Loss]:
        """The class of the package that this one is or comes from."""
        return next(kind for kind in cls.__mro__ if kind.__module__.startswith("piste.nn."))

    @classmethod
    def _option_names(cls) -> list[str]:
        """Of that class: those of others may have constructors of any kind."""
        kind = cls._kind_of()
        names = () if kind is Loss else inspect.signature(kind.__init__).parameters
        return [name for name in names if name not in ("self", "size_average", "reduce")]

    def _engine(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> dict[str, Any]:
        """The engine's options for outputs of `shape`."""
        return {"pointwise": self._pointwise}

    def _lower(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        self._check_passes()
        if self.reduction == "none":
            raise ValueError("reduction: training needs 'mean' or 'sum', got 'none'")
        options = {
            "kind": self._kind,
            "reduction": self.reduction,
            **self._engine(dtype, shape),
        }
        make: Any = _core.LossF32 if dtype == np.float32 else _core.LossF64
        return make(**options)

    def _check_passes(self) -> None:
        """Refuse what is written in Python: the engine would never run it."""
        name = type(self).__name__
        if self._kind_of() is Loss:
            raise TypeError(
                f"loss: {name} is no loss of piste's nor derived from one, which the engine knows; "
                "call it in a loop of your own, with model.forward and model.backward"
            )
        for method in ("__call__", "forward", "backward"):
            own = getattr(self, method)
            if getattr(own, "__func__", own) is not getattr(self._kind_of(), method):
                raise TypeError(
                    f"loss: {name} overrides {method}, but training runs in C++, which does not "
                    "call it; use it in a loop of your own, with model.forward and model.backward"
                )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._options().items())})"
        )


class LoweredLoss:
    """The engine's form of a loss, kept until an attribute of it is set, or it is another."""

    def __init__(self) -> None:
        self._loss: Loss | None = None
        self._changes = 0
        self._engine: Any = None

    def __call__(self, loss: Loss, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        """Of outputs of `shape`."""
        if loss is not self._loss or loss._changes != self._changes:
            self._engine = loss._lower(dtype, shape)
            # Arrays may be written to, and are spread over the shape.
            has_array = any(isinstance(option, np.ndarray) for option in vars(loss).values())
            self._loss, self._changes = None if has_array else loss, loss._changes
        return self._engine


def as_weight(value: npt.ArrayLike | None, name: str) -> npt.NDArray[np.float64] | None:
    if value is None:
        return None
    weight = as_array(value, name)
    if weight.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got dtype {weight.dtype}")
    if not np.isfinite(weight).all():
        raise ValueError(f"{name}: expected finite values")
    return np.array(weight, np.float64)


def check_trainable(weight: npt.NDArray[np.float64] | None, name: str) -> None:
    """Refuse negative weights, which a loss by hand takes as PyTorch does, but no descent."""
    if weight is not None and not np.isfinite(weight).all():  # written to since it was set
        raise ValueError(f"{name}: expected finite values")
    if weight is not None and (weight < 0).any():
        raise ValueError(f"{name}: training needs values of at least 0, got {weight.min()}")


def as_class_weight(value: npt.ArrayLike | None) -> npt.NDArray[np.float64] | None:
    weight = as_weight(value, "weight")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"weight: expected one per class, got shape {weight.shape}")
    return weight


def spread(
    weight: npt.NDArray[np.float64] | None, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> FloatArray | None:
    """A weight for each value of an output of `shape`."""
    check_trainable(weight, name)
    if weight is None:
        return None
    try:
        return np.ascontiguousarray(np.broadcast_to(weight, shape), dtype)
    except ValueError:
        raise ValueError(
            f"{name}: expected a shape that broadcasts to an output's {shape}, got {weight.shape}"
        ) from None
