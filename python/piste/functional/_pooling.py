"""What pooling over one, two and three axes has in common."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, as_gradient, empty, empty_like
from ._arguments import LARGEST, as_flag, as_int, as_ints, lifted

Ints: TypeAlias = int | Sequence[int]
IntsOrNone: TypeAlias = int | Sequence[int | None] | None


# ---- arguments ----------------------------------------------------------------------------------


_SHAPES = {
    1: "(N, C, L) or (C, L)",
    2: "(N, C, H, W) or (C, H, W)",
    3: "(N, C, D, H, W) or (C, D, H, W)",
}


class Layout:
    """From the user's shape to the core's (N, C, D, H, W): `axes` pooled axes, batch optional.

    Where `channels`, one has to be there at least.
    """

    def __init__(self, x: FloatArray, axes: int, *, channels: bool = True) -> None:
        if x.ndim not in (axes + 1, axes + 2):
            raise ValueError(f"input: expected shape {_SHAPES[axes]}, got {x.shape}")
        if 0 in x.shape[-axes - channels :]:
            what = "the batch" if channels else "batch and channels"
            raise ValueError(f"input: only {what} may be empty, got shape {x.shape}")
        self._lead = x.shape[:-axes]
        self._axes = axes
        self.extents = lifted(x.shape[-axes:], 1)
        self.planes = ((1, *self._lead) if x.ndim == axes + 1 else self._lead)[:2]

    def core(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View of a contiguous input or output as (N, C, D, H, W)."""
        return array.reshape(self.planes + lifted(array.shape[-self._axes :], 1))

    def shape(self, extents: tuple[int, ...]) -> tuple[int, ...]:
        """The user's shape of an output of `extents`."""
        return self._lead + extents[-self._axes :]


def _window(
    layout: Layout,
    axes: int,
    kernel_size: object,
    stride: object | None,
    padding: object,
    dilation: object,
    ceil_mode: object,
) -> tuple[_core.PoolWindow, tuple[int, ...]]:
    """The core's window and the output's shape, in the user's layout."""

    def triple(value: object, name: str, minimum: int) -> tuple[int, ...]:
        return lifted(as_ints(value, name, axes, minimum), minimum)

    kernel = triple(kernel_size, "kernel_size", 1)
    whole = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    steps = kernel if whole else triple(stride, "stride", 1)
    pads = triple(padding, "padding", 0)
    spread = triple(dilation, "dilation", 1)
    ceil = as_flag(ceil_mode, "ceil_mode")
    window, extents = _core_window(layout.extents, kernel, steps, pads, spread, ceil)
    return window, layout.shape(extents)


@functools.lru_cache(maxsize=256)
def _core_window(
    extents: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil: bool,
) -> tuple[_core.PoolWindow, tuple[int, ...]]:
    """The core's window and the output's extents; kept, as networks ask for few of them often."""
    axes = zip(extents, kernel, stride, padding, dilation, strict=True)
    results = tuple(_core.pool_extent(*axis, ceil) for axis in axes)
    return _core.PoolWindow(kernel, stride, padding, dilation, ceil), results


def _avg_window(
    layout: Layout, axes: int, kernel_size: object, stride: object, padding: object, ceil: object
) -> tuple[_core.PoolWindow, tuple[int, ...]]:
    return _window(layout, axes, kernel_size, stride, padding, 1, ceil)


def as_divisor(value: object | None) -> int:
    """0 in the core stands for none."""
    if value is None:
        return 0
    divisor = as_int(value, "divisor_override", -LARGEST)
    if divisor == 0:
        raise ValueError("divisor_override: expected an integer other than 0, got 0")
    return divisor


def _adaptive_shape(layout: Layout, axes: int, output_size: object) -> tuple[int, ...]:
    single = output_size is None or not isinstance(output_size, (Sequence, np.ndarray))
    sizes = (output_size,) * axes if single else tuple(output_size)  # type: ignore[arg-type]
    if len(sizes) != axes:
        raise ValueError(f"output_size: expected {axes} sizes, got {len(sizes)}: {output_size!r}")
    own = layout.extents[-axes:]
    return layout.shape(
        tuple(
            extent if size is None else as_int(size, "output_size", 0)
            for size, extent in zip(sizes, own, strict=True)
        )
    )


