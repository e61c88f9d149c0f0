"""Activations made of straight lines, sigmoid and tanh, applied to each value."""

from __future__ import annotations

import numpy.typing as npt

from .._arrays import FloatArray
from ._arguments import as_number
from ._elementwise import backward, forward


def relu(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """Rectified linear unit, ``max(input, 0)``; NaN stays NaN.

    Parameters
    ----------
    input
        float32 or float64 array of any shape.
    inplace
        Write the result into `input`, which must then be a writable array.
    out
        Array of the same shape and dtype to write to.

    Returns
    -------
    ndarray
        `input`'s shape and dtype.
    """
    return forward("relu", input, input if inplace else out)


def relu_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `relu`: `grad_output` where ``input > 0``, else 0."""
    return backward("relu", grad_output, input)


def sigmoid(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """``1 / (1 + exp(-input))``.

    See `relu` for `out`.
    """
    return forward("sigmoid", input, out)


def sigmoid_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `sigmoid` by `input`."""
    return backward("sigmoid", grad_output, input)


def tanh(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """Hyperbolic tangent.

    See `relu` for `out`.
    """
    return forward("tanh", input, out)


def tanh_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `tanh` by `input`."""
    return backward("tanh", grad_output, input)


def relu6(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """``min(max(input, 0), 6)``.

    See `relu` for `inplace` and `out`.
    """
    return forward("relu6", input, input if inplace else out)


def relu6_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `relu6`: 0 at 0, at 6 and outside."""
    return backward("relu6", grad_output, input)


def _limits(min_val: object, max_val: object) -> tuple[float, float]:
    low, high = as_number(min_val, "min_val"), as_number(max_val, "max_val")
    if not low <= high:
        raise ValueError(f"min_val: expected at most max_val, got {low} and {high}")
    return low, high


def hardtanh(
    input: npt.ArrayLike,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """`input` limited to the range from `min_val` to `max_val`.

    See `relu` for `inplace` and `out`.
    """
    return forward("hardtanh", input, input if inplace else out, *_limits(min_val, max_val))


def hardtanh_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `hardtanh`: 0 at the limits and outside."""
    return backward("hardtanh", grad_output, input, *_limits(min_val, max_val))


def leaky_relu(
    input: npt.ArrayLike,
    negative_slope: float = 0.01,
    inplace: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """`input` where that is positive, else ``negative_slope * input``.

    See `relu` for `inplace` and `out`.
    """
    return forward(
        "leaky_relu", input, input if inplace else out, as_number(negative_slope, "negative_slope")
    )


def leaky_relu_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    negative_slope: float = 0.01,
    inplace: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `leaky_relu`; at 0 that of the negative side."""
    return backward("leaky_relu", grad_output, input, as_number(negative_slope, "negative_slope"))


def softsign(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """``input / (1 + abs(input))``.

    See `relu` for `out`.
    """
    return forward("softsign", input, out)


def softsign_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `softsign` by `input`."""
    return backward("softsign", grad_output, input)


def tanhshrink(input: npt.ArrayLike, *, out: FloatArray | None = None) -> FloatArray:
    """``input - tanh(input)``.

    See `relu` for `out`.
    """
    return forward("tanhshrink", input, out)


def tanhshrink_backward(grad_output: npt.ArrayLike, input: npt.ArrayLike) -> tuple[FloatArray]:
    """Gradient of `tanhshrink` by `input`."""
    return backward("tanhshrink", grad_output, input)


def hardsigmoid(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """``min(max(input + 3, 0), 6) / 6``.

    See `relu` for `inplace` and `out`.
    """
    return forward("hardsigmoid", input, input if inplace else out)


def hardsigmoid_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `hardsigmoid`: 0 at -3, at 3 and outside."""
    return backward("hardsigmoid", grad_output, input)


def hardswish(
    input: npt.ArrayLike, inplace: bool = False, *, out: FloatArray | None = None
) -> FloatArray:
    """``input * hardsigmoid(input)`` (Howard et al. 2019).

    See `relu` for `inplace` and `out`.
    """
    return forward("hardswish", input, input if inplace else out)


def hardswish_backward(
    grad_output: npt.ArrayLike, input: npt.ArrayLike, inplace: bool = False
) -> tuple[FloatArray]:
    """Gradient of `hardswish`; at -3 and at 3 that of the outer side."""
    return backward("hardswish", grad_output, input)


def threshold(
    input: npt.ArrayLike,
    threshold: float,
    value: float,
    inplace: bool = False,
    *,
    out: FloatArray | None = None,
) -> FloatArray:
    """`input` where that is above `threshold`, else `value`.

    See `relu` for `inplace` and `out`.
    """
    limits = as_number(threshold, "threshold"), as_number(value, "value")
    return forward("threshold", input, input if inplace else out, *limits)


def threshold_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    threshold: float,
    value: float,
    inplace: bool = False,
) -> tuple[FloatArray]:
    """Gradient of `threshold`: `grad_output` where ``input > threshold``, else 0."""
    limits = as_number(threshold, "threshold"), as_number(value, "value")
    return backward("threshold", grad_output, input, *limits)
