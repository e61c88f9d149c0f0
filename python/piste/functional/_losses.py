"""What all losses share: reduction, broadcasting, and the call of the core."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import (
    FloatArray,
    as_array,
    as_float,
    as_gradient,
    as_optional_float,
    check_shape,
    empty,
)

REDUCTIONS = ("none", "mean", "sum")


def as_reduction(
    reduction: object,
    size_average: bool | None = None,
    reduce: bool | None = None,
    allowed: tuple[str, ...] = REDUCTIONS,
) -> str:
    """`reduction`, or what PyTorch's older arguments `size_average` and `reduce` ask for.

    Raises
    ------
    TypeError
        Where an older argument is neither a truth value nor None: a reduction's name, say, given
        without its keyword.
    ValueError
        For another reduction than those `allowed`.
    """
    for name, flag in (("size_average", size_average), ("reduce", reduce)):
        if flag is not None and not isinstance(flag, (bool, np.bool_, int)):
            raise TypeError(f"{name}: expected True, False or None, got {flag!r}")
    if size_average is not None or reduce is not None:
        if reduce is not None and not reduce:
            return "none"
        return "mean" if size_average is None or size_average else "sum"
    if reduction not in allowed:
        names = ", ".join(repr(name) for name in allowed)
        raise ValueError(f"reduction: expected one of {names}, got {reduction!r}")
    return str(reduction)


def quotient(a: float, b: float) -> float:
    """``a / b`` by IEEE's rules: NaN or infinity where `b` is 0."""
    if b != 0:
        return float(a) / float(b)
    with np.errstate(all="ignore"):
        return float(np.float64(a) / np.float64(b))


def as_grad_output(value: object, shape: tuple[int, ...], x: FloatArray) -> FloatArray:
    """The gradient by a loss of `shape`; a Python number will do for a single value."""
    if shape == () and isinstance(value, (int, float)):
        value = np.asarray(value, x.dtype)
    return as_gradient(value, x, shape)


