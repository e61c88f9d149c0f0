"""Transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray
from ._arguments import as_ints
from ._convolution import Convolution, check_output_padding


class _Problem(Convolution):
    _weight_axes = "channels, filters / groups"
    _run = staticmethod(_core.conv_transpose)
    _run_backward = staticmethod(_core.conv_transpose_backward)

    def __init__(
        self,
        axes: int,
        input: npt.ArrayLike,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: int,
        dilation: Any,
        algorithm: str | None,
    ) -> None:
        super().__init__(axes, input, weight, bias, groups, algorithm)
        if 0 in self.size:
            raise ValueError(f"input: only the batch may be empty, got shape {self.x.shape}")
        strides = as_ints(stride, "stride", axes, 1)
        dilations = as_ints(dilation, "dilation", axes, 1)
        pads = as_ints(padding, "padding", axes, 0)
        further = as_ints(output_padding, "output_padding", axes, 0)
        check_output_padding(further, strides, dilations)
        out, sides = [], []
        for n, k, s, d, p, f in zip(
            self.size, self.kernel, strides, dilations, pads, further, strict=True
        ):
            out.append((n - 1) * s + d * (k - 1) + 1 - 2 * p + f)
            sides.append((p, p - f))
        if min(out) < 1:
            raise ValueError(f"padding: {pads} leaves an output of {tuple(out)}")
        self._place(out, strides, dilations, sides)

    def _channels_and_filters(self) -> tuple[int, int]:
        channels, per_group = self.weight.shape[:2]
        return channels, per_group * self.groups


def conv_transpose2d(
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    out: FloatArray | None = None,
    algorithm: str | None = None,
) -> FloatArray:
    """2-D transposed convolution, as ``torch.nn.functional.conv_transpose2d``.

    The gradient of `conv2d` by its input, as an operation of its own (Dumoulin, Visin 2016).

    Parameters
    ----------
    input
        ([n,] channels, height, width), float32 or float64.
    weight
        (channels, filters / groups, kernel height, kernel width).
    bias
        (filters,)
    stride, dilation
        An int or one per axis.
    padding
        What is cut from each side of the output, an int or one per axis.
    output_padding
        What is added at the end of the output, an int or one per axis, each smaller than stride
        or dilation.
    groups
        Channels and filters are split into so many independent convolutions.
    out
        Array of the result's shape and dtype to write to.
    algorithm
        As in `conv2d`.

    Returns
    -------
    ndarray
        ([n,] filters, out height, out width), each extent ``(in - 1) * stride - 2 * padding +
        dilation * (kernel - 1) + output_padding + 1``.

    Raises
    ------
    ValueError, TypeError
        Where shapes, dtypes or options do not fit; the message names what was expected.
    """
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return _Problem(2, input, weight, bias, *options).forward(out)


def conv_transpose2d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Gradients of `conv_transpose2d` by input, weight and bias (None where there was none)."""
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return _Problem(2, input, weight, bias, *options).backward(grad_output)


def conv_transpose1d(
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    out: FloatArray | None = None,
    algorithm: str | None = None,
) -> FloatArray:
    """1-D transposed convolution; see `conv_transpose2d`."""
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return _Problem(1, input, weight, bias, *options).forward(out)


def conv_transpose1d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Gradients of `conv_transpose1d` by input, weight and bias (None where there was none)."""
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return _Problem(1, input, weight, bias, *options).backward(grad_output)


def conv_transpose3d(
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    out: FloatArray | None = None,
    algorithm: str | None = None,
) -> FloatArray:
    """3-D transposed convolution; see `conv_transpose2d`."""
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return _Problem(3, input, weight, bias, *options).forward(out)


def conv_transpose3d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    *,
    algorithm: str | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Gradients of `conv_transpose3d` by input, weight and bias (None where there was none)."""
    options = (stride, padding, output_padding, groups, dilation, algorithm)
    return _Problem(3, input, weight, bias, *options).backward(grad_output)
