"""Optimisers: hyperparameters in Python, the update in C++."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import FloatArray

_NUMBERS = ("lr", "momentum", "dampening", "weight_decay")
_FLAGS = ("nesterov", "maximize")


class SGD:
    """Stochastic gradient descent, by PyTorch's rules.

    Parameters
    ----------
    lr
        Learning rate, the step's size along the negative gradient.
    momentum, dampening, weight_decay, nesterov, maximize
        As in ``torch.optim.SGD``; weight decay is added to the gradient.
    groups
        ``{"params": [names], "lr": ...}`` dictionaries: parameters (by their dotted name in the
        model, or a prefix of it such as ``"0"``) with hyperparameters of their own.

    Raises
    ------
    ValueError
        For values that are not finite or negative, or Nesterov without momentum or with dampening.
    """

    def __init__(
        self,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        groups: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.lr, self.momentum, self.dampening = lr, momentum, dampening
        self.weight_decay, self.nesterov, self.maximize = weight_decay, nesterov, maximize
        _check(self._defaults())
        if not isinstance(groups, (list, tuple)) or not all(isinstance(g, dict) for g in groups):
            raise TypeError(f"groups: expected a list of dictionaries, got {groups!r}")
        self.groups = [dict(group) for group in groups]
        for group in self.groups:
            unknown = group.keys() - {"params", *_NUMBERS, *_FLAGS}
            if unknown or "params" not in group:
                raise ValueError(f"groups: expected 'params' and hyperparameters, got {group}")
            names = group["params"]
            if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
                raise TypeError(f"groups: expected 'params' to be a list of names, got {names!r}")
            _check({**self._defaults(), **group})

    def _defaults(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*_NUMBERS, *_FLAGS)}

    def options(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Hyperparameters of each named parameter."""
        for group in self.groups:
            for wanted in group["params"]:
                if not any(_matches(name, wanted) for name in names):
                    raise ValueError(f"groups: no parameter {wanted!r}; there are {list(names)}")
        result = []
        for name in names:
            options = self._defaults()
            for group in self.groups:
                if any(_matches(name, wanted) for wanted in group["params"]):
                    options.update({k: v for k, v in group.items() if k != "params"})
            _check(options)
            result.append(options)
        return result

    def __repr__(self) -> str:
        return f"SGD({', '.join(f'{k}={v}' for k, v in self._defaults().items())})"


def _matches(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(wanted + ".")


def _check(options: dict[str, Any]) -> None:
    for name in _NUMBERS:
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise TypeError(f"{name}: expected a number, got {value!r}")
        if not math.isfinite(value) or (name != "dampening" and value < 0):
            raise ValueError(f"{name}: expected a finite number of at least 0, got {value}")
    if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
        raise ValueError("nesterov: needs a momentum above 0 and no dampening")


class SgdState:
    """The momentum buffers of one model, and the engine's view of the whole update."""

    def __init__(self, optimizer: SGD, names: Sequence[str], arrays: Sequence[FloatArray]) -> None:
        self.optimizer, self.names = optimizer, list(names)
        options = optimizer.options(self.names)
        self.buffers: list[npt.NDArray[Any] | None] = [
            np.zeros_like(array) if option["momentum"] else None
            for array, option in zip(arrays, options, strict=True)
        ]
        self._single = not arrays or arrays[0].dtype == np.float32
        self.first_step = True
        self._key: object = None
        self._core: Any = None

    def core(self) -> Any:
        """The engine's object; made anew when a hyperparameter has changed."""
        options = self.optimizer.options(self.names)
        key = [tuple(option.values()) for option in options]
        if self._core is not None:
            self.first_step = self._core.first_step
        if self._core is None or key != self._key:
            if any(o["momentum"] and b is None for o, b in zip(options, self.buffers, strict=True)):
                raise ValueError("momentum: cannot be switched on after training has begun")
            columns: list[list[Any]] = [
                [option[name] for option in options] for name in (*_NUMBERS, *_FLAGS)
            ]
            make: Any = _core.SgdF32 if self._single else _core.SgdF64
            self._core, self._key = make(*columns, self.buffers, self.first_step), key
        return self._core
