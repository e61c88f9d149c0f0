"""Pooling over three axes."""

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


def max_pool3d(
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
    """Largest value of each window; a NaN in it wins. As `max_pool2d`, over three axes.

    Parameters
    ----------
    input
        float32 or float64 array of shape (N, C, D, H, W) or (C, D, H, W).
    kernel_size, stride, padding, dilation, ceil_mode, return_indices
        As in `max_pool2d`, for three axes.
    out
        Array of the result's shape and dtype to write to.

    Returns
    -------
    output : ndarray
        Shape (N, C, Do, Ho, Wo) or (C, Do, Ho, Wo).
    indices : ndarray of int64
        With `return_indices`: each maximum's place in its volume, ``(d H + h) W + w``.

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or size that does not fit.
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool(3, input, window, return_indices, out)


def max_pool3d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `max_pool3d`: each window's goes to its maximum."""
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool_backward(3, grad_output, input, window)


def avg_pool3d(
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
    """Mean of each window. As `avg_pool2d`, over three axes.

    Parameters
    ----------
    input
        float32 or float64 array of shape (N, C, D, H, W) or (C, D, H, W).
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d`, for three axes.
    out
        Array of the result's shape and dtype to write to.

    Returns
    -------
    ndarray
        Shape (N, C, Do, Ho, Wo) or (C, Do, Ho, Wo).

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or size that does not fit.
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return avg_pool(3, input, window, count_include_pad, divisor_override, out)


def avg_pool3d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[FloatArray]:
    """Gradient of `avg_pool3d`: each window's, divided alike, goes to all of its values."""
    window = (kernel_size, stride, padding, ceil_mode)
    return avg_pool_backward(3, grad_output, input, window, count_include_pad, divisor_override)


def adaptive_avg_pool3d(
    input: npt.ArrayLike, output_size: IntsOrNone, *, out: FloatArray | None = None
) -> FloatArray:
    """Mean over parts of the last three axes, as many as asked for. As `adaptive_avg_pool2d`.

    Parameters
    ----------
    input
        float32 or float64 array of shape (N, C, D, H, W) or (C, D, H, W).
    output_size
        Do, Ho and Wo, or one integer for all; ``None`` keeps the input's.
    out
        Array of the result's shape and dtype to write to.

    Returns
    -------
    ndarray
        Shape (N, C, Do, Ho, Wo) or (C, Do, Ho, Wo).

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or size that does not fit.
    """
    return adaptive_avg_pool(3, input, output_size, out)


def adaptive_avg_pool3d_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, output_size: IntsOrNone
) -> tuple[FloatArray]:
    """Gradient of `adaptive_avg_pool3d`."""
    return adaptive_pool_backward(3, grad_output, input, output_size, largest=False)


def adaptive_max_pool3d(
    input: npt.ArrayLike,
    output_size: IntsOrNone,
    return_indices: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray | tuple[FloatArray, npt.NDArray[np.int64]]:
    """Largest value of the parts that `adaptive_avg_pool3d` takes the mean of; a NaN wins.

    Parameters
    ----------
    input, output_size, out
        As in `adaptive_avg_pool3d`.
    return_indices
        Also return where each maximum stands.

    Returns
    -------
    output : ndarray
        As that of `adaptive_avg_pool3d`.
    indices : ndarray of int64
        With `return_indices`, of the same shape: its place in its volume, ``(d H + h) W + w``.

    Raises
    ------
    ValueError, TypeError
        For a shape, dtype or size that does not fit.
    """
    return adaptive_max_pool(3, input, output_size, return_indices, out)


def adaptive_max_pool3d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    output_size: IntsOrNone,
    return_indices: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `adaptive_max_pool3d`: each part's goes to its maximum."""
    return adaptive_pool_backward(3, grad_output, input, output_size, largest=True)
