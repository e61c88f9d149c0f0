"""Clipping for loops written by hand; a trainer clips inside its step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from .._arrays import FloatArray, describe
from ..functional._arguments import as_finite, as_number

Gradients = Mapping[str, FloatArray] | Iterable[FloatArray]


def clip_grad_norm_(
    grads: Gradients, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> float:
    """Shorten gradients in place where their norm, of all values together, is above a bound.

    As ``torch.nn.utils.clip_grad_norm_``, on the gradients themselves: they are multiplied by
    ``max_norm / (norm + 1e-6)`` where that is below 1.

    Parameters
    ----------
    grads
        Arrays, or names with arrays as ``model.gradients()`` gives them.
    max_norm
        The bound.
    norm_type
        p of the p-norm, above 0; infinity for the largest value.
    error_if_nonfinite
        Raise rather than scale by a norm that is not finite.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    TypeError, ValueError
        For what are no arrays of floats that can be written, or bounds that make no sense.
    """
    arrays, bound = _arrays(grads), as_finite(max_norm, "max_norm", 0)
    p = as_number(norm_type, "norm_type")
    if p <= 0:
        raise ValueError(f"norm_type: expected a number above 0, got {norm_type}")
    norm = _norm(arrays, p)
    if error_if_nonfinite and not math.isfinite(norm):
        raise ValueError(f"grads: expected a finite norm, got {norm}")
    factor = bound / (norm + 1e-6)
    if not factor >= 1:
        with np.errstate(invalid="ignore"):  # infinity times 0: NaN, as a norm of infinity asks for
            for array in arrays:
                array *= factor
    return norm


def clip_grad_value_(grads: Gradients, clip_value: float) -> None:
    """Bound gradients in place: all values by `clip_value` and its negative.

    Parameters
    ----------
    grads
        Arrays, or names with arrays as ``model.gradients()`` gives them.
    clip_value
        The bound.

    Raises
    ------
    TypeError, ValueError
        For what are no arrays of floats that can be written, or a bound that makes no sense.
    """
    arrays, bound = _arrays(grads), as_finite(clip_value, "clip_value", 0)
    for array in arrays:
        np.clip(array, -bound, bound, out=array)


def _arrays(grads: Gradients) -> list[FloatArray]:
    if isinstance(grads, np.ndarray):
        grads = [grads]
    if not isinstance(grads, Iterable):
        raise TypeError(f"grads: expected arrays, got {describe(grads)}")
    arrays = list(grads.values() if isinstance(grads, Mapping) else grads)
    for i, array in enumerate(arrays):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise TypeError(f"grads[{i}]: expected an array of floats, got {describe(array)}")
        if not array.flags.writeable:
            raise ValueError(f"grads[{i}]: the array is read-only")
    return arrays


def _norm(arrays: list[FloatArray], p: float) -> float:
    """In float64, on a scale where powers neither overflow nor vanish."""
    # NumPy's maximum, since Python's may lose a NaN.
    largest = float(np.max([np.max(np.abs(a), initial=0) for a in arrays], initial=0))
    if math.isinf(p) or largest == 0 or not math.isfinite(largest):
        return largest
    total = sum(float(np.sum((np.abs(a.astype(np.float64)) / largest) ** p)) for a in arrays)
    return float(largest * total ** (1 / p))
