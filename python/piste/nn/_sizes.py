"""What layers' constructors have in common."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._arrays import describe
from .module import Module, uniform

Sizes: TypeAlias = int | tuple[int, ...]


def as_dtype(dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    """The dtype of a layer's parameters: float32 unless float64 is asked for."""
    result = np.dtype(np.float32 if dtype is None else dtype)
    if result not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype: expected float32 or float64, got {result}")
    return result


def as_flag(value: object, name: str) -> bool:
    """`value` as a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")
    return bool(value)


class Weighted(Module):
    """A weight and an optional bias, Kaiming uniform with a = sqrt(5): bound 1/sqrt(fan in).

    He et al. 2015; the fan in is the product of the weight's extents but the first.
    """

    def _make(self, shape: tuple[int, ...], biases: int, dtype: npt.DTypeLike | None) -> None:
        kind = as_dtype(dtype)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self._parameters["weight"] = uniform(shape, bound, kind)
        self._parameters["bias"] = uniform((biases,), bound, kind) if biases else None
