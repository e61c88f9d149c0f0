"""From whatever the user passes to the arrays that the core takes, and back."""

from __future__ import annotations

import math
import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _core

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""float32 or float64."""

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


_POOLED_BYTES = range(1 << 20, 1 << 27)
"""Sizes of arrays whose memory is kept for the next ones."""


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A new array; a large one in memory that earlier results have given back.

    What the allocator takes anew from the system costs more to touch than most operations do.

    Raises
    ------
    ValueError
        For more bytes than there are addresses.
    MemoryError
        For more than the system has.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size in _POOLED_BYTES:
        return _core.empty(size).view(kind).reshape(shape)
    if size > sys.maxsize:
        raise ValueError(f"a result of shape {shape} and dtype {kind} has more bytes than an array")
    return np.empty(shape, kind)


def empty_like(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A new array of another's shape and dtype, in C order; see `empty`."""
    if array.nbytes not in _POOLED_BYTES:
        return np.empty(array.shape, array.dtype)
    return empty(array.shape, array.dtype)


def lasting(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy that NumPy refuses to resize: its memory stays where the core has found it."""
    copy: npt.NDArray[Any] = _core.lasting(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def describe(value: object) -> str:
    """A short text on what came, for error messages."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    kind = type(value).__name__
    if isinstance(value, (tuple, list)) and any(isinstance(item, np.ndarray) for item in value):
        items = ", ".join(map(describe, value[:3])) + (", ..." if len(value) > 3 else "")
        return f"{kind} of {len(value)}: {items}"
    text = repr(value)
    return kind if "\n" in text else f"{kind} {text}"[:120]


def as_dtype(dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    """float32 (where None, too) or float64.

    Raises
    ------
    TypeError
        For any other.
    """
    try:
        result = np.dtype(np.float32 if dtype is None else dtype)
    except TypeError:
        raise TypeError(f"dtype: expected float32 or float64, got {describe(dtype)}") from None
    if result not in _FLOATS:
        raise TypeError(f"dtype: expected float32 or float64, got {result}")
    return result


def check_unmasked(array: npt.NDArray[Any], name: str) -> None:
    """Raise TypeError for an array of `numpy.ma`, whose mask nothing here would look at."""
    if type(array) is np.ndarray:
        return
    masked = sys.modules.get("numpy.ma")  # not loaded for the sake of a question
    if masked is not None and isinstance(array, masked.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask, got a masked one")


def as_array(value: object, name: str) -> npt.NDArray[Any]:
    """`value` as a NumPy array: ndarray, ``__array__``, buffer, ``__dlpack__`` or sequence."""
    if isinstance(value, np.ndarray):
        check_unmasked(value, name)
        return value
    if value is None:
        raise TypeError(f"{name}: expected an array, got None")
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{name}: expected an array, got {describe(value)}: {error}") from None
    if array.dtype == object:
        raise TypeError(f"{name}: expected an array of numbers, got {describe(value)}")
    return array


def as_float(value: object, name: str, like: FloatArray | None = None) -> FloatArray:
    """`value` as a C-contiguous, native float32 or float64 array; copies only where it must.

    Parameters
    ----------
    value
        The array-like.
    name
        The argument's name, for errors.
    like
        Where given, its dtype is required.

    Raises
    ------
    TypeError
        For any other dtype, or one that differs from `like`'s, or a masked array.
    """
    # Small arrays should not wait for more than this.
    array = value if type(value) is np.ndarray else as_array(value, name)
    dtype = array.dtype
    usual = dtype.char in "fd" and dtype.isnative and array.flags.c_contiguous
    if usual and (like is None or dtype is like.dtype or dtype == like.dtype):
        return array
    native = dtype.newbyteorder("=")
    if native not in _FLOATS:
        raise TypeError(f"{name}: expected dtype float32 or float64, got {array.dtype}")
    if like is not None and native != like.dtype:
        raise TypeError(f"{name}: expected dtype {like.dtype} as the input has, got {array.dtype}")
    # Not np.ascontiguousarray, which makes a 0-d array 1-d.
    return np.asarray(array, dtype=native, order="C")


def as_optional_float(
    value: object | None, name: str, like: FloatArray | None = None
) -> FloatArray | None:
    """`None`, or what `as_float` gives."""
    return None if value is None else as_float(value, name, like)


def check_shape(array: npt.NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless `array` has `shape`."""
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")


def within_int64(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Integers that can be converted to int64; those beyond, no labels either, as its largest."""
    if labels.dtype.kind == "u" and labels.dtype.itemsize == 8:
        labels = np.minimum(labels, np.iinfo(np.int64).max)
    return labels


def check_kind(array: npt.NDArray[Any], like: npt.NDArray[Any], name: str) -> None:
    """Raise ValueError unless `array` has the shape and dtype of `like`."""
    check_shape(array, like.shape, name)
    if array.dtype != like.dtype:
        raise ValueError(f"{name}: expected dtype {like.dtype}, got {array.dtype}")


def as_gradient(value: object, x: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """`grad_output` of an output of `shape`, in the dtype of the input `x`."""
    dy = as_float(value, "grad_output", like=x)
    check_shape(dy, shape, "grad_output")
    return dy


def as_optional_floats(
    x: FloatArray, shape: tuple[int, ...], **values: object | None
) -> tuple[FloatArray | None, ...]:
    """The named arrays, each None or of `shape` and of `x`'s dtype."""
    arrays: list[FloatArray | None] = []
    for name, value in values.items():
        array = None if value is None else as_float(value, name, x)
        if array is not None and array.shape != shape:
            check_shape(array, shape, name)
        arrays.append(array)
    return tuple(arrays)


class Output:
    """Where an operation writes: a new array, or the user's `out`.

    The core writes into `Output.buffer`; `Output.result()` returns what the user gets. The two
    differ only where `out` is not contiguous or overlaps an input.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        out: npt.NDArray[Any] | None = None,
        inputs: tuple[npt.NDArray[Any] | None, ...] = (),
    ) -> None:
        self._out = out
        if out is None:
            self.buffer: npt.NDArray[Any] = empty(shape, dtype)
            return
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out: expected a NumPy array, got {describe(out)}")
        check_unmasked(out, "out")
        if out.dtype != dtype:
            raise TypeError(f"out: expected dtype {dtype}, got {out.dtype}")
        check_shape(out, shape, "out")
        if not out.flags.writeable:
            raise ValueError("out: the array is read-only")
        direct = (
            out.flags.c_contiguous
            and out.dtype.isnative
            and not any(x is not None and np.may_share_memory(out, x) for x in inputs)
        )
        self.buffer = out if direct else empty(shape, dtype.newbyteorder("="))

    def result(self) -> npt.NDArray[Any]:
        """The user's array, filled."""
        if self._out is None or self._out is self.buffer:
            return self.buffer
        self._out[...] = self.buffer
        return self._out
