"""Convolutions and transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .._build import as_algorithm
from ..functional._arguments import as_flag, as_int, as_ints
from ..functional._convolution import Sides, check_output_padding, core_options, padding_sides
from ._sizes import Sizes, Weighted


class _Convolution(Weighted):
    """What both kinds have: sizes, groups and how they are lowered."""

    transposed = False
    algorithm: str | None = None
    _padding_modes: tuple[str, ...] = ("zeros",)
    _fixed = ("in_channels", "out_channels", "kernel_size", "groups")

    def _settle_sizes(
        self,
        in_channels: object,
        out_channels: object,
        kernel_size: object,
        stride: object,
        dilation: object,
        groups: object,
        padding_mode: object,
    ) -> None:
        axes = self._axes
        assert axes is not None
        self.in_channels = as_int(in_channels, "in_channels", 1)
        self.out_channels = as_int(out_channels, "out_channels", 1)
        self.kernel_size = as_ints(kernel_size, "kernel_size", axes, 1)
        self.stride = as_ints(stride, "stride", axes, 1)
        self.dilation = as_ints(dilation, "dilation", axes, 1)
        self.groups = as_int(groups, "groups", 1)
        if padding_mode not in self._padding_modes:
            expected = " or ".join(map(repr, self._padding_modes))
            raise ValueError(f"padding_mode: expected {expected}, got {padding_mode!r}")
        self.padding_mode = str(padding_mode)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"groups: {self.in_channels} input and {self.out_channels} output channels cannot "
                f"be split into {self.groups} groups"
            )

    def _make_all(self, bias: object, dtype: npt.DTypeLike | None) -> None:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        self._make(shape, self.out_channels if as_flag(bias, "bias") else 0, dtype)

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return self._one_sample(shape, self.in_channels)

    def _core_options(self, sides: Sides) -> Any:
        return core_options(self.stride, self.dilation, sides, self.groups, self.algorithm)

    def _describe(self, padding: object, output_padding: tuple[int, ...] = ()) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        if padding != (0,) * len(self.stride):
            text += f", padding={padding}"
        if self.dilation != (1,) * len(self.stride):
            text += f", dilation={self.dilation}"
        if any(output_padding):
            text += f", output_padding={output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Conv(_Convolution):
    _padding_modes = ("zeros", "reflect", "replicate", "circular")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Any = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        algorithm: str | None = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set_options(
            in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size,
            stride=stride, padding=padding, dilation=dilation, groups=groups,
            padding_mode=padding_mode, algorithm=algorithm,
        )  # fmt: skip
        self._make_all(bias, dtype)

    def _settle(self, padding: object, algorithm: Any, **sizes: Any) -> None:
        self.algorithm = None if algorithm is None else as_algorithm(algorithm)
        self._settle_sizes(**sizes)
        self._sides = padding_sides(padding, self.kernel_size, self.dilation)
        even = all(before == after for before, after in self._sides)
        # A name as given, or one size or pair per axis: both are what `repr` shows.
        self.padding: Any = padding
        if not isinstance(padding, str):
            self.padding = tuple(p for p, _ in self._sides) if even else self._sides

    def _lower(self, net: Any, value: int, name: str) -> int:
        options = self._core_options(self._sides), self.padding_mode
        return int(net.conv(value, name or "conv", self.weight, self.bias, *options))

    def extra_repr(self) -> str:
        return self._describe(self.padding)


class Conv1d(_Conv):
    """1-D convolution of (n, in_channels, length); see `Conv2d`."""

    _axes = 1


class Conv2d(_Conv):
    """2-D convolution of (n, in_channels, h, w); see `piste.functional.conv2d`.

    `padding_mode` is what the padding holds: ``"zeros"``, the input mirrored at its edge
    (``"reflect"``), its edge (``"replicate"``), or the input from its other end (``"circular"``).
    `algorithm` is this layer's own choice; see `piste.set_algorithm`.
    """

    _axes = 2


class Conv3d(_Conv):
    """3-D convolution of (n, in_channels, d, h, w); see `Conv2d`."""

    _axes = 3


class _ConvTranspose(_Convolution):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set_options(
            in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size,
            stride=stride, padding=padding, output_padding=output_padding, groups=groups,
            dilation=dilation, padding_mode=padding_mode,
        )  # fmt: skip
        self._make_all(bias, dtype)

    def _settle(self, padding: object, output_padding: object, **sizes: Any) -> None:
        self._settle_sizes(**sizes)
        axes = len(self.stride)
        self.padding = as_ints(padding, "padding", axes, 0)
        self.output_padding = as_ints(output_padding, "output_padding", axes, 0)
        check_output_padding(self.output_padding, self.stride, self.dilation)

    def _lower(self, net: Any, value: int, name: str) -> int:
        pairs = zip(self.padding, self.output_padding, strict=True)
        options = self._core_options(tuple((p, p - more) for p, more in pairs))
        return int(
            net.conv_transpose(value, name or "conv_transpose", self.weight, self.bias, options)
        )

    def extra_repr(self) -> str:
        return self._describe(self.padding, self.output_padding)


class ConvTranspose1d(_ConvTranspose):
    """1-D transposed convolution of (n, in_channels, length); see `ConvTranspose2d`."""

    _axes = 1


class ConvTranspose2d(_ConvTranspose):
    """2-D transposed convolution of (n, in_channels, h, w).

    See `piste.functional.conv_transpose2d`.
    """

    _axes = 2


class ConvTranspose3d(_ConvTranspose):
    """3-D transposed convolution of (n, in_channels, d, h, w); see `ConvTranspose2d`."""

    _axes = 3
