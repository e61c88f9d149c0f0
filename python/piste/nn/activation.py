"""Activations."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .._arrays import as_dtype
from ..functional._arguments import LARGEST, as_flag, as_int, as_number
from ..functional.smooth import gelu_kind, nonzero
from .module import Elementwise, Module


class _Activation(Elementwise):
    """One of the core's activations, with up to two numbers.

    `inplace` has no effect here: a plan shares its memory between layers as it can anyway.
    """

    _kind: ClassVar[str] = ""
    _shown: tuple[str, ...] = ()  # the arguments that `repr` names

    def _keep(self, **numbers: float) -> None:
        """Keep arguments as given (1 stays 1 in `repr`), those of NumPy as Python's numbers."""
        for name, value in numbers.items():
            number = as_number(value, name)
            setattr(self, name, value if type(value) is int else number)

    def _options(self) -> tuple[float, ...]:
        return tuple(float(getattr(self, name)) for name in self._shown)

    def _lower(self, net: Any, value: int, name: str) -> int:
        a, b, *_ = (*self._options(), 0.0, 0.0)
        return int(net.activation(value, name or self._kind, self._kind, a, b))

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self._shown]
        return ", ".join(shown + ["inplace=True"] * getattr(self, "inplace", False))


class _InPlace(_Activation):
    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = as_flag(inplace, "inplace")


class ReLU(_InPlace):
    """``max(x, 0)``."""

    _kind = "relu"


class ReLU6(_InPlace):
    """``min(max(x, 0), 6)``."""

    _kind = "relu6"


class SELU(_InPlace):
    """`x` or ``alpha * (exp(x) - 1)``, scaled to keep mean and variance (Klambauer et al. 2017)."""

    _kind = "selu"


class SiLU(_InPlace):
    """``x * sigmoid(x)``."""

    _kind = "silu"


class Mish(_InPlace):
    """``x * tanh(softplus(x))`` (Misra 2019)."""

    _kind = "mish"


class Hardswish(_InPlace):
    """``x * min(max(x + 3, 0), 6) / 6`` (Howard et al. 2019)."""

    _kind = "hardswish"


class Hardsigmoid(_InPlace):
    """``min(max(x + 3, 0), 6) / 6``."""

    _kind = "hardsigmoid"


class Sigmoid(_Activation):
    """``1 / (1 + exp(-x))``."""

    _kind = "sigmoid"


class Tanh(_Activation):
    """Hyperbolic tangent."""

    _kind = "tanh"


class Softsign(_Activation):
    """``x / (1 + |x|)``."""

    _kind = "softsign"


class Tanhshrink(_Activation):
    """``x - tanh(x)``."""

    _kind = "tanhshrink"


class LogSigmoid(_Activation):
    """``log(1 / (1 + exp(-x)))``."""

    _kind = "logsigmoid"


class LeakyReLU(_InPlace):
    """``x`` above 0, ``negative_slope * x`` below."""

    _kind = "leaky_relu"
    _shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self._keep(negative_slope=negative_slope)


class ELU(_InPlace):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below (Clevert et al. 2016)."""

    _kind = "elu"
    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self._keep(alpha=alpha)


class CELU(_InPlace):
    """``x`` above 0, ``alpha * (exp(x / alpha) - 1)`` below (Barron 2017)."""

    _kind = "celu"
    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        nonzero(alpha, "alpha")
        self._keep(alpha=alpha)


class Hardtanh(_InPlace):
    """`x` limited to [min_val, max_val]."""

    _kind = "hardtanh"
    _shown = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self._keep(min_val=min_val, max_val=max_val)
        if not min_val < max_val:
            raise ValueError(f"expected min_val < max_val, got {min_val} and {max_val}")


class Threshold(_InPlace):
    """`x` above `threshold`, `value` elsewhere."""

    _kind = "threshold"
    _shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self._keep(threshold=threshold, value=value)


class Softplus(_Activation):
    """``log(1 + exp(beta * x)) / beta``, and `x` where ``beta * x > threshold``."""

    _kind = "softplus"
    _shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self._keep(beta=beta, threshold=threshold)


class GELU(_Activation):
    """``x`` times the normal distribution's function of x, or its tanh approximation.

    Hendrycks and Gimpel 2016.
    """

    _shown = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self._named = gelu_kind(approximate)
        self.approximate = approximate

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.activation(value, name or "gelu", self._named, 0.0, 0.0))


class PReLU(Elementwise):
    """``x`` above 0, ``weight * x`` below, with one weight or one per channel (He et al. 2015)."""

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters = as_int(num_parameters, "num_parameters", 1)
        self.init = as_number(init, "init")
        self._add_parameter("weight", np.full(self.num_parameters, self.init, as_dtype(dtype)))

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return super()._batch_shape(shape) if self.num_parameters == 1 else None

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.prelu(value, name or "prelu", self.weight))

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Softmax(Module):
    """Softmax over `dim`, an axis other than the batch's; None for channels or features."""

    _log = False

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = None if dim is None else as_int(dim, "dim", -LARGEST)
        if self.dim == 0:
            raise ValueError("dim: expected an axis other than that of the samples, got 0")

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return (1, *shape) if len(shape) == 1 and self.dim == -1 else None

    def _lower(self, net: Any, value: int, name: str) -> int:
        kind = "log_softmax" if self._log else "softmax"
        axis = 1 if self.dim is None else self.dim
        return int(net.softmax(value, name or kind, self._log, axis))

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """Logarithm of the softmax; see `Softmax`."""

    _log = True


class Softmax2d(Module):
    """Softmax over the channels of each pixel of (n, channels, h, w)."""

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.softmax(value, name or "softmax", False, -3))
