"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, as_optional_float, check_shape
from .._build import as_algorithm
from ._arguments import as_int, as_ints

Sides = tuple[tuple[int, int], ...]


def padding_sides(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> Sides:
    """Zeros before and after each spatial axis.

    Parameters
    ----------
    padding
        ``"valid"``, ``"same"`` (output = ceil(input / stride)), an int, one int per axis, or one
        (before, after) pair per axis.
    """
    axes = len(kernel)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"padding: expected 'same', 'valid' or sizes, got {padding!r}")
        total = [d * (k - 1) * (padding == "same") for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != axes:
            raise ValueError(f"padding: expected {axes} (before, after) pairs, got {padding!r}")
        sides = []
        for pair in padding:
            before, after = as_ints(pair, "padding", 2, 0)
            sides.append((before, after))
        return tuple(sides)
    return tuple((p, p) for p in as_ints(padding, "padding", axes, 0))


class _Problem:
    """Checked arguments of an N-d convolution, lifted to three spatial axes."""

    def __init__(
        self,
        axes: int,
        input: npt.ArrayLike,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        algorithm: str | None,
    ) -> None:
        self.axes = axes
        self.x = as_float(input, "input")
        self.weight = as_float(weight, "weight", like=self.x)
        self.bias = as_optional_float(bias, "bias", like=self.x)
        names = ("depth", "height", "width")[3 - axes :]
        if self.x.ndim not in (axes + 1, axes + 2):
            raise ValueError(
                f"input: expected shape ([n,] channels, {', '.join(names)}), got {self.x.shape}"
            )
        self.batched = self.x.ndim == axes + 2
        if not self.batched:
            self.x = self.x[None]
        if self.weight.ndim != axes + 2:
            raise ValueError(
                f"weight: expected {axes + 2} dimensions (filters, channels / groups, "
                f"{', '.join(names)}), got shape {self.weight.shape}"
            )
        self.groups = as_int(groups, "groups", 1)
        channels, (filters, per_group) = self.x.shape[1], self.weight.shape[:2]
        if filters % self.groups or channels != per_group * self.groups:
            raise ValueError(
                f"weight: shape {self.weight.shape} does not fit {channels} input channels in "
                f"{self.groups} groups"
            )
        if self.bias is not None:
            check_shape(self.bias, (filters,), "bias")
        self.algorithm = None if algorithm is None else as_algorithm(algorithm)
        self._geometry(stride, padding, dilation)

    def _geometry(self, stride: Any, padding: Any, dilation: Any) -> None:
        kernel, size = self.weight.shape[2:], self.x.shape[2:]
        if 0 in kernel:
            raise ValueError(f"weight: expected a kernel of at least 1, got {kernel}")
        strides = as_ints(stride, "stride", self.axes, 1)
        dilations = as_ints(dilation, "dilation", self.axes, 1)
        sides = padding_sides(padding, kernel, dilations)
        out = []
        for n, k, s, d, (before, after) in zip(
            size, kernel, strides, dilations, sides, strict=True
        ):
            room = n + before + after - d * (k - 1) - 1
            if room < 0:
                raise ValueError(
                    f"input: a kernel of {kernel} with dilation {dilations} does not fit "
                    f"{size} padded by {sides}"
                )
            out.append(room // s + 1)
        fill = 3 - self.axes
        self.out_shape = (len(self.x), self.weight.shape[0], *out)
        self.options = _core.ConvOptions(
            (*(1,) * fill, *strides),
            (*(1,) * fill, *dilations),
            (*(0,) * fill, *(before for before, _ in sides)),
            (*(0,) * fill, *(after for _, after in sides)),
            self.groups,
            self.algorithm,
        )

    def lift(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The same memory with three spatial axes."""
        return array.reshape(*array.shape[:2], *(1,) * (3 - self.axes), *array.shape[2:])

    def forward(self, out: FloatArray | None) -> FloatArray:
        shape = self.out_shape if self.batched else self.out_shape[1:]
        output = Output(shape, self.x.dtype, out, (self.x, self.weight, self.bias))
        y = output.buffer.reshape(self.out_shape)
        _core.conv(self.lift(self.x), self.lift(self.weight), self.bias, self.options, self.lift(y))
        return output.result()

    def backward(
        self, grad_output: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        dy = as_float(grad_output, "grad_output", like=self.x)
        check_shape(dy, self.out_shape if self.batched else self.out_shape[1:], "grad_output")
        dx, dw = np.empty_like(self.x), np.empty_like(self.weight)
        db = None if self.bias is None else np.empty_like(self.bias)
        _core.conv_backward(
            self.lift(dy.reshape(self.out_shape)),
            self.lift(self.x),
            self.lift(self.weight),
            self.options,
            self.lift(dx),
            self.lift(dw),
            db,
        )
        return (dx if self.batched else dx[0]), dw, db


def conv2d(
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    out: FloatArray | None = None,
    algorithm: str | None = None,
) -> FloatArray:
    """2-D convolution (cross-correlation), as ``torch.nn.functional.conv2d``.

    Parameters
    ----------
    input
        ([n,] channels, height, width), float32 or float64.
    weight
        (filters, channels / groups, kernel height, kernel width).
    bias
        (filters,)
    stride, dilation
        An int or one per axis.
    padding
        An int, one per axis, ``"same"`` (with any stride), ``"valid"``, or
        ``((top, bottom), (left, right))``.
    groups
        Channels and filters are split into so many independent convolutions.
    out
        Array of the result's shape and dtype to write to.
    algorithm
        ``"auto"``, ``"direct"`` or ``"winograd"``; see `piste.set_algorithm`, whose setting holds
        where this is None.

    Returns
    -------
    ndarray
        ([n,] filters, out height, out width).

    Raises
    ------
    ValueError, TypeError
        Where shapes, dtypes or options do not fit; the message names what was expected.
    """
    return _Problem(2, input, weight, bias, stride, padding, dilation, groups, algorithm).forward(
        out
    )


def conv2d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Gradients of `conv2d` by input, weight and bias (None where there was none)."""
    problem = _Problem(2, input, weight, bias, stride, padding, dilation, groups, algorithm)
    return problem.backward(grad_output)


def conv1d(
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    out: FloatArray | None = None,
    algorithm: str | None = None,
) -> FloatArray:
    """1-D convolution of ([n,] channels, width); see `conv2d`."""
    return _Problem(1, input, weight, bias, stride, padding, dilation, groups, algorithm).forward(
        out
    )


def conv1d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Gradients of `conv1d` by input, weight and bias."""
    problem = _Problem(1, input, weight, bias, stride, padding, dilation, groups, algorithm)
    return problem.backward(grad_output)


def conv3d(
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    out: FloatArray | None = None,
    algorithm: str | None = None,
) -> FloatArray:
    """3-D convolution of ([n,] channels, depth, height, width); see `conv2d`."""
    return _Problem(3, input, weight, bias, stride, padding, dilation, groups, algorithm).forward(
        out
    )


def conv3d_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    algorithm: str | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Gradients of `conv3d` by input, weight and bias."""
    problem = _Problem(3, input, weight, bias, stride, padding, dilation, groups, algorithm)
    return problem.backward(grad_output)
