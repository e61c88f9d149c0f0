"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, overload

from .module import Module


def _check_module(value: object, where: str) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{where}: expected a piste.nn module, got {type(value).__name__}")
    return value


def _below(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


class Sequential(Module):
    """Layers one after another; ``model[i]`` is layer i.

    Their names are numbers, or the keys of a dictionary of layers.
    """

    def __init__(self, *layers: Module | Mapping[str, Module]) -> None:
        super().__init__()
        named = layers[0] if len(layers) == 1 else None
        if not isinstance(named, Mapping):
            named = {str(i): layer for i, layer in enumerate(layers)}  # type: ignore[misc]
        for name, layer in named.items():
            if not isinstance(name, str) or not name or "." in name:
                raise ValueError(f"layers: expected names without dots, got {name!r}")
            self._modules[name] = _check_module(layer, f"layer {name}")

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):  # of the same layers, under their names
            return Sequential(dict(list(self._modules.items())[index]))
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
