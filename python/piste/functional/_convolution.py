"""What convolutions and transposed convolutions have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy.typing as npt

from .. import _core
from .._arrays import (
    FloatArray,
    Output,
    as_float,
    as_gradient,
    as_optional_float,
    check_shape,
    empty_like,
)
from .._build import as_algorithm
from ._arguments import as_int, as_ints, lifted

Sides = Sequence[tuple[int, int]]


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


def check_output_padding(
    output_padding: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> None:
    """Refuse an output padding that reaches both stride and dilation along some axis."""
    for more, step, spread in zip(output_padding, stride, dilation, strict=True):
        if more >= max(step, spread):
            raise ValueError(
                f"output_padding: expected less than stride {stride} or dilation {dilation}, got "
                f"{output_padding}"
            )


def core_options(
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    sides: Sides,
    groups: int,
    algorithm: str | None,
) -> _core.ConvOptions:
    """The core's options, of three axes."""
    before, after = zip(*sides, strict=True)
    return _core.ConvOptions(
        lifted(stride, 1),
        lifted(dilation, 1),
        lifted(before, 0),
        lifted(after, 0),
        groups,
        algorithm,
    )


class Convolution:
    """Checked arguments of an N-d convolution of either kind.

    A kind says how its weights lie and which of the core's functions it is; its constructor checks
    the sizes along the axes, which `_place` then keeps.
    """

    _weight_axes: ClassVar[str]
    _run: ClassVar[Callable[..., None]]
    _run_backward: ClassVar[Callable[..., None]]

    def __init__(
        self,
        axes: int,
        input: npt.ArrayLike,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        groups: int,
        algorithm: str | None,
    ) -> None:
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
                f"weight: expected {axes + 2} dimensions ({self._weight_axes}, {names}), got shape "
                f"{self.weight.shape}"
            )
        self.groups = as_int(groups, "groups", 1)
        channels, self.filters = self._channels_and_filters()
        if channels != self.x.shape[1] or channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"weight: shape {self.weight.shape} does not fit {self.x.shape[1]} input channels "
                f"in {self.groups} groups"
            )
        if self.bias is not None:
            check_shape(self.bias, (self.filters,), "bias")
        self.algorithm = None if algorithm is None else as_algorithm(algorithm)
        self.kernel, self.size = self.weight.shape[2:], self.x.shape[2:]
        if 0 in self.kernel:
            raise ValueError(f"weight: expected a kernel of at least 1, got {self.kernel}")

    def _channels_and_filters(self) -> tuple[int, int]:
        """Of all groups, as the weight's shape has them."""
        raise NotImplementedError

    def _place(
        self,
        out: Sequence[int],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        sides: Sides,
    ) -> None:
        self.out_shape = (len(self.x), self.filters, *out)
        self.shape = self.out_shape if self.batched else self.out_shape[1:]  # the user's
        self.options = core_options(stride, dilation, sides, self.groups, self.algorithm)

    def forward(self, out: FloatArray | None) -> FloatArray:
        output = Output(self.shape, self.x.dtype, out, (self.x, self.weight, self.bias))
        y = _lift(output.buffer.reshape(self.out_shape))
        self._run(_lift(self.x), _lift(self.weight), self.bias, self.options, y)
        return output.result()

    def backward(
        self, grad_output: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        dy = as_gradient(grad_output, self.x, self.shape)
        dx, dw = empty_like(self.x), empty_like(self.weight)
        db = None if self.bias is None else empty_like(self.bias)
        self._run_backward(
            _lift(dy.reshape(self.out_shape)),
            _lift(self.x),
            _lift(self.weight),
            self.options,
            _lift(dx),
            _lift(dw),
            db,
        )
        return (dx if self.batched else dx[0]), dw, db


def _lift(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same memory with three spatial axes."""
    return array.reshape(*array.shape[:2], *(1,) * (5 - array.ndim), *array.shape[2:])
