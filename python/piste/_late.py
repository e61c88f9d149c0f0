"""Modules of a package that are imported when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module


def late(
    package: str, **modules: Sequence[str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The package's ``__getattr__`` and ``__dir__`` (PEP 562).

    Parameters
    ----------
    package
        Its ``__name__``.
    modules
        Submodules, each with those of its names that the package has too.
    """
    here = sys.modules[package]
    sources = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> object:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in sources:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{package}.{sources[name]}"), name)
        setattr(here, name, value)  # found without this function from now on
        return value

    def names() -> list[str]:
        return sorted({*vars(here), *modules, *sources})

    return get, names
