"""What an optimiser keeps for one model, and the core's view of the whole update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, check_kind
from ..functional._arguments import COUNTLESS, as_finite, as_int
from ..history import History
from .averages import Averaging
from .optimizers import Optimizer
from .schedules import Schedule

_SPAN = 4096  # updates whose rates are computed at a time, at most
_LEAST_SPAN = 64
_STATES = 3  # of the core


class OptimizerState:
    """The arrays of an optimiser, one group of them per parameter, and how far it has come.

    Parameters
    ----------
    optimizer, schedule, averaging
        The rule, the course of its learning rate, and the averages to take.
    names, arrays
        The parameters.
    averaged
        The arrays that are averaged, by name.
    clip_value, clip_norm
        Bounds of gradients; infinity for none.
    accumulate
        Batches for one update.

    Attributes
    ----------
    core
        The core's view of all of it; see `prepare`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        names: Sequence[str],
        arrays: Sequence[FloatArray],
        *,
        averaged: dict[str, FloatArray],
        schedule: Schedule | None,
        averaging: Averaging | None,
        clip_value: float,
        clip_norm: float,
        accumulate: int,
    ) -> None:
        self.optimizer, self.schedule, self.averaging = optimizer, schedule, averaging
        self.names = list(names)
        options = optimizer.options(self.names)
        self.states: list[dict[str, FloatArray]] = [
            self._new_states(array, option) for array, option in zip(arrays, options, strict=True)
        ]
        self.sums = [np.zeros_like(array) for array in arrays] if accumulate > 1 else []
        single = not arrays or arrays[0].dtype == np.float32
        make: Any = _core.OptimizerF32 if single else _core.OptimizerF64
        rows = [[*(state.get(name) for name in optimizer._states()), None, None][:_STATES]
                for state in self.states]  # fmt: skip
        self.core: Any = make(optimizer._rule, rows, self.sums)
        self.core.clip_value, self.core.clip_norm = clip_value, clip_norm
        self.core.accumulate = accumulate
        self.means: dict[str, FloatArray] = {}
        if averaging is not None:
            self.means = {name: np.zeros_like(array) for name, array in averaged.items()}
            self.core.set_averages(
                list(averaged.values()), list(self.means.values()), averaging._decay,
                averaging.start, 0 if averaging.interval == "epoch" else averaging.every,
            )  # fmt: skip
        self._given: object = None  # the options that the core has
        self._checked: list[dict[str, Any]] = []  # those of the optimiser
        self._seen: tuple[int, object] = (-1, None)  # its changes and groups at that time
        self._has_span = False

    @property
    def buffers(self) -> list[FloatArray]:
        """All arrays, in order."""
        return [array for state in self.states for array in state.values()]

    @property
    def updates(self) -> int:
        """Updates made; fewer than batches where gradients accumulate."""
        return int(self.core.counters[0])

    @property
    def counters(self) -> tuple[int, int, float, int]:
        """Updates, batches in the sums, what these are divided by, times averaged."""
        updates, gathered, divisor, averaged = self.core.counters
        return updates, gathered, divisor, averaged

    @counters.setter
    def counters(self, values: tuple[int, int, float, int]) -> None:
        self.core.counters = values
        self.forget_rates()

    def _new_states(self, array: FloatArray, options: dict[str, Any]) -> dict[str, FloatArray]:
        start = options.get("initial_accumulator_value", 0)
        return {
            name: np.full_like(array, start)
            for name, needs in self.optimizer._states().items()
            if needs is None or options[needs] or (needs == "momentum" and self._cycles())
        }

    def _cycles(self) -> bool:
        """Whether the schedule sets the momentum."""
        return self.schedule is not None and self.schedule._cycles_momentum

    def prepare(self, updates: int, epoch: int) -> None:
        """Make the core's object ready for some updates.

        Raises
        ------
        ValueError
            Where the schedule is at its end.
        """
        options = self._current_options(epoch)
        if options is not self._given and options != self._given:
            self._check_states(options)
            self.core.set_options([self._hyperparameters(option) for option in options])
            self._given = options
            self.forget_rates()
        if self.schedule is not None and self.schedule.interval == "step":
            left = self._updates_left(updates)
            if not self._has_span or self.core.out_of_rates:
                least = 1 if self.schedule._calls_python else _LEAST_SPAN
                span = max(min(updates, _SPAN), least)
                counts = self.updates + np.arange(min(span, left))
                self.core.set_rates(*self._rates(options, counts))
            self._has_span = True

    def _updates_left(self, wanted: int) -> int:
        """How many more the schedule has rates for; at least 1 where none is `wanted`."""
        length = None if self.schedule is None else self.schedule._length
        if length is None:
            return _SPAN
        if wanted and self.updates >= length:
            kind = type(self.schedule).__name__
            raise ValueError(f"schedule: {kind} ends after {length} updates, got one more")
        return max(length - self.updates, 1)

    def forget_rates(self) -> None:
        """The rates handed to the core don't hold any more."""
        self.core.set_rates(None)
        self._has_span = False

    def lr(self, epoch: int) -> list[float]:
        """The learning rate of each parameter's next update."""
        options = self._current_options(epoch)
        if self.schedule is None or self.schedule.interval == "epoch":
            return [float(option["lr"]) for option in options]
        rates, _ = self._rates(options, np.array([self.updates]))
        return [float(rate) for rate in rates[0]]

    def _rates(
        self, options: list[dict[str, Any]], counts: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None]:
        """Learning rates, a row per count, and momenta."""
        assert self.schedule is not None
        base = np.array([option["lr"] for option in options], np.float64)
        return self.schedule.rates(base, counts), self.schedule._momenta(counts)

    def _current_options(self, epoch: int) -> list[dict[str, Any]]:
        changes, groups = self._seen
        if changes != self.optimizer._changes or groups != self.optimizer.groups:
            from copy import deepcopy

            self._checked = self.optimizer.options(self.names)
            self._seen = self.optimizer._changes, deepcopy(self.optimizer.groups)
        options = self._checked
        if self.schedule is not None and self.schedule.interval == "epoch":
            rates, momenta = self._rates(options, np.array([epoch]))
            options = [dict(option) for option in options]
            for option, rate in zip(options, rates[0], strict=True):
                option["lr"] = float(rate)
                if momenta is not None:
                    option["cycled"] = float(momenta[0])
        return options

    def _check_states(self, options: list[dict[str, Any]]) -> None:
        for state, option in zip(self.states, options, strict=True):
            for name, needs in self.optimizer._states().items():
                if needs is not None and option[needs] and name not in state:
                    raise ValueError(f"{needs}: cannot be switched on after training has begun")

    def _hyperparameters(self, options: dict[str, Any]) -> Any:
        h = _core.Hyperparameters()
        for name, value in options.items():
            if name == "betas":
                h.beta1, h.beta2 = value
            elif name == "cycled":
                h.momentum = h.beta1 = value
            elif name != "initial_accumulator_value":
                setattr(h, name, value)
        h.decoupled = self.optimizer._decoupled
        return h

    def end_of_epoch(self, history: History) -> None:
        """Take the averages that are taken once an epoch, and let the schedule look."""
        if self.schedule is not None:
            self.schedule._observe(history)
        averaging = self.averaging
        if averaging is not None and averaging.interval == "epoch":
            since = len(history) - averaging.start
            if since > 0 and since % averaging.every == 0:
                self.core.average()

    def arrays(self) -> dict[str, FloatArray]:
        """All that a checkpoint must hold, by name; the arrays are those in use."""
        result = {
            f"optimizer.{kind}.{name}": array
            for name, state in zip(self.names, self.states, strict=True)
            for kind, array in state.items()
        }
        if self.core.counters[1]:
            for name, array in zip(self.names, self.sums, strict=True):
                result[f"gradient_sum.{name}"] = array
        return result | {f"average.{name}": array for name, array in self.means.items()}

    def restore(self, counters: Sequence[float], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from the `counters` and `arrays` of another.

        Raises
        ------
        KeyError, ValueError, TypeError
            Where they are none, or those of another model or optimiser.
        """
        updates, gathered, divisor, averaged = counters
        self.counters = (
            as_int(updates, "updates", 0, COUNTLESS),
            as_int(gathered, "gathered", 0),
            as_finite(divisor, "divisor", 0),
            as_int(averaged, "averaged", 0, COUNTLESS),
        )
        for name, array in self.arrays().items():
            check_kind(arrays[name], array, name)
            array[...] = arrays[name]
