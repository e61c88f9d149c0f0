"""Pooling over height and width."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .._arrays import FloatArray
from ._pooling import (
    Ints,
    IntsOrNone,
    adaptive_avg_pool,
    adaptive_max_pool,
    adaptive_pool_backward,
    avg_pool,
    avg_pool_backward,
    max_pool,
    max_pool_backward,
)


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
    return max_pool(2, input, window, return_indices, out)


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
    return max_pool_backward(2, grad_output, input, window)


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
    return avg_pool(2, input, window, count_include_pad, divisor_override, out)


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
    return avg_pool_backward(2, grad_output, input, window, count_include_pad, divisor_override)


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
    return adaptive_avg_pool(2, input, output_size, out)


def adaptive_avg_pool2d_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, output_size: IntsOrNone
) -> tuple[FloatArray]:
    """Gradient of `adaptive_avg_pool2d`."""
    return adaptive_pool_backward(2, grad_output, input, output_size, largest=False)


def adaptive_max_pool2d(
    input: npt.ArrayLike,
    output_size: IntsOrNone,
    return_indices: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray | tuple[FloatArray, npt.NDArray[np.int64]]:
    """Largest value of the parts that `adaptive_avg_pool2d` takes the mean of; a NaN wins.

    Parameters
    ----------
    input, output_size, out
        As in `adaptive_avg_pool2d`.
    return_indices
        Also return where each maximum stands.

    Returns
    -------
    output : ndarray
        As that of `adaptive_avg_pool2d`.
    indices : ndarray of int64
        With `return_indices`, of the same shape: its place in its plane, ``h W + w``.

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or size that does not fit.
    """
    return adaptive_max_pool(2, input, output_size, return_indices, out)


def adaptive_max_pool2d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    output_size: IntsOrNone,
    return_indices: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `adaptive_max_pool2d`: each part's goes to its maximum."""
    return adaptive_pool_backward(2, grad_output, input, output_size, largest=True)
