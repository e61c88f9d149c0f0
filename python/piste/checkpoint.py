"""Weights files: safetensors, written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Path_ = str | os.PathLike[str]


def _target(path: Path_) -> Path:
    """Where a file called `path` will stand, links followed."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{os.fspath(path)}: no such folder")
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)}: is a folder")
    if target.exists() and not target.is_file():  # a file put in its place would end the device
        raise OSError(f"{os.fspath(path)}: is a device or a pipe, not a file")
    return target


def _beside(target: Path) -> Path:
    # Not by tempfile, whose files only their owner can read: ours are to have the usual rights.
    return target.with_name(f".piste-{secrets.token_hex(8)}")


def _explained(error: OSError, path: Path_) -> OSError:
    return OSError(error.errno, f"{os.fspath(path)}: cannot be written: {error.strerror}")


def check_target(path: Path_) -> None:
    """Make sure that a file can be written there.

    Raises
    ------
    OSError
        Where there is no such folder, the folder is not writable, or `path` is a folder itself.
    """
    temporary = _beside(_target(path))
    try:
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except OSError as error:
        raise _explained(error, path) from None


def write_file(path: Path_, content: bytes) -> None:
    """Write to a temporary file, sync it, and put it in place: whole or not at all.

    Raises
    ------
    OSError
        Where it cannot be written (a full disk, say); an older file at `path` is then untouched.
    """
    target = _target(path)
    temporary = _beside(target)
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _explained(error, path) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name survives a power cut too
    finally:
        os.close(folder)


def _plain(value: object) -> Any:
    """NumPy's scalars for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"cannot save {value!r}")


def save_arrays(path: Path_, arrays: dict[str, npt.NDArray[Any]], state: dict[str, Any]) -> None:
    """Write arrays and a JSON-able state, whole or not at all (see `write_file`)."""
    from safetensors.numpy import save

    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_file(path, save(contiguous, {"piste": json.dumps(state, default=_plain)}))


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
    if Path(path).is_dir():
        raise ValueError(f"{os.fspath(path)}: not a whole weights file (it is a folder)")
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{os.fspath(path)}: not a whole weights file ({error})") from None
    try:
        state = json.loads(metadata.get("piste", "{}"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)}: broken metadata ({error})") from None
    return arrays, state
