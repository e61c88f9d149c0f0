"""Weights files: safetensors, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Path_ = str | os.PathLike[str]


def save_arrays(path: Path_, arrays: dict[str, npt.NDArray[Any]], state: dict[str, Any]) -> None:
    """Write arrays and a JSON-able state to a temporary file, sync it, and put it in place.

    Raises
    ------
    OSError
        Where it cannot be written (a full disk, say); an older file at `path` is then untouched.
    """
    from safetensors.numpy import save

    target = Path(path)
    contiguous = {name: np.array(array, order="C", copy=True) for name, array in arrays.items()}
    content = save(contiguous, {"piste": json.dumps(state)})
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name survives a power cut too
    finally:
        os.close(folder)


def load_arrays(path: Path_) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """What `save_arrays` wrote.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where it is cut short or no weights file.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        raise FileNotFoundError(f"{os.fspath(path)}: no such file")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{os.fspath(path)}: not a whole weights file ({error})") from None
    try:
        state = json.loads(metadata.get("piste", "{}"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: broken metadata ({error})") from None
    return arrays, state
