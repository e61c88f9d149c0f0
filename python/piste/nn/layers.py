"""Layers without a family: linear, dropout and those that change the shape."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from ..functional._arguments import LARGEST, as_flag, as_int, as_number
from ._sizes import Weighted
from .module import Elementwise, Module


class Linear(Weighted):
    """``x @ weight.T + bias`` on (n, in_features)."""

    _fixed = ("in_features", "out_features")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set_options(in_features=in_features, out_features=out_features)
        biases = self.out_features if as_flag(bias, "bias") else 0
        self._make((self.out_features, self.in_features), biases, dtype)

    def _settle(self, in_features: object, out_features: object) -> None:
        self.in_features = as_int(in_features, "in_features", 1)
        self.out_features = as_int(out_features, "out_features", 1)

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return (1, *shape) if len(shape) == 1 else None

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.linear(value, name or "linear", self.weight, self.bias))

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Dropout(Elementwise):
    """Zero each value with probability `p` in training, scaling the others by 1/(1-p).

    Srivastava et al. 2014. `inplace` has no effect here.
    """

    _whole_channels = False

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self._set_options(p=p, inplace=inplace)

    def _settle(self, p: object, inplace: object) -> None:
        self.p, self.inplace = as_number(p, "p"), as_flag(inplace, "inplace")
        if not 0 <= self.p <= 1:
            raise ValueError(f"p: expected a probability from 0 to 1, got {p}")

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if self._axes is None:
            return super()._batch_shape(shape)
        return self._one_sample(shape)

    def _lower(self, net: Any, value: int, name: str) -> int:
        axes = self._axes if self._whole_channels else 0
        return int(net.dropout(value, name or "dropout", self.p, axes))

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """`Dropout` of whole channels of (n, channels, length) (Tompson et al. 2015)."""

    _axes, _whole_channels = 1, True


class Dropout2d(Dropout):
    """`Dropout` of whole channels of (n, channels, h, w) (Tompson et al. 2015)."""

    _axes, _whole_channels = 2, True


class Dropout3d(Dropout):
    """`Dropout` of whole channels of (n, channels, d, h, w) (Tompson et al. 2015)."""

    _axes, _whole_channels = 3, True


class Identity(Module):
    """The input as it is; arguments are ignored."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def _lower(self, net: Any, value: int, name: str) -> int:
        return value


def _as_axis(value: object, name: str) -> int:
    axis = as_int(value, name, -LARGEST)
    if axis == 0:
        raise ValueError(f"{name}: expected an axis other than that of the samples, got 0")
    return axis


class Flatten(Module):
    """Axes `start_dim` to `end_dim` put together: (n, channels, h, w) to (n, features)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self._set_options(start_dim=start_dim, end_dim=end_dim)

    def _settle(self, start_dim: object, end_dim: object) -> None:
        self.start_dim = _as_axis(start_dim, "start_dim")
        self.end_dim = _as_axis(end_dim, "end_dim")

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.flatten(value, name or "flatten", self.start_dim, self.end_dim))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis cut into several: (n, features) to (n, channels, h, w)."""

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self._set_options(dim=dim, unflattened_size=unflattened_size)

    def _settle(self, dim: object, unflattened_size: object) -> None:
        self.dim = _as_axis(dim, "dim")
        if not isinstance(unflattened_size, Iterable):
            raise TypeError(f"unflattened_size: expected sizes, got {unflattened_size!r}")
        self.unflattened_size = tuple(
            as_int(size, "unflattened_size", -1) for size in unflattened_size
        )
        sizes = self.unflattened_size
        if not sizes or 0 in sizes or sizes.count(-1) > 1 or math.prod(sizes) > LARGEST:
            raise ValueError(
                f"unflattened_size: expected sizes from 1, at most one of them -1, got {sizes}"
            )

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.unflatten(value, name or "unflatten", self.dim, self.unflattened_size))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
