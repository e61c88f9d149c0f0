"""Data sets: the digits that ship with the package, and npz files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt


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
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share: expected a share between 0 and 1, got {test_share}")
    with files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        x, y = arrays["x"], arrays["y"]
    images = np.minimum(x.astype(np.uint16) * 16, 255).astype(np.uint8)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(x))
    cut = round(len(x) * test_share)
    test, train = order[:cut], order[cut:]
    return Dataset(images[train], y[train], images[test], y[test])


def load_npz(path: str | os.PathLike[str]) -> Dataset:
    """An npz file with ``x_train y_train x_test y_test``.

    Raises
    ------
    FileNotFoundError, ValueError
        Where there is no such file, it is no npz, or an array is missing.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(f"{name}: no such file")
    wanted = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(name, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files if key in wanted}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise ValueError(f"{name}: not a readable npz file ({error})") from None
    except Exception as error:  # zipfile.BadZipFile and zlib.error share no base
        raise ValueError(f"{name}: not a readable npz file ({error})") from None
    missing = [key for key in wanted if key not in arrays]
    if missing:
        raise ValueError(f"{name}: expected arrays {', '.join(wanted)}; missing {missing}")
    return Dataset(**arrays)
