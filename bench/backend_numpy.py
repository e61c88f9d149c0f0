"""The arrays of the steps and nothing else: the memory that others are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cases import Case, step_arrays

version = f"NumPy {np.__version__}"


def set_threads(threads: int) -> None:
    """There is nothing to run."""


def prepare(case: Case) -> Callable[[], object] | None:
    """A call that does nothing, or None where it can't be done."""
    if case["kind"] != "step":
        return None
    arrays = step_arrays(case)
    return lambda: arrays
