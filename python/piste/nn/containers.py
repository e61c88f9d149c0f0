"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .module import Module


def _check_module(value: object, where: str) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{where}: expected a piste.nn module, got {type(value).__name__}")
    return value


def _below(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


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
            value = child._lower(net, value, _below(name, child_name))
        return value


class Concat(Module):
    """The branches' outputs for one input, put together along the channels (or features)."""

    def __init__(self, *branches: Module) -> None:
        super().__init__()
        if not branches:
            raise ValueError("branches: expected at least one")
        for i, branch in enumerate(branches):
            self._modules[str(i)] = _check_module(branch, f"branch {i}")

    def _lower(self, net: Any, value: int, name: str) -> int:
        outputs = [
            child._lower(net, value, _below(name, key)) for key, child in self._modules.items()
        ]
        return int(net.concat(outputs, name or "concat"))


class Residual(Module):
    """``body(x) + shortcut(x)``, or ``body(x) + x`` without a shortcut."""

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        super().__init__()
        self._modules["body"] = _check_module(body, "body")
        if shortcut is not None:
            self._modules["shortcut"] = _check_module(shortcut, "shortcut")

    def _lower(self, net: Any, value: int, name: str) -> int:
        through = self._modules["body"]._lower(net, value, _below(name, "body"))
        beside = value
        if "shortcut" in self._modules:
            beside = self._modules["shortcut"]._lower(net, value, _below(name, "shortcut"))
        return int(net.add(through, beside, name or "residual"))
