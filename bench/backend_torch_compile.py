"""Whole steps in PyTorch, the model compiled by torch.compile (Inductor)."""

from __future__ import annotations

from collections.abc import Callable

import backend_torch
import torch
from cases import Case

set_threads = backend_torch.set_threads
version = backend_torch.version


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] != "step":
        return None  # a single layer is one call either way
    return backend_torch.step(case, torch.compile)
