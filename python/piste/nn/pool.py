"""Pools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core, functional
from .._arrays import FloatArray, as_float
from ..functional._arguments import as_flag, as_int, as_ints, lifted
from ..functional._pooling import as_divisor
from ._sizes import Sizes
from .module import Module


def _as_given(sizes: Any) -> Any:
    """Checked sizes as they came, but for lists and arrays, which could be written to."""
    if isinstance(sizes, np.ndarray) and sizes.ndim == 0:
        return int(sizes)
    if not isinstance(sizes, Iterable):
        return sizes
    return tuple(None if size is None else int(size) for size in sizes)


class _Pool(Module):
    """Windows of a kernel; the arguments are kept as given, for `repr`."""

    def _settle_window(
        self,
        kernel_size: object,
        stride: object | None,
        padding: object,
        dilation: object,
        ceil_mode: object,
    ) -> None:
        axes = self._axes
        assert axes is not None
        stride = kernel_size if stride is None else stride
        self.ceil_mode = as_flag(ceil_mode, "ceil_mode")
        kernel = as_ints(kernel_size, "kernel_size", axes, 1)
        pads = as_ints(padding, "padding", axes, 0)
        for pad, extent in zip(pads, kernel, strict=True):
            if 2 * pad > extent:
                raise ValueError(
                    f"padding: expected at most half of kernel_size {kernel_size}, got {padding}"
                )
        self._window = (
            lifted(kernel, 1),
            lifted(as_ints(stride, "stride", axes, 1), 1),
            lifted(pads, 0),
            lifted(as_ints(dilation, "dilation", axes, 1), 1),
            self.ceil_mode,
        )
        self.kernel_size, self.stride = _as_given(kernel_size), _as_given(stride)
        self.padding, self.dilation = _as_given(padding), _as_given(dilation)

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return self._one_sample(shape)

    def _core_window(self) -> _core.PoolWindow:
        return _core.PoolWindow(*self._window)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _Indexed:
    """A max pool of `piste.functional` in the place of a network: it has a second output."""

    def __init__(self, pool: str, *options: Any) -> None:
        self._pool, self._options = pool, options
        self._input: FloatArray | None = None

    def predict(self, x: npt.ArrayLike) -> Any:
        return getattr(functional, self._pool)(x, *self._options, return_indices=True)

    def forward(self, x: npt.ArrayLike, training: bool) -> Any:
        self._input = as_float(x, "x")
        return self.predict(self._input)

    def backward(self, grad_output: npt.ArrayLike) -> FloatArray:
        if self._input is None:
            raise RuntimeError("backward: call forward first")
        differentiate = getattr(functional, self._pool + "_backward")
        gradient: FloatArray = differentiate(grad_output, self._input, *self._options)[0]
        return gradient


class _MayIndex(Module):
    """Gives (output, indices) when called by itself; inside a network there is one output."""

    return_indices: bool
    _indexed: _Indexed | None = None

    def _set_indices(self, return_indices: object, pool: str, *options: Any) -> None:
        self.return_indices = as_flag(return_indices, "return_indices")
        named = f"{pool}{self._axes}d"
        self._indexed = _Indexed(named, *options) if self.return_indices else None

    def _by_hand(self, x: object = None) -> Any:
        return self._indexed or super()._by_hand(x)

    def _check_lowered(self, name: str) -> None:
        if self.return_indices:
            raise ValueError(
                f"{name}: return_indices: a layer inside a network or a Trainer has one output; "
                "call the layer by itself, or piste.functional's pool"
            )


class _MaxPool(_Pool, _MayIndex):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self._set_options(
            kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
            return_indices=return_indices, ceil_mode=ceil_mode,
        )  # fmt: skip

    def _settle(self, return_indices: object, **sizes: Any) -> None:
        self._settle_window(**sizes)
        window = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        self._set_indices(return_indices, "max_pool", *window)

    def _lower(self, net: Any, value: int, name: str) -> int:
        self._check_lowered(name or "max_pool")
        return int(net.max_pool(value, name or "max_pool", self._axes, self._core_window()))

    def extra_repr(self) -> str:
        return super().extra_repr() + f", dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class _AvgPool(_Pool):
    def _settle(self, **options: Any) -> None:
        self.count_include_pad = as_flag(options.pop("count_include_pad"), "count_include_pad")
        self.divisor_override = options.pop("divisor_override", None)
        self._divisor = as_divisor(self.divisor_override)
        self._settle_window(**options, dilation=1)

    def _lower(self, net: Any, value: int, name: str) -> int:
        options = self._core_window(), self.count_include_pad, self._divisor
        return int(net.avg_pool(value, name or "avg_pool", self._axes, *options))


class _DividedPool(_AvgPool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self._set_options(
            kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
            count_include_pad=count_include_pad, divisor_override=divisor_override,
        )  # fmt: skip


class _AdaptivePool(Module):
    _largest = False

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self._set_options(output_size=output_size)

    def _settle(self, output_size: Any) -> None:
        axes = self._axes
        assert axes is not None
        each = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
        if len(each) != axes:
            raise ValueError(f"output_size: expected one size or {axes}, got {output_size!r}")
        sizes = tuple(0 if n is None else as_int(n, "output_size", 1) for n in each)
        self._size = lifted(sizes, 0)
        self.output_size = _as_given(output_size)

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return self._one_sample(shape)

    def _lower(self, net: Any, value: int, name: str) -> int:
        kind = f"adaptive_{'max' if self._largest else 'avg'}_pool"
        return int(net.adaptive_pool(value, name or kind, self._axes, self._size, self._largest))

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMaxPool(_AdaptivePool, _MayIndex):
    _largest = True

    def __init__(
        self, output_size: int | Sequence[int | None] | None, return_indices: bool = False
    ) -> None:
        Module.__init__(self)
        self._set_options(output_size=output_size, return_indices=return_indices)

    def _settle(self, output_size: Any, return_indices: object = False) -> None:
        super()._settle(output_size)
        self._set_indices(return_indices, "adaptive_max_pool", self.output_size)

    def _lower(self, net: Any, value: int, name: str) -> int:
        self._check_lowered(name or "adaptive_max_pool")
        return super()._lower(net, value, name)


class MaxPool1d(_MaxPool):
    """Largest value of each window, of (n, channels, length)."""

    _axes = 1


class MaxPool2d(_MaxPool):
    """Largest value of each window, of (n, channels, h, w).

    With `return_indices`, the layer called by itself gives (output, indices) as
    `functional.max_pool2d` does; no network can hold it then.
    """

    _axes = 2


class MaxPool3d(_MaxPool):
    """Largest value of each window, of (n, channels, d, h, w)."""

    _axes = 3


class AvgPool1d(_AvgPool):
    """Mean of each window, of (n, channels, length)."""

    _axes = 1

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self._set_options(
            kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )  # fmt: skip

    def _settle(self, **options: Any) -> None:
        super()._settle(**options)
        self.kernel_size = as_ints(self.kernel_size, "kernel_size", 1, 1)
        self.stride = as_ints(self.stride, "stride", 1, 1)
        self.padding = as_ints(self.padding, "padding", 1, 0)


class AvgPool2d(_DividedPool):
    """Mean of each window, of (n, channels, h, w)."""

    _axes = 2


class AvgPool3d(_DividedPool):
    """Mean of each window, of (n, channels, d, h, w)."""

    _axes = 3


class AdaptiveAvgPool1d(_AdaptivePool):
    """Mean over each of `output_size` parts (None: all) of (n, channels, length)."""

    _axes = 1


class AdaptiveAvgPool2d(_AdaptivePool):
    """Mean over each of `output_size` parts (None: all) of (n, channels, h, w)."""

    _axes = 2


class AdaptiveAvgPool3d(_AdaptivePool):
    """Mean over each of `output_size` parts (None: all) of (n, channels, d, h, w)."""

    _axes = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest value of each of `output_size` parts (None: all) of (n, channels, length)."""

    _axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest value of each of `output_size` parts (None: all) of (n, channels, h, w)."""

    _axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Largest value of each of `output_size` parts (None: all) of (n, channels, d, h, w)."""

    _axes = 3
