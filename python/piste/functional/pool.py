"""Pooling over one or two axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, check_shape, describe
from ._arguments import as_int, as_ints

Ints: TypeAlias = int | Sequence[int]
IntsOrNone: TypeAlias = int | Sequence[int | None] | None


# ---- arguments ----------------------------------------------------------------------------------


_SHAPES = {1: "(N, C, L) or (C, L)", 2: "(N, C, H, W) or (C, H, W)"}


class _Layout:
    """Between the user's shape and the core's (N, C, H, W): `axes` pooled axes, batch optional."""

    def __init__(self, x: FloatArray, axes: int) -> None:
        if x.ndim not in (axes + 1, axes + 2):
            raise ValueError(f"input: expected shape {_SHAPES[axes]}, got {x.shape}")
        if 0 in x.shape[-axes - 1 :]:
            raise ValueError(f"input: only the batch may be empty, got shape {x.shape}")
        self._lead = x.shape[:-axes]
        self._axes = axes
        self.extents = (1,) * (2 - axes) + x.shape[-axes:]
        self.planes = ((1, *self._lead) if x.ndim == axes + 1 else self._lead)[:2]

    def core(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View of a contiguous input or output as (N, C, H, W)."""
        extents = (1,) * (2 - self._axes) + array.shape[-self._axes :]
        return array.reshape(self.planes + extents)

    def shape(self, extents: tuple[int, ...]) -> tuple[int, ...]:
        """The user's shape of an output of `extents`."""
        return self._lead + extents[-self._axes :]