def _needs_channels(x: FloatArray, axes: int) -> bool:
    """Whether an adaptive maximum refuses no channels: PyTorch does in a batch only."""
    return x.ndim == axes + 2


# ---- both passes --------------------------------------------------------------------------------


def max_pool(
    axes: int, input: npt.ArrayLike, window: tuple[Any, ...], indexed: bool, out: FloatArray | None
) -> FloatArray | tuple[FloatArray, npt.NDArray[np.int64]]:
    x = as_float(input, "input")
    indexed = as_flag(indexed, "return_indices")
    layout = Layout(x, axes)
    options, shape = _window(layout, axes, *window)
    output = Output(shape, x.dtype, out, (x,))
    indices = empty(shape, np.int64) if indexed else None
    core_indices = None if indices is None else layout.core(indices)
    _core.max_pool(layout.core(x), layout.core(output.buffer), core_indices, options)
    return output.result() if indices is None else (output.result(), indices)


def max_pool_backward(
    axes: int, grad_output: npt.ArrayLike, input: npt.ArrayLike, window: tuple[Any, ...]
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    layout = Layout(x, axes)
    options, shape = _window(layout, axes, *window)
    dy = as_gradient(grad_output, x, shape)
    dx = empty_like(x)
    _core.max_pool_backward(layout.core(dy), layout.core(x), layout.core(dx), options)
    return (dx,)


def avg_pool(
    axes: int,
    input: npt.ArrayLike,
    window: tuple[Any, ...],
    count_include_pad: bool,
    divisor_override: int | None,
    out: FloatArray | None,
) -> FloatArray:
    x = as_float(input, "input")
    layout = Layout(x, axes)
    options, shape = _avg_window(layout, axes, *window)
    rule = (as_flag(count_include_pad, "count_include_pad"), as_divisor(divisor_override))
    output = Output(shape, x.dtype, out, (x,))
    _core.avg_pool(layout.core(x), layout.core(output.buffer), options, *rule)
    return output.result()


def avg_pool_backward(
    axes: int,
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    window: tuple[Any, ...],
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    layout = Layout(x, axes)
    options, shape = _avg_window(layout, axes, *window)
    rule = (as_flag(count_include_pad, "count_include_pad"), as_divisor(divisor_override))
    dy = as_gradient(grad_output, x, shape)
    dx = empty_like(x)
    _core.avg_pool_backward(layout.core(dy), layout.core(dx), options, *rule)
    return (dx,)


def adaptive_avg_pool(
    axes: int, input: npt.ArrayLike, output_size: IntsOrNone, out: FloatArray | None
) -> FloatArray:
    x = as_float(input, "input")
    layout = Layout(x, axes, channels=False)
    output = Output(_adaptive_shape(layout, axes, output_size), x.dtype, out, (x,))
    _core.adaptive_avg_pool(layout.core(x), layout.core(output.buffer))
    return output.result()


def adaptive_max_pool(
    axes: int,
    input: npt.ArrayLike,
    output_size: IntsOrNone,
    indexed: bool,
    out: FloatArray | None,
) -> FloatArray | tuple[FloatArray, npt.NDArray[np.int64]]:
    x = as_float(input, "input")
    indexed = as_flag(indexed, "return_indices")
    layout = Layout(x, axes, channels=_needs_channels(x, axes))
    output = Output(_adaptive_shape(layout, axes, output_size), x.dtype, out, (x,))
    indices = empty(output.buffer.shape, np.int64) if indexed else None
    core_indices = None if indices is None else layout.core(indices)
    _core.adaptive_max_pool(layout.core(x), layout.core(output.buffer), core_indices)
    return output.result() if indices is None else (output.result(), indices)


def adaptive_pool_backward(
    axes: int,
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    output_size: IntsOrNone,
    largest: bool,
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    layout = Layout(x, axes, channels=largest and _needs_channels(x, axes))
    dy = as_gradient(grad_output, x, _adaptive_shape(layout, axes, output_size))
    dx = empty_like(x)
    if largest:
        _core.adaptive_max_pool_backward(layout.core(dy), layout.core(x), layout.core(dx))
    else:
        _core.adaptive_avg_pool_backward(layout.core(dy), layout.core(dx))
    return (dx,)
