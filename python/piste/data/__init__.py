"""Data sets: the digits that ship with the package, and npz files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arrays import describe
from .._augment import Augment
from ..functional._arguments import as_int


@dataclass(frozen=True)
class Dataset:
    """Training and held-out samples with their labels."""

    x_train: npt.NDArray[Any]
    y_train: npt.NDArray[Any]
    x_test: npt.NDArray[Any]
    y_test: npt.NDArray[Any]


def load_digits(test_share: float = 0.2, seed: int = 0) -> Dataset:
    """1,797 handwritten digits of 8x8 values, split by a seeded shuffle.

    Images are (n, 8, 8) uint8, the values 0 to 16 of the original spread over 0 to 255. From the
    UCI repository's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, CC BY 4.0).

    Raises
    ------
    ValueError, TypeError
        For a share that is not between 0 and 1, or a seed that is no integer from 0.
    """
    if not isinstance(test_share, (int, float, np.number)):
        raise TypeError(f"test_share: expected a number, got {describe(test_share)}")
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: expected a share between 0 and 1, got {test_share}")
    with files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        x, y = arrays["x"], arrays["y"]
    images = np.minimum(x.astype(np.uint16) * 16, 255).astype(np.uint8)
    order = np.random.Generator(np.random.PCG64(as_int(seed, "seed", 0))).permutation(len(x))
    cut = round(len(x) * test_share)
    test, train = order[:cut], order[cut:]
    return Dataset(images[train], y[train], images[test], y[test])


def read_npz(
    path: str | os.PathLike[str], choose: Callable[[list[str]], Sequence[str]]
) -> dict[str, npt.NDArray[Any]]:
    """Those arrays of an npz file that `choose` picks from the names in it.

    Raises
    ------
    FileNotFoundError, ValueError
        Where there is no such file, it is no npz or cut short, or `choose` raises ValueError.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such file")
    if not zipfile.is_zipfile(name):
        raise ValueError(f"{name}: not a readable npz file (no whole zip archive)")
    try:
        with np.load(name, allow_pickle=False) as file:
            chosen = choose(list(file.files))
            return {key: _read(file, key) for key in chosen}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name}: {error}") from None


def _read(file: Any, key: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(file[key])
    except Exception as error:  # a broken archive raises a dozen kinds without a common base
        raise ValueError(f"array {key!r} cannot be read: {error}") from None


def _training_arrays(names: list[str]) -> Sequence[str]:
    wanted = ("x_train", "y_train", "x_test", "y_test")
    missing = [key for key in wanted if key not in names]
    if missing:
        raise ValueError(f"expected arrays {', '.join(wanted)}; missing {missing}")
    return wanted


def load_npz(path: str | os.PathLike[str]) -> Dataset:
    """An npz file with ``x_train y_train x_test y_test``.

    Raises
    ------
    FileNotFoundError, ValueError
        Where there is no such file, it is no npz, or an array is missing.
    """
    return Dataset(**read_npz(path, _training_arrays))


__all__ = ["Augment", "Dataset", "load_digits", "load_npz", "read_npz"]
