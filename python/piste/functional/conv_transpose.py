"""Transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, as_optional_float, check_shape
from .._build import as_algorithm
from ._arguments import as_int, as_ints


class _Problem:
    """Checked arguments of an N-d transposed convolution, lifted to three spatial axes."""

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
        self.axes = axes
        self.x = as_float(input, "input")
        self.weight = as_float(weight, "weight", like=self.x)
        self.bias = as_optional_float(bias, "bias", like=self.x)
        names = ", ".join(("depth", "height", "width")[3 - axes :])
        if self.x.ndim not in (axes + 1, axes + 2):
            raise ValueError(f"input: expected shape ([n,] channels, {names}), got {self.x.shape}")
        self.batched = self.x.ndim == axes + 2
        if not self.batched:
            self.x = self.x[None]
        if self.weight.ndim != axes + 2:
            raise ValueError(
                f"weight: expected {axes + 2} dimensions (channels, filters / groups, {names}), "
                f"got shape {self.weight.shape}"
            )
        self.groups = as_int(groups, "groups", 1)
        channels = self.x.shape[1]
        if self.weight.shape[0] != channels or channels % self.groups:
            raise ValueError(
                f"weight: shape {self.weight.shape} does not fit {channels} input channels in "
                f"{self.groups} groups"
            )
        self.filters = self.weight.shape[1] * self.groups
        if self.bias is not None:
            check_shape(self.bias, (self.filters,), "bias")
        self.algorithm = None if algorithm is None else as_algorithm(algorithm)
        self._geometry(stride, padding, output_padding, dilation)

    def _geometry(self, stride: Any, padding: Any, output_padding: Any, dilation: Any) -> None:
        kernel, size = self.weight.shape[2:], self.x.shape[2:]
        if 0 in kernel:
            raise ValueError(f"weight: expected a kernel of at least 1, got {kernel}")
        if 0 in size:
            raise ValueError(f"input: only the batch may be empty, got shape {self.x.shape}")
        strides = as_ints(stride, "stride", self.axes, 1)
        dilations = as_ints(dilation, "dilation", self.axes, 1)
        pads = as_ints(padding, "padding", self.axes, 0)
        further = as_ints(output_padding, "output_padding", self.axes, 0)
        out = []
        for n, k, s, d, p, f in zip(size, kernel, strides, dilations, pads, further, strict=True):
            if f >= max(s, d):
                raise ValueError(
                    f"output_padding: expected less than stride {strides} or dilation "
                    f"{dilations}, got {further}"
                )
            out.append((n - 1) * s + d * (k - 1) + 1 - 2 * p + f)
        if min(out) < 1:
            raise ValueError(f"padding: {pads} leaves an output of {tuple(out)}")
        fill = 3 - self.axes
        self.out_shape = (len(self.x), self.filters, *out)
        self.options = _core.ConvOptions(
            (*(1,) * fill, *strides),
            (*(1,) * fill, *dilations),
            (*(0,) * fill, *pads),
            (*(0,) * fill, *(p - f for p, f in zip(pads, further, strict=True))),
            self.groups,
            self.algorithm,
        )

    def lift(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The same memory with three spatial axes."""
        return array.reshape(*array.shape[:2], *(1,) * (3 - self.axes), *array.shape[2:])

    def forward(self, out: FloatArray | None) -> FloatArray:
        shape = self.out_shape if self.batched else self.out_shape[1:]
        output = Output(shape, self.x.dtype, out, (self.x, self.weight, self.bias))
        y = self.lift(output.buffer.reshape(self.out_shape))
        _core.conv_transpose(self.lift(self.x), self.lift(self.weight), self.bias, self.options, y)
        return output.result()

    def backward(
        self, grad_output: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        dy = as_float(grad_output, "grad_output", like=self.x)
        check_shape(dy, self.out_shape if self.batched else self.out_shape[1:], "grad_output")
        dx, dw = np.empty_like(self.x), np.empty_like(self.weight)
        db = None if self.bias is None else np.empty_like(self.bias)
        _core.conv_transpose_backward(
            self.lift(dy.reshape(self.out_shape)),
            self.lift(self.x),
            self.lift(self.weight),
            self.options,
            self.lift(dx),
            self.lift(dw),
            db,
        )
        return (dx if self.batched else dx[0]), dw, db


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
