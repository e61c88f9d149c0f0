"""A bar that shows how far training is."""

from __future__ import annotations

import sys
from typing import Any, Literal


def progress_bar(progress: bool | Literal["auto"], total: int, title: str) -> Any:
    """A bar by tqdm, or None where it is not wanted, not installed or not seen."""
    if progress is False or (progress == "auto" and not sys.stderr.isatty()):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=title, unit="batch", leave=False)