def expand(array: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """`array` broadcast to `shape`, then as a vector in C order."""
    if array.shape != shape:
        array = np.broadcast_to(array, shape)
    return np.ascontiguousarray(array).reshape(-1)


def sum_to(gradient: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """The gradient by an array of `shape` that was broadcast: summed where it was repeated."""
    if gradient.shape == shape:
        return gradient
    lead = gradient.ndim - len(shape)
    repeated = tuple(
        axis for axis in range(gradient.ndim) if axis < lead or shape[axis - lead] == 1
    )
    total = gradient.sum(axis=repeated, dtype=np.float64, keepdims=True)
    return np.asarray(total.reshape(shape), gradient.dtype)


_SURELY_FINITE = 1e38
"""Smaller numbers are finite in float32 too."""


def as_loss(value: float, x: FloatArray) -> FloatArray:
    """A loss computed in double, as an array of shape () and the input's dtype."""
    if abs(value) < _SURELY_FINITE:
        return np.asarray(value, x.dtype)
    with np.errstate(over="ignore"):
        return np.asarray(value).astype(x.dtype)


def split_grad_output(
    grad_output: object, shape: tuple[int, ...] | None, divisor: float, x: FloatArray
) -> tuple[FloatArray | None, float]:
    """What the core multiplies gradients by: an array and a number.

    `shape` is that of a loss without reduction; None for one value, that was divided by `divisor`.
    """
    if shape is not None:
        return as_grad_output(grad_output, shape, x).reshape(-1), 1.0
    return None, quotient(float(as_grad_output(grad_output, (), x)), divisor)


class PointwiseLoss:
    """A loss of each value of an input and a target, reduced: forward and backward.

    Parameters
    ----------
    kind, a, b
        The core's name of the loss and its parameters.
    input, target
        Arrays that broadcast; with ``broadcast=False``, of one shape.
    reduction
        ``"none"``, ``"mean"``, ``"sum"``, or ``"batchmean"``: a sum divided by the input's
        first extent.
    weight
        Factor of each value's loss, which must broadcast to the shape of input and target.
    weighted_mean
        A mean divides by the sum of the weights, not by their number.
    extra
        Name and value of the third array that some kinds have, or None; it must broadcast as
        `weight` does.
    differentiable
        How many of input, target and extra have gradients.
    whole
        Integers and truth values are targets too, constants of the input's dtype.
    """

    def __init__(
        self,
        kind: str,
        input: npt.ArrayLike,
        target: npt.ArrayLike,
        reduction: str,
        *,
        a: float = 0.0,
        b: float = 0.0,
        broadcast: bool = True,
        weight: npt.ArrayLike | None = None,
        weighted_mean: bool = False,
        extra: tuple[str, npt.ArrayLike | None] = ("", None),
        differentiable: int = 2,
        whole: bool = True,
    ) -> None:
        self.x = as_float(input, "input")
        goal = as_array(target, "target")
        constant = whole and goal.dtype.kind in "iub"
        self.t = t = as_float(goal.astype(self.x.dtype) if constant else goal, "target", self.x)
        shape = _common_shape(self.x, t) if broadcast else self.x.shape
        if not broadcast:
            check_shape(t, shape, "target")
        w = _expandable(weight, "weight", self.x, shape)
        e = _expandable(extra[1], extra[0], self.x, shape)
        self.shape, self.reduction = shape, reduction
        sources = (("input", self.x), ("target", t), ("extra", e))[:differentiable]
        self.sources = {
            name: array for name, array in sources if not (constant and name == "target")
        }
        self.size = math.prod(shape)
        self.divisor = 1.0
        if reduction == "mean":
            self.divisor = float(self.size)
            if w is not None and weighted_mean:
                self.divisor = float(np.broadcast_to(w, shape).sum(dtype=np.float64))
        elif reduction == "batchmean" and self.x.shape:
            self.divisor = float(self.x.shape[0])
        vectors = [None if array is None else expand(array, shape) for array in (self.x, t, e, w)]
        self.arguments: tuple[Any, ...] = (kind, a, b, *vectors)

    def forward(self) -> FloatArray:
        """The loss."""
        core: Any = _core.pointwise_loss
        if self.reduction == "none":
            losses = empty(self.shape, self.x.dtype)
            core(*self.arguments, losses.reshape(-1))
            return losses
        total = core(*self.arguments, None)
        return as_loss(quotient(total, self.divisor), self.x)

    def backward(self, grad_output: object) -> tuple[FloatArray | None, ...]:
        """Gradients by the differentiable arrays, None for one that was None."""
        grad, scale = split_grad_output(
            grad_output, self.shape if self.reduction == "none" else None, self.divisor, self.x
        )
        gradients: dict[str, Any] = {
            name: None if source is None else empty((self.size,), self.x.dtype)
            for name, source in self.sources.items()
        }
        core: Any = _core.pointwise_loss_backward
        buffers = [gradients.get(name) for name in ("input", "target", "extra")]
        core(*self.arguments, grad, scale, *buffers)
        return tuple(
            None if source is None else sum_to(gradients[name].reshape(self.shape), source.shape)
            for name, source in self.sources.items()
        )


def _common_shape(x: FloatArray, t: FloatArray) -> tuple[int, ...]:
    if x.shape == t.shape:
        return x.shape
    try:
        shape = np.broadcast_shapes(x.shape, t.shape)
    except ValueError:
        raise ValueError(
            f"target: expected a shape that broadcasts with the input's {x.shape}, got {t.shape}"
        ) from None
    if shape != x.shape:
        # An input repeated to fit its target is the slip of (n, 1) against (n,) more often than
        # what was meant.
        warnings.warn(
            f"input of shape {x.shape} is broadcast to {shape} to fit a target of {t.shape}",
            stacklevel=5,
        )
    return shape


def _expandable(
    value: npt.ArrayLike | None, name: str, x: FloatArray, shape: tuple[int, ...]
) -> FloatArray | None:
    array = as_optional_float(value, name, like=x)
    if array is None:
        return None
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: expected a shape that broadcasts to {shape}, got {array.shape}")
    return array