def _as_bool(value: object, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")
    return bool(value)


def _window(
    layout: _Layout,
    axes: int,
    kernel_size: object,
    stride: object | None,
    padding: object,
    dilation: object,
    ceil_mode: object,
) -> tuple[_core.PoolWindow, tuple[int, ...]]:
    """The core's window and the output's shape, in the user's layout."""

    def pair(value: object, name: str, minimum: int, neutral: int) -> tuple[int, ...]:
        return (neutral,) * (2 - axes) + as_ints(value, name, axes, minimum)

    kernel = pair(kernel_size, "kernel_size", 1, 1)
    steps = kernel if stride is None else pair(stride, "stride", 1, 1)
    pads = pair(padding, "padding", 0, 0)
    spread = pair(dilation, "dilation", 1, 1)
    ceil = _as_bool(ceil_mode, "ceil_mode")
    extents = tuple(
        _core.pool_extent(*axis, ceil)
        for axis in zip(layout.extents, kernel, steps, pads, spread, strict=True)
    )
    return _core.PoolWindow(kernel, steps, pads, spread, ceil), layout.shape(extents)


def _avg_window(
    layout: _Layout, axes: int, kernel_size: object, stride: object, padding: object, ceil: object
) -> tuple[_core.PoolWindow, tuple[int, ...]]:
    return _window(layout, axes, kernel_size, stride, padding, 1, ceil)


def _as_divisor(value: object | None) -> int:
    """0 in the core stands for none."""
    return 0 if value is None else as_int(value, "divisor_override", 1)


def _adaptive_shape(layout: _Layout, axes: int, output_size: object) -> tuple[int, ...]:
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


def _gradient(grad_output: npt.ArrayLike, x: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    dy = as_float(grad_output, "grad_output", like=x)
    check_shape(dy, shape, "grad_output")
    return dy


# ---- both passes for 1 and 2 axes ---------------------------------------------------------------


def _max_pool(
    axes: int, input: npt.ArrayLike, window: tuple[Any, ...], indexed: bool, out: FloatArray | None
) -> FloatArray | tuple[FloatArray, npt.NDArray[np.int64]]:
    x = as_float(input, "input")
    indexed = _as_bool(indexed, "return_indices")
    layout = _Layout(x, axes)
    options, shape = _window(layout, axes, *window)
    output = Output(shape, x.dtype, out, (x,))
    indices = np.empty(shape, np.int64) if indexed else None
    core_indices = None if indices is None else layout.core(indices)
    _core.max_pool2d(layout.core(x), layout.core(output.buffer), core_indices, options)
    return output.result() if indices is None else (output.result(), indices)


def _max_pool_backward(
    axes: int, grad_output: npt.ArrayLike, input: npt.ArrayLike, window: tuple[Any, ...]
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    layout = _Layout(x, axes)
    options, shape = _window(layout, axes, *window)
    dy = _gradient(grad_output, x, shape)
    dx = np.empty_like(x)
    _core.max_pool2d_backward(layout.core(dy), layout.core(x), layout.core(dx), options)
    return (dx,)


def _avg_pool(
    axes: int,
    input: npt.ArrayLike,
    window: tuple[Any, ...],
    count_include_pad: bool,
    divisor_override: int | None,
    out: FloatArray | None,
) -> FloatArray:
    x = as_float(input, "input")
    layout = _Layout(x, axes)
    options, shape = _avg_window(layout, axes, *window)
    rule = (_as_bool(count_include_pad, "count_include_pad"), _as_divisor(divisor_override))
    output = Output(shape, x.dtype, out, (x,))
    _core.avg_pool2d(layout.core(x), layout.core(output.buffer), options, *rule)
    return output.result()


def _avg_pool_backward(
    axes: int,
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    window: tuple[Any, ...],
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    layout = _Layout(x, axes)
    options, shape = _avg_window(layout, axes, *window)
    rule = (_as_bool(count_include_pad, "count_include_pad"), _as_divisor(divisor_override))
    dy = _gradient(grad_output, x, shape)
    dx = np.empty_like(x)
    _core.avg_pool2d_backward(layout.core(dy), layout.core(dx), options, *rule)
    return (dx,)


def _adaptive_avg_pool(
    axes: int, input: npt.ArrayLike, output_size: IntsOrNone, out: FloatArray | None
) -> FloatArray:
    x = as_float(input, "input")
    layout = _Layout(x, axes)
    output = Output(_adaptive_shape(layout, axes, output_size), x.dtype, out, (x,))
    _core.adaptive_avg_pool2d(layout.core(x), layout.core(output.buffer))
    return output.result()


def _adaptive_avg_pool_backward(
    axes: int, grad_output: npt.ArrayLike, input: npt.ArrayLike, output_size: IntsOrNone
) -> tuple[FloatArray]:
    x = as_float(input, "input")
    layout = _Layout(x, axes)
    dy = _gradient(grad_output, x, _adaptive_shape(layout, axes, output_size))
    dx = np.empty_like(x)
    _core.adaptive_avg_pool2d_backward(layout.core(dy), layout.core(dx))
    return (dx,)


# ---- the public functions -----------------------------------------------------------------------


def max_pool2d(
    input: npt.ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray | tuple[FloatArray, npt.NDArray[np.int64]]:
    """Largest value of each window; a NaN in it wins.

    Parameters
    ----------
    input
        float32 or float64 array of shape (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, dilation
        One integer, or one for the height and one for the width. `stride` is `kernel_size` unless
        given. `padding`, on both sides, is at most half of `kernel_size` and never wins.
    ceil_mode
        Allow a last window that sticks out at the end, if it starts within the input or the
        padding before it.
    return_indices
        Also return where each maximum is.
    out
        Array of the result's shape and dtype to write to.

    Returns
    -------
    output : ndarray
        Shape (N, C, Ho, Wo) or (C, Ho, Wo), with
        ``Ho = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1``.
    indices : ndarray of int64
        With `return_indices`: each maximum's place in its H x W plane, ``row * W + column``; of
        equal values the first; -1 for a window whose taps all miss the input.

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or size that does not fit.
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(2, input, window, return_indices, out)


def max_pool2d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `max_pool2d`: each window's goes to its maximum."""
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool_backward(2, grad_output, input, window)


def avg_pool2d(
    input: npt.ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """Mean of each window.

    Parameters
    ----------
    input
        float32 or float64 array of shape (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`; the padding is zeros.
    count_include_pad
        Divide by the number of the window's pixels, padding included; else by those within the
        input. What `ceil_mode` adds beyond the padding never counts.
    divisor_override
        Divide by this instead.
    out
        Array of the result's shape and dtype to write to.

    Returns
    -------
    ndarray
        Shape (N, C, Ho, Wo) or (C, Ho, Wo), as in `max_pool2d`.

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or size that does not fit.
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool(2, input, window, count_include_pad, divisor_override, out)


def avg_pool2d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[FloatArray]:
    """Gradient of `avg_pool2d`: each window's, divided alike, goes to all of its pixels."""
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool_backward(2, grad_output, input, window, count_include_pad, divisor_override)


def adaptive_avg_pool2d(
    input: npt.ArrayLike, output_size: IntsOrNone, *, out: FloatArray | None = None
) -> FloatArray:
    """Mean over parts of each plane, as many as asked for.

    Part `o` of an axis is ``floor(o H / Ho)`` up to, not including, ``ceil((o + 1) H / Ho)``.

    Parameters
    ----------
    input
        float32 or float64 array of shape (N, C, H, W) or (C, H, W).
    output_size
        Ho and Wo, or one integer for both; ``None`` keeps the input's.
    out
        Array of the result's shape and dtype to write to.

    Returns
    -------
    ndarray
        Shape (N, C, Ho, Wo) or (C, Ho, Wo).

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or size that does not fit.
    """
    return _adaptive_avg_pool(2, input, output_size, out)


def adaptive_avg_pool2d_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, output_size: IntsOrNone
) -> tuple[FloatArray]:
    """Gradient of `adaptive_avg_pool2d`."""
    return _adaptive_avg_pool_backward(2, grad_output, input, output_size)
