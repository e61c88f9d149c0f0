"""Trainers in files: all that training needs to go on with the same bits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import serialize
from ._arrays import check_kind, describe
from .checkpoint import load_arrays, save_arrays
from .functional._arguments import as_number
from .history import History
from .optim import Schedule

if TYPE_CHECKING:
    from .trainer import Trainer

_FORMAT = 2  # of the files


def save_trainer(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """See `Trainer.save`."""
    if trainer._state.core.averages_in_place:
        raise RuntimeError("save: not inside averaged_weights()")
    history = _as_lists(trainer.history)
    trainer.optimizer.options(trainer._state.names)  # raises for what could not be loaded again
    arrays = {f"model.{k}": v for k, v in trainer.model.state_dict().items()}
    schedule = trainer.schedule
    state = {
        "format": _FORMAT,
        "seed": trainer.seed,
        "steps": trainer.steps,
        "counters": trainer._state.counters,
        "rng": trainer._rng.bit_generator.state,
        "history": history,
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
    with contextlib.suppress(serialize.NeedsSchedule):
        _parts(state)
    save_arrays(path, arrays | trainer._state.arrays(), state)


def _parts(state: dict[str, Any]) -> dict[str, Any]:
    """What is made of descriptions, but for the model: their attributes anybody may have changed.

    Raises
    ------
    KeyError, ValueError, TypeError
        Where one cannot be made.
    """
    schedule, average, augment = state["schedule"], state["average"], state["augment"]
    return {
        "loss": serialize.build(state["loss"]),
        "optimizer": serialize.build_optimizer(state["optimizer"]),
        "average": None if average is None else serialize.build_averaging(average),
        "augment": None if augment is None else serialize.build_augment(augment),
        "schedule": None if schedule is None else serialize.build_schedule(schedule),
    }


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
        parts = _parts(state if schedule is None else state | {"schedule": None})
        trainer = kind(
            serialize.build(state["model"]),
            seed=state["seed"],
            **parts | ({} if schedule is None else {"schedule": schedule}),
            **state["options"],
        )
        weights = {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")}
        for name, array in trainer.model._named_state():
            check_kind(weights[name], array, name)
        trainer.model.load_state_dict(weights)
        trainer._state.restore(state["counters"], arrays)
        trainer.steps = state["steps"]
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


def _as_lists(history: object) -> dict[str, list[float]]:
    """A trainer's history, which anybody may have changed, as plain data.

    Raises
    ------
    TypeError, ValueError
        For what is none: whatever has come through here can be loaded.
    """
    if not isinstance(history, History):
        raise TypeError(f"history: expected a History, got {describe(history)}")
    lists, names = vars(history), vars(History())
    if lists.keys() != names.keys():
        raise ValueError(f"history: expected the lists {list(names)}, got {list(lists)}")
    plain, epochs = {}, len(lists["loss"])
    for name, values in lists.items():
        if not isinstance(values, list):
            raise TypeError(f"history.{name}: expected a list of numbers, got {describe(values)}")
        plain[name] = [_figure(value, f"history.{name}[{i}]") for i, value in enumerate(values)]
        # Figures of validation may be there for some epochs alone.
        if len(values) > epochs or (len(values) < epochs and not name.startswith("val_")):
            raise ValueError(
                f"history.{name}: expected a number for each of the {epochs} of history.loss, "
                f"got {len(values)}"
            )
    return plain


def _figure(value: object, name: str) -> float:
    """`value` as a float; NaN is the figure of what is not defined."""
    try:
        return float(value) if isinstance(value, (float, np.floating)) else as_number(value, name)
    except OverflowError:
        raise ValueError(f"{name}: expected a number, got one too large") from None


def _history(lists: dict[str, Any]) -> History:
    for name, values in lists.items():
        if not isinstance(values, list):  # of a text's letters, it would make a list
            raise TypeError(f"history.{name}: expected a list of numbers, got {describe(values)}")
    history = History(**lists)
    _as_lists(history)
    return history
