"""What layers' constructors have in common."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy.typing as npt

from .._arrays import as_dtype
from .module import Module, uniform

Sizes: TypeAlias = int | tuple[int, ...]


class Weighted(Module):
    """A weight and an optional bias, Kaiming uniform with a = sqrt(5): bound 1/sqrt(fan in).

    He et al. 2015; the fan in is the product of the weight's extents but the first.
    """

    def _make(self, shape: tuple[int, ...], biases: int, dtype: npt.DTypeLike | None) -> None:
        kind = as_dtype(dtype)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self._add_parameter("weight", uniform(shape, bound, kind))
        self._add_parameter("bias", uniform((biases,), bound, kind) if biases else None)
