"""Trainers in files: all that training needs to go on with the same bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import serialize
from ._arrays import check_kind
from .checkpoint import load_arrays, save_arrays
from .functional._arguments import as_int
from .history import History
from .optim import Schedule

if TYPE_CHECKING:
    from .trainer import Trainer

_FORMAT = 2  # of the files


def save_trainer(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """See `Trainer.save`."""
    if trainer._averaged_now:
        raise RuntimeError("save: not inside averaged_weights()")
    trainer.optimizer.options(trainer._state.names)  # raises for what could not be loaded again
    arrays = {f"model.{k}": v for k, v in trainer.model.state_dict().items()}
    schedule = trainer.schedule
    state = {
        "format": _FORMAT,
        "seed": trainer.seed,
        "steps": trainer.steps,
        "counters": trainer._state.counters,
        "rng": trainer._rng.bit_generator.state,
        "history": vars(trainer.history),
        "model": serialize.describe(trainer.model),
        "loss": serialize.describe(trainer.loss),
        "optimizer": trainer.optimizer._describe(),
        "schedule": None if schedule is None else schedule._describe(),
        "average": None if trainer._average is None else trainer._average._describe(),
        "augment": None if trainer.augment is None else trainer.augment._describe(),
        "options": {
            "clip_grad_value": trainer.clip_grad_value,
            "clip_grad_norm": trainer.clip_grad_norm,
            "accumulation_steps": trainer.accumulation_steps,
        },
    }
    save_arrays(path, arrays | trainer._state.arrays(), state)


def load_trainer(
    kind: type[Trainer],
    path: str | os.PathLike[str],
    schedule: Schedule | Callable[[int], float] | None,
) -> Trainer:
    """See `Trainer.load`."""
    arrays, state = load_arrays(path)
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ValueError(f"{os.fspath(path)}: not a file that Trainer.save wrote")
    try:
        if schedule is None and state["schedule"] is not None:
            schedule = serialize.build_schedule(state["schedule"])
        average, augment = state["average"], state["augment"]
        trainer = kind(
            serialize.build(state["model"]),
            serialize.build(state["loss"]),
            serialize.build_optimizer(state["optimizer"]),
            seed=state["seed"],
            schedule=schedule,
            average=None if average is None else serialize.build_averaging(average),
            augment=None if augment is None else serialize.build_augment(augment),
            **state["options"],
        )
        weights = {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")}
        for name, array in trainer.model._named_state():
            check_kind(weights[name], array, name)
        trainer.model.load_state_dict(weights)
        trainer._state.restore(state["counters"], arrays)
        trainer.steps = as_int(state["steps"], "steps", 0)
        trainer._rng.bit_generator.state = _generator_state(state["rng"])
        trainer.history = _history(state["history"])
    except serialize.NeedsSchedule as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    except (
        AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError,
    ) as error:  # fmt: skip
        text = f"{os.fspath(path)}: not a whole file of Trainer.save ({error})"
        raise ValueError(text) from None
    return trainer


def _generator_state(state: dict[str, Any]) -> dict[str, Any]:
    """NumPy takes some numbers that are none of a generator's state."""
    numbers = state["state"]
    for value, bits, name in (
        (numbers["state"], 128, "state"),
        (numbers["inc"], 128, "inc"),
        (state["has_uint32"], 1, "has_uint32"),
        (state["uinteger"], 32, "uinteger"),
    ):
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise ValueError(f"rng: expected an integer of {bits} bits as {name}, got {value!r}")
    if numbers["inc"] % 2 == 0:
        raise ValueError(f"rng: expected an odd number as inc, got {numbers['inc']}")
    return state


def _history(lists: dict[str, Any]) -> History:
    for name, values in lists.items():
        if not isinstance(values, list) or not all(type(v) in (int, float) for v in values):
            raise TypeError(f"history: expected a list of numbers as {name}")
    return History(**lists)
