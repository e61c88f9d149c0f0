"""Activations made of exponentials, logarithms and the normal distribution."""

from __future__ import annotations

import numpy.typing as npt

from .._arrays import FloatArray, describe
from ._arguments import as_number
from ._elementwise import backward, forward


def elu(
    input: npt.ArrayLike,
    alpha: float = 1.0,
    inplace: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """`input` where that is positive, else ``alpha * (exp(input) - 1)`` (Clevert et al. 2016).

    See `relu` for `inplace` and `out`.
    """
    return forward("elu", input, input if inplace else out, as_number(alpha, "alpha"))


def elu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, alpha: float = 1.0, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `elu`; at 0 that of the negative side."""
    return backward("elu", grad_output, input, as_number(alpha, "alpha"))


def selu(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """``1.0507 * elu(input, 1.6733)``, the constants in full (Klambauer et al. 2017).

    See `relu` for `inplace` and `out`.
    """
    return forward("selu", input, input if inplace else out)


def selu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `selu`; at 0 that of the negative side."""
    return backward("selu", grad_output, input)


def nonzero(value: object, name: str) -> float:
    """`value` as a number other than 0."""
    number = as_number(value, name)
    if number == 0:
        raise ValueError(f"{name}: expected a number other than 0")
    return number


def celu(
    input: npt.ArrayLike,
    alpha: float = 1.0,
    inplace: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """`input` where that is positive, else ``alpha * (exp(input / alpha) - 1)`` (Barron 2017).

    See `relu` for `inplace` and `out`.
    """
    return forward("celu", input, input if inplace else out, nonzero(alpha, "alpha"))


def celu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, alpha: float = 1.0, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `celu`."""
    return backward("celu", grad_output, input, nonzero(alpha, "alpha"))


_GELU = {"none": "gelu", "tanh": "gelu_tanh"}


def gelu_kind(approximate: object) -> str:
    """The core's name of the gelu that `approximate` stands for."""
    if not isinstance(approximate, str):
        raise TypeError(f"approximate: expected 'none' or 'tanh', got {describe(approximate)}")
    if approximate not in _GELU:
        raise ValueError(f"approximate: expected 'none' or 'tanh', got {approximate!r}")
    return _GELU[approximate]


def gelu(
    input: npt.ArrayLike, *, approximate: str = "none", out: FloatArray | None = None
) -> FloatArray:
    """``input * Phi(input)`` with the standard normal distribution (Hendrycks, Gimpel 2016).

    Parameters
    ----------
    input
        float32 or float64 array of any shape.
    approximate
        ``"tanh"`` for ``input * (1 + tanh(sqrt(2 / pi) (input + 0.044715 input^3))) / 2``.
    out
        Array of the same shape and dtype to write to.

    Returns
    -------
    ndarray
        `input`'s shape and dtype.
    """
    return forward(gelu_kind(approximate), input, out)


def gelu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, *, approximate: str = "none"
) -> tuple[FloatArray]:
    """Gradient of `gelu`."""
    return backward(gelu_kind(approximate), grad_output, input)


def silu(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """``input * sigmoid(input)``.

    See `relu` for `inplace` and `out`.
    """
    return forward("silu", input, input if inplace else out)


def silu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `silu` by `input`."""
    return backward("silu", grad_output, input)


def mish(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """``input * tanh(softplus(input))`` (Misra 2019).

    See `relu` for `inplace` and `out`.
    """
    return forward("mish", input, input if inplace else out)


def mish_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `mish`."""
    return backward("mish", grad_output, input)


def softplus(
    input: npt.ArrayLike,
    beta: float = 1.0,
    threshold: float = 20.0,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """``log(1 + exp(beta * input)) / beta``, and `input` where ``beta * input > threshold``.

    See `relu` for `out`.
    """
    options = as_number(beta, "beta"), as_number(threshold, "threshold")
    return forward("softplus", input, out, *options)


def softplus_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, beta: float = 1.0, threshold: float = 20.0
) -> tuple[FloatArray]:
    """Gradient of `softplus`."""
    options = as_number(beta, "beta"), as_number(threshold, "threshold")
    return backward("softplus", grad_output, input, *options)


def logsigmoid(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """``log(sigmoid(input))``, without its overflow.

    See `relu` for `out`.
    """
    return forward("logsigmoid", input, out)


def logsigmoid_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `logsigmoid`."""
    return backward("logsigmoid", grad_output, input)
