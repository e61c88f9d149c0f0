"""Sizes, strides and paddings: an integer, or one integer per axis."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable

import numpy as np

from .._arrays import describe

LARGEST = 2**31 - 1
"""The core multiplies two such values in 64 bits."""

COUNTLESS = 2**62
"""Steps that no training reaches, though each is a sample of a small model."""


def as_flag(value: object, name: str) -> bool:
    """`value` as a bool.

    Raises
    ------
    TypeError
        Where it is none.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {describe(value)}")
    return bool(value)


def as_int(value: object, name: str, minimum: int, largest: int = LARGEST) -> int:
    """`value` as an int from `minimum` to `largest`; bool and float are refused.

    Raises
    ------
    TypeError
        Where `value` is not an integer.
    ValueError
        Where it is out of range.
    """
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got {describe(value)}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {describe(value)}") from None
    if not minimum <= number <= largest:
        raise ValueError(f"{name}: expected an integer from {minimum} to {largest}, got {number}")
    return number


def as_ints(value: object, name: str, count: int, minimum: int) -> tuple[int, ...]:
    """`value` as `count` ints of at least `minimum`: one integer for all axes, or one for each.

    Raises
    ------
    TypeError
        Where `value` is neither an integer nor a sequence of integers.
    ValueError
        Where its length is neither 1 nor `count`, or an integer is out of range.
    """
    if type(value) is int and minimum <= value <= LARGEST:  # the usual one waits for no more
        return (value,) * count
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        if not hasattr(value, "__index__"):
            what = f"an integer or {count} integers" if count > 1 else "an integer"
            raise TypeError(f"{name}: expected {what}, got {describe(value)}")
        return (as_int(value, name, minimum),) * count
    items = tuple(value)
    if len(items) not in (1, count):
        raise ValueError(f"{name}: expected {count} integers, got {len(items)}: {value!r}")
    numbers = tuple(as_int(item, name, minimum) for item in items)
    return numbers if len(numbers) == count else numbers * count


def lifted(sizes: tuple[int, ...], fill: int) -> tuple[int, ...]:
    """Sizes of one to three axes as those of (depth, height, width)."""
    return (fill,) * (3 - len(sizes)) + sizes


def as_number(value: object, name: str) -> float:
    """`value` as a float; text, bool and arrays of more than one value are refused.

    Raises
    ------
    TypeError
        Where `value` is not a real number.
    ValueError
        Where it is NaN.
    """
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"{name}: expected a number, got {describe(value)}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {describe(value)}") from None
    if math.isnan(number):
        raise ValueError(f"{name}: expected a number, got NaN")
    return number


def as_finite(value: object, name: str, minimum: float = -math.inf) -> float:
    """`value` as a finite float of at least `minimum`.

    Raises
    ------
    TypeError
        Where `value` is not a real number.
    ValueError
        Where it is NaN, infinite or too small.
    """
    number = as_number(value, name)
    if math.isinf(number) or number < minimum:
        least = "" if math.isinf(minimum) else f" of at least {minimum}"
        raise ValueError(f"{name}: expected a finite number{least}, got {number}")
    return number


def as_positive(value: object, name: str) -> float:
    """`value` as a finite float above 0.

    Raises
    ------
    TypeError, ValueError
        Where it is none.
    """
    number = as_finite(value, name, 0)
    if number == 0:
        raise ValueError(f"{name}: expected a number above 0, got {value}")
    return number


def as_share(value: object, name: str, *, whole: bool = True) -> float:
    """`value` as a float from 0 to 1; 1 itself only where it may be the `whole`.

    Raises
    ------
    TypeError, ValueError
        Where it is none.
    """
    number = as_finite(value, name, 0)
    if number > 1 or (number == 1 and not whole):
        range = "from 0 to 1" if whole else "below 1"
        raise ValueError(f"{name}: expected a number {range}, got {value}")
    return number


def as_axis(value: object, name: str, axes: int) -> int:
    """`value`, an axis counted from the front or (negative) from the back, as one from the front.

    Raises
    ------
    TypeError
        Where `value` is not an integer.
    ValueError
        Where there is no such axis.
    """
    axis = as_int(value, name, -LARGEST)
    if not -axes <= axis < axes:
        raise ValueError(f"{name}: expected an axis from {-axes} to {axes - 1}, got {axis}")
    return axis % axes
