"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray
from ._arguments import as_ints
from ._convolution import Convolution, padding_sides


class _Problem(Convolution):
    _weight_axes = "filters, channels / groups"
    _run, _run_backward = staticmethod(_core.conv), staticmethod(_core.conv_backward)

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
        super().__init__(axes, input, weight, bias, groups, algorithm)
        strides = as_ints(stride, "stride", axes, 1)
        dilations = as_ints(dilation, "dilation", axes, 1)
        sides = padding_sides(padding, self.kernel, dilations)
        out = []
        for n, k, s, d, (before, after) in zip(
            self.size, self.kernel, strides, dilations, sides, strict=True
        ):
            room = n + before + after - d * (k - 1) - 1
            if room < 0:
                raise ValueError(
                    f"input: a kernel of {self.kernel} with dilation {dilations} does not fit "
                    f"{self.size} padded by {sides}"
                )
            out.append(room // s + 1)
        self._place(out, strides, dilations, sides)

    def _channels_and_filters(self) -> tuple[int, int]:
        filters, per_group = self.weight.shape[:2]
        return per_group * self.groups, filters


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
