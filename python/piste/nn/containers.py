"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .module import Module


def _check_module(value: object, where: str) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{where}: expected a piste.nn module, got {type(value).__name__}")
    return value


class Sequential(Module):
    """Layers one after another; ``model[i]`` is layer i."""

    def __init__(self, *layers: Module) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            self._modules[str(i)] = _check_module(layer, f"layer {i}")

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int) -> Module:
        return list(self._modules.values())[index]

    def _lower(self, net: Any, value: int, name: str) -> int:
        for child_name, child in self._modules.items():
            value = child._lower(net, value, f"{name}.{child_name}" if name else child_name)
        return value


class Residual(Module):
    """``body(x) + shortcut(x)``, or ``body(x) + x`` without a shortcut."""

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        super().__init__()
        self._modules["body"] = _check_module(body, "body")
        if shortcut is not None:
            self._modules["shortcut"] = _check_module(shortcut, "shortcut")

    def _lower(self, net: Any, value: int, name: str) -> int:
        prefix = f"{name}." if name else ""
        through = self._modules["body"]._lower(net, value, prefix + "body")
        beside = value
        if "shortcut" in self._modules:
            beside = self._modules["shortcut"]._lower(net, value, prefix + "shortcut")
        return int(net.add(through, beside, name or "residual"))
