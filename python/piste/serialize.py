"""Modules and losses as plain data, so that a saved trainer can be built anew."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from . import nn, optim
from ._augment import Augment
from .functional._arguments import as_int, as_number


class NeedsSchedule(ValueError):
    """The file is whole, but part of its schedule is a Python function."""


def describe(value: Any) -> Any:
    """A module or loss as its class name, constructor arguments and children."""
    kind = type(value)
    if isinstance(value, (nn.Sequential, nn.Residual, nn.Concat)):
        children = [describe(child) for child in value.children()]
        named = [] if kind is nn.Residual else [name for name, _ in value.named_children()]
        if named == [str(i) for i in range(len(named))]:
            return {"class": kind.__name__, "layers": children}
        return {"class": kind.__name__, "layers": children, "names": named}
    if getattr(nn, kind.__name__, None) is not kind:
        raise TypeError(
            f"expected layers and losses of piste.nn, got {kind.__name__}; save what "
            "state_dict() gives instead"
        )
    arguments = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue  # Identity's, which it ignores
        if name == "bias" and hasattr(value, "_parameters"):
            argument: Any = value.bias is not None
        elif name == "dtype":
            kinds = (str(a.dtype) for _, a in value._own_items() if a.dtype.kind == "f")
            argument = next(kinds, None)  # without arrays it makes no difference
        else:
            argument = getattr(value, name)
        arguments[name] = argument.tolist() if isinstance(argument, np.ndarray) else argument
    return {"class": kind.__name__, "arguments": arguments}


def build(description: dict[str, Any]) -> Any:
    """What `describe` described, with fresh weights.

    Raises
    ------
    ValueError
        For an unknown class.
    """
    name = description.get("class")
    if name not in nn.__all__:
        raise ValueError(f"unknown layer or loss {name!r}")
    kind = getattr(nn, name)
    if "layers" in description:
        layers = [build(layer) for layer in description["layers"]]
        if "names" in description:
            return kind(dict(zip(description["names"], layers, strict=True)))
        return kind(*layers)
    arguments = {
        key: tuple(value) if isinstance(value, list) and key != "weight" else value
        for key, value in description["arguments"].items()
    }
    return kind(**arguments)


def build_optimizer(description: dict[str, Any]) -> optim.Optimizer:
    """What an optimiser's `_describe` described.

    Raises
    ------
    ValueError
        For an unknown class.
    """
    optimizer: optim.Optimizer = _instance(description, optim.Optimizer)
    return optimizer


def build_averaging(description: dict[str, Any]) -> optim.EMA | optim.SWA:
    """What an `EMA` or a `SWA` described.

    Raises
    ------
    ValueError
        For an unknown class.
    """
    averaging: optim.EMA | optim.SWA = _instance(description, (optim.EMA, optim.SWA))
    return averaging


def build_augment(description: dict[str, Any]) -> Augment:
    """What an `Augment` described.

    Raises
    ------
    ValueError, TypeError
        For strange arguments.
    """
    return Augment(**{name: value for name, value in description.items() if name != "class"})


def build_schedule(description: dict[str, Any]) -> optim.Schedule:
    """What `Schedule._describe` described.

    Raises
    ------
    ValueError
        For an unknown class, or one whose function is not in the description.
    """
    arguments = dict(description)
    name = arguments.pop("class")
    if name == "LambdaLR":
        raise NeedsSchedule(
            "its schedule is a function, which no file holds; give it again: "
            "Trainer.load(path, schedule=...)"
        )
    if name == "SequentialLR":
        arguments["schedules"] = [build_schedule(part) for part in arguments["schedules"]]
    state = arguments.pop("state", None)
    schedule: optim.Schedule = _instance({"class": name, **arguments}, optim.Schedule)
    if isinstance(schedule, optim.ReduceLROnPlateau):
        counts = {key: as_int(int(state[key]), key, 0) for key in schedule.state if key != "best"}
        schedule.state = {"best": as_number(float(state["best"]), "best"), **counts}
    return schedule


def _instance(description: dict[str, Any], kinds: Any) -> Any:
    arguments = dict(description)
    name = arguments.pop("class")
    kind = getattr(optim, str(name), None)
    if not (isinstance(kind, type) and issubclass(kind, kinds)):
        raise ValueError(f"unknown optimiser, schedule or average {name!r}")
    return kind(**arguments)
