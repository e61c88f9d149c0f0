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

    def _settle(self, **options: Any) -> None:
        """Keep arguments as given (1 stays 1 in `repr`), those of NumPy as Python's numbers."""
        for name, value in options.items():
            if name == "inplace":
                self.inplace = as_flag(value, name)
            else:
                number = as_number(value, name)
                setattr(self, name, value if type(value) is int else number)

    def _numbers(self) -> tuple[float, ...]:
        return tuple(float(getattr(self, name)) for name in self._shown)

    def _lower(self, net: Any, value: int, name: str) -> int:
        a, b, *_ = (*self._numbers(), 0.0, 0.0)
        return int(net.activation(value, name or self._kind, self._kind, a, b))

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self._shown]
        return ", ".join(shown + ["inplace=True"] * getattr(self, "inplace", False))


class _InPlace(_Activation):
    """One without numbers."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self._set_options(inplace=inplace)


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


class LeakyReLU(_Activation):
    """``x`` above 0, ``negative_slope * x`` below."""

    _kind = "leaky_relu"
    _shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self._set_options(negative_slope=negative_slope, inplace=inplace)


class ELU(_Activation):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below (Clevert et al. 2016)."""

    _kind = "elu"
    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self._set_options(alpha=alpha, inplace=inplace)


class CELU(_Activation):
    """``x`` above 0, ``alpha * (exp(x / alpha) - 1)`` below (Barron 2017)."""

    _kind = "celu"
    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self._set_options(alpha=alpha, inplace=inplace)

    def _settle(self, **options: Any) -> None:
        nonzero(options["alpha"], "alpha")
        super()._settle(**options)


class Hardtanh(_Activation):
    """`x` limited to [min_val, max_val]."""

    _kind = "hardtanh"
    _shown = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self._set_options(min_val=min_val, max_val=max_val, inplace=inplace)

    def _settle(self, **options: Any) -> None:
        super()._settle(**options)
        low, high = options["min_val"], options["max_val"]
        if not low < high:
            raise ValueError(f"expected min_val < max_val, got {low} and {high}")


class Threshold(_Activation):
    """`x` above `threshold`, `value` elsewhere."""

    _kind = "threshold"
    _shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self._set_options(threshold=threshold, value=value, inplace=inplace)


class Softplus(_Activation):
    """``log(1 + exp(beta * x)) / beta``, and `x` where ``beta * x > threshold``."""

    _kind = "softplus"
    _shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self._set_options(beta=beta, threshold=threshold)


class GELU(_Activation):
    """``x`` times the normal distribution's function of x, or its tanh approximation.

    Hendrycks and Gimpel 2016.
    """

    _shown = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self._set_options(approximate=approximate)

    def _settle(self, **options: Any) -> None:
        self.approximate = options["approximate"]
        self._named = gelu_kind(self.approximate)

    def _lower(self, net: Any, value: int, name: str) -> int:
        return int(net.activation(value, name or "gelu", self._named, 0.0, 0.0))


class PReLU(Elementwise):
    """``x`` above 0, ``weight * x`` below, with one weight or one per channel (He et al. 2015)."""

    _fixed = ("num_parameters", "init")

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set_options(num_parameters=num_parameters, init=init)
        self._add_parameter("weight", np.full(self.num_parameters, self.init, as_dtype(dtype)))

    def _settle(self, num_parameters: object, init: object) -> None:
        self.num_parameters = as_int(num_parameters, "num_parameters", 1)
        self.init = as_number(init, "init")

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
        self._set_options(dim=dim)

    def _settle(self, dim: object) -> None:
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
