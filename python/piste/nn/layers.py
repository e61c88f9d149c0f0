"""Layers. Arguments are those of ``torch.nn``; initial weights follow the same bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .._build import as_algorithm
from ..functional._arguments import as_int, as_ints, as_number
from .module import Module, uniform

_Pair = int | tuple[int, int]


def _dtype(dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    result = np.dtype(np.float32 if dtype is None else dtype)
    if result not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype: expected float32 or float64, got {result}")
    return result


class _Weighted(Module):
    """A weight and an optional bias, Kaiming uniform with a = sqrt(5): bound 1/sqrt(fan in)."""

    def _make(self, shape: tuple[int, ...], bias: bool, dtype: npt.DTypeLike | None) -> None:
        kind = _dtype(dtype)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self._parameters["weight"] = uniform(shape, bound, kind)
        self._parameters["bias"] = uniform(shape[:1], bound, kind) if bias else None


class Conv2d(_Weighted):
    """2-D convolution of (n, in_channels, h, w); see `piste.functional.conv2d`.

    `algorithm` is this layer's own choice; see `piste.set_algorithm`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Pair,
        stride: _Pair = 1,
        padding: _Pair | str = 0,
        dilation: _Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        algorithm: str | None = None,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.algorithm = None if algorithm is None else as_algorithm(algorithm)
        self.in_channels = as_int(in_channels, "in_channels", 1)
        self.out_channels = as_int(out_channels, "out_channels", 1)
        self.kernel_size = as_ints(kernel_size, "kernel_size", 2, 1)
        self.stride = as_ints(stride, "stride", 2, 1)
        self.dilation = as_ints(dilation, "dilation", 2, 1)
        self.groups = as_int(groups, "groups", 1)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"groups: {in_channels} input and {out_channels} output channels cannot be split "
                f"into {groups} groups"
            )
        self.padding = padding
        self._sides = self._padding_sides(padding)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self._make(shape, bias, dtype)

    def _padding_sides(self, padding: _Pair | str) -> tuple[tuple[int, int], tuple[int, int]]:
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"padding: expected 'same', 'valid' or sizes, got {padding!r}")
            reach = [
                d * (k - 1) if padding == "same" else 0
                for k, d in zip(self.kernel_size, self.dilation, strict=True)
            ]
            return tuple((total // 2, total - total // 2) for total in reach)  # type: ignore[return-value]
        rows, columns = as_ints(padding, "padding", 2, 0)
        return (rows, rows), (columns, columns)

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(
            net.conv(
                value,
                name or "conv",
                self.weight,
                self.bias,
                self.stride,
                self._sides,
                self.dilation,
                self.groups,
                self.algorithm,
            )
        )

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        if self._sides != ((0, 0), (0, 0)):
            text += f", padding={self.padding!r}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text + (", bias=False" if self.bias is None else "")


class Linear(_Weighted):
    """``x @ weight.T + bias`` on (n, in_features)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.in_features = as_int(in_features, "in_features", 1)
        self.out_features = as_int(out_features, "out_features", 1)
        self._make((self.out_features, self.in_features), bias, dtype)

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.linear(value, name or "linear", self.weight, self.bias))

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class BatchNorm2d(Module):
    """Batch normalisation per channel (Ioffe and Szegedy 2015)."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        kind = _dtype(dtype)
        self.num_features = as_int(num_features, "num_features", 1)
        self.eps, self.affine = as_number(eps, "eps"), bool(affine)
        self.momentum = as_number(momentum, "momentum")
        if not 0 <= self.eps < math.inf:
            raise ValueError(f"eps: expected a finite number of at least 0, got {eps}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum: expected a number from 0 to 1, got {momentum}")
        size = self.num_features
        self._parameters["weight"] = np.ones(size, kind) if affine else None
        self._parameters["bias"] = np.zeros(size, kind) if affine else None
        self._buffers["running_mean"] = np.zeros(size, kind)
        self._buffers["running_var"] = np.ones(size, kind)
        self._buffers["num_batches_tracked"] = np.zeros((), np.int64)

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(
            net.batch_norm(
                value,
                name or "batch_norm",
                self.weight,
                self.bias,
                self.running_mean,
                self.running_var,
                self.momentum,
                self.eps,
            )
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"
        )


class _Activation(Module):
    _kind = ""

    def _options(self) -> tuple[float, float]:
        return 0.0, 0.0

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.activation(value, name or self._kind, self._kind, *self._options()))


class ReLU(_Activation):
    """``max(x, 0)``."""

    _kind = "relu"


class ReLU6(_Activation):
    """``min(max(x, 0), 6)``."""

    _kind = "relu6"


class Sigmoid(_Activation):
    """``1 / (1 + exp(-x))``."""

    _kind = "sigmoid"


class Tanh(_Activation):
    """Hyperbolic tangent."""

    _kind = "tanh"


class SiLU(_Activation):
    """``x * sigmoid(x)``."""

    _kind = "silu"


class Softsign(_Activation):
    """``x / (1 + |x|)``."""

    _kind = "softsign"


class Tanhshrink(_Activation):
    """``x - tanh(x)``."""

    _kind = "tanhshrink"


class LeakyReLU(_Activation):
    """``x`` above 0, ``negative_slope * x`` below."""

    _kind = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = as_number(negative_slope, "negative_slope")

    def _options(self) -> tuple[float, float]:
        return self.negative_slope, 0.0

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Hardtanh(_Activation):
    """`x` limited to [min_val, max_val]."""

    _kind = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        self.min_val = as_number(min_val, "min_val")
        self.max_val = as_number(max_val, "max_val")
        if not self.min_val < self.max_val:
            raise ValueError(f"expected min_val < max_val, got {min_val} and {max_val}")

    def _options(self) -> tuple[float, float]:
        return self.min_val, self.max_val

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class _Pool(Module):
    def __init__(
        self,
        kernel_size: _Pair,
        stride: _Pair | None = None,
        padding: _Pair = 0,
    ) -> None:
        super().__init__()
        self.kernel_size = as_ints(kernel_size, "kernel_size", 2, 1)
        self.stride = self.kernel_size if stride is None else as_ints(stride, "stride", 2, 1)
        self.padding = as_ints(padding, "padding", 2, 0)
        for pad, kernel in zip(self.padding, self.kernel_size, strict=True):
            if 2 * pad > kernel:
                raise ValueError(
                    f"padding: expected at most half of kernel_size {self.kernel_size}, "
                    f"got {self.padding}"
                )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """Maximum over windows."""

    def __init__(
        self,
        kernel_size: _Pair,
        stride: _Pair | None = None,
        padding: _Pair = 0,
        dilation: _Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation = as_ints(dilation, "dilation", 2, 1)
        self.ceil_mode = bool(ceil_mode)

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(
            net.max_pool(
                value,
                name or "max_pool",
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
                self.ceil_mode,
            )
        )


class AvgPool2d(_Pool):
    """Average over windows."""

    def __init__(
        self,
        kernel_size: _Pair,
        stride: _Pair | None = None,
        padding: _Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = bool(ceil_mode), bool(count_include_pad)
        if divisor_override is not None:
            divisor_override = as_int(divisor_override, "divisor_override", 1)
        self.divisor_override = divisor_override

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(
            net.avg_pool(
                value,
                name or "avg_pool",
                self.kernel_size,
                self.stride,
                self.padding,
                self.ceil_mode,
                self.count_include_pad,
                self.divisor_override or 0,
            )
        )


class AdaptiveAvgPool2d(Module):
    """Average over windows that give `output_size`; None keeps an axis."""

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        super().__init__()
        self.output_size = output_size
        pair = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
        if len(pair) != 2:
            raise ValueError(f"output_size: expected one or two sizes, got {output_size!r}")
        self._size = tuple(0 if n is None else as_int(n, "output_size", 1) for n in pair)

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.adaptive_avg_pool(value, name or "adaptive_avg_pool", self._size))

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class Dropout(Module):
    """Zero each value with probability `p` in training, scaling the others by 1/(1-p)."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = as_number(p, "p")
        if not 0 <= self.p <= 1:
            raise ValueError(f"p: expected a probability from 0 to 1, got {p}")

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.dropout(value, name or "dropout", self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Flatten(Module):
    """(n, channels, height, width) to (n, features)."""

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.flatten(value, name or "flatten"))


class Softmax(Module):
    """Softmax over channels or features."""

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.softmax(value, name or "softmax"))


class LogSoftmax(Module):
    """Logarithm of the softmax over channels or features."""

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.log_softmax(value, name or "log_softmax"))
