"""Which operations there are, found in the code; ``python -m piste.coverage`` prints the table."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from . import functional, nn

_ARRAYS = {"input", "target", "weight", "bias", "running_mean", "running_var", "var", "out"}
_SHORT = {"binarycrossentropy": "bce", "binarycrossentropywithlogits": "bcewithlogits"}


@dataclass(frozen=True)
class Entry:
    """One operation, over all numbers of axes that it comes in."""

    name: str
    axes: str
    """The numbers of axes, where the name says them; "any" where it takes arrays of any."""
    options: tuple[str, ...]
    """Arguments other than arrays."""
    backward: bool
    layers: tuple[str, ...]
    """Classes of `piste.nn` that are this operation inside a plan."""


def _stem(name: str) -> str:
    return re.sub(r"[123]d$", "", name)


def _key(name: str) -> str:
    key = re.sub(r"loss$", "", _stem(name).replace("_", "").lower())
    return _SHORT.get(key, key)


def entries() -> list[Entry]:
    """All differentiable operations of `piste.functional`."""
    layers: dict[str, list[str]] = {}
    for name in nn.__all__:
        if inspect.isclass(getattr(nn, name)):
            layers.setdefault(_key(name), []).append(name)
    ops: dict[str, list[str]] = {}
    for name in functional.__all__:
        if not name.endswith("_backward") and not name.endswith("_"):
            ops.setdefault(_stem(name), []).append(name)
    found = []
    for stem, names in sorted(ops.items()):
        options = inspect.signature(getattr(functional, names[-1])).parameters
        found.append(
            Entry(
                stem,
                " ".join(name[-2] for name in names) if names != [stem] else "any",
                tuple(option for option in options if option not in _ARRAYS),
                all(hasattr(functional, name + "_backward") for name in names),
                tuple(layers.get(_key(stem), ())),
            )
        )
    return found


def table() -> str:
    """The entries as Markdown."""
    lines = ["| operation | axes | options | backward | in plans |", "|---|---|---|---|---|"]
    for entry in entries():
        backward = "yes" if entry.backward else "no"
        cells = (entry.name, entry.axes, ", ".join(entry.options), backward)
        lines.append(f"| {' | '.join(cells)} | {', '.join(entry.layers) or 'no'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
