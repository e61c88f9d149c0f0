"""Dropout."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, Output, as_float, as_gradient, describe, empty_like
from ._arguments import as_flag, as_number


def _rate(p: object, training: object) -> float:
    """The probability, 0 unless training."""
    number = as_number(p, "p")
    if not 0 <= number <= 1:
        raise ValueError(f"p: expected a probability from 0 to 1, got {number}")
    return number if as_flag(training, "training") else 0.0


def _key(rng: object) -> int:
    """The seed, of which the core takes 64 bits."""
    if isinstance(rng, (bool, np.bool_)) or not isinstance(rng, (int, np.integer)):
        raise TypeError(f"rng: expected an integer seed or None, got {describe(rng)}")
    if not 0 <= int(rng) < 2**64:
        raise ValueError(f"rng: expected a seed from 0 to 2**64 - 1, got {rng}")
    return int(rng)


def dropout(
    input: npt.ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    rng: int | None = None,
    out: FloatArray | None = None,
) -> FloatArray:
    """Each value times ``1 / (1 - p)``, or with probability `p` 0.

    Parameters
    ----------
    input
        float32 or float64 array of any shape.
    p
        Probability from 0 to 1.
    training
        Where false, the result is a copy of `input`.
    inplace
        Write the result into `input`, which must then be a writable array.
    rng
        Seed; which values are kept depends on it and on their places alone. None for a new one at
        each call, whose gradient cannot be had.
    out
        Array of the same shape and dtype to write to.

    Returns
    -------
    ndarray
        `input`'s shape and dtype.
    """
    x = as_float(input, "input")
    rate = _rate(p, training)
    key = int.from_bytes(os.urandom(8), "little") if rng is None else _key(rng)
    target = input if inplace else out
    output = Output(x.shape, x.dtype, target, (x,))  # type: ignore[arg-type]
    _core.dropout(x.reshape(-1), output.buffer.reshape(-1), rate, key)
    return output.result()


def dropout_backward(
    grad_output: npt.ArrayLike,
    input: npt.ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    rng: int | None = None,
) -> tuple[FloatArray]:
    """Gradient of `dropout` with the same `rng`, which is needed where values were dropped."""
    x = as_float(input, "input")
    dy = as_gradient(grad_output, x, x.shape)
    rate = _rate(p, training)
    if rng is None and 0 < rate < 1:
        raise ValueError("rng: expected the seed that dropout was called with, got None")
    dx = empty_like(x)
    _core.dropout(dy.reshape(-1), dx.reshape(-1), rate, 0 if rng is None else _key(rng))
    return (dx,)
