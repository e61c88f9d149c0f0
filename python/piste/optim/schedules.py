"""Schedules: learning rates as functions of the number of updates or epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..functional._arguments import as_finite, as_int, as_share
from .averages import Interval, check_interval
from .optimizers import Optimizer

Rates = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Schedule:
    """The learning rate's course: what PyTorch's scheduler of that name gives.

    A trainer asks it for many updates at a time. `interval` says what it counts: ``"step"`` (the
    default) updates of the weights, ``"epoch"`` the epochs of `Trainer.fit`.
    """

    interval: Interval = "step"
    _cycles_momentum = False
    _observes = False  # whether it depends on the history
    _calls_python = False  # what the user wrote
    _length: int | None = None  # updates that it is made for, where it ends

    def __init__(self, interval: Interval) -> None:
        check_interval(interval)
        self.interval = interval

    def rates(self, lr: npt.ArrayLike, counts: npt.ArrayLike) -> Rates:
        """Learning rates after so many updates (or epochs).

        Parameters
        ----------
        lr
            (k,) The optimiser's rates, one for each parameter.
        counts
            (n,) integers from 0.

        Returns
        -------
        (n, k) array.
        """
        base = np.atleast_1d(np.asarray(lr, np.float64))
        return self._rates(base, np.atleast_1d(np.asarray(counts, np.int64)))

    def _rates(self, base: Rates, counts: Counts) -> Rates:
        return base * self._factors(counts)[:, None]

    def _factors(self, counts: Counts) -> Rates:
        raise NotImplementedError

    def _momenta(self, counts: Counts) -> Rates | None:
        """Momentum, or Adam's first beta, where the schedule sets it too."""
        return None

    def _observe(self, history: Any) -> None:
        """An epoch has ended."""

    def _describe(self) -> dict[str, Any]:
        """Class and constructor arguments as plain data."""
        import inspect

        names = list(inspect.signature(type(self)).parameters)
        return {"class": type(self).__name__, **{name: getattr(self, name) for name in names}}

    def __repr__(self) -> str:
        arguments = [f"{k}={v!r}" for k, v in Schedule._describe(self).items() if k != "class"]
        return f"{type(self).__name__}({', '.join(arguments)})"


class StepLR(Schedule):
    """``lr * gamma ** (t // step_size)``.

    Parameters
    ----------
    step_size
        Updates (or epochs) from one reduction to the next.
    gamma
        Factor.
    interval
        See `Schedule`.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(self, step_size: int, gamma: float = 0.1, interval: Interval = "step") -> None:
        super().__init__(interval)
        self.step_size = as_int(step_size, "step_size", 1)
        self.gamma = as_finite(gamma, "gamma", 0)

    def _factors(self, counts: Counts) -> Rates:
        return np.power(self.gamma, counts // self.step_size)


class MultiStepLR(Schedule):
    """``lr * gamma ** (number of milestones reached)``.

    Parameters
    ----------
    milestones
        Increasing numbers of updates (or epochs).
    gamma
        Factor.
    interval
        See `Schedule`.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(
        self, milestones: Sequence[int], gamma: float = 0.1, interval: Interval = "step"
    ) -> None:
        super().__init__(interval)
        self.milestones = _milestones(milestones)
        self.gamma = as_finite(gamma, "gamma", 0)

    def _factors(self, counts: Counts) -> Rates:
        return np.power(self.gamma, np.searchsorted(self.milestones, counts, "right"))


class ExponentialLR(Schedule):
    """``lr * gamma ** t``.

    Parameters
    ----------
    gamma
        Factor.
    interval
        See `Schedule`.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(self, gamma: float, interval: Interval = "step") -> None:
        super().__init__(interval)
        self.gamma = as_finite(gamma, "gamma", 0)

    def _factors(self, counts: Counts) -> Rates:
        return np.power(self.gamma, counts)


class CosineAnnealingLR(Schedule):
    """From lr to eta_min along half a cosine (Loshchilov and Hutter 2017), and back.

    Parameters
    ----------
    T_max
        Updates (or epochs) down to eta_min.
    eta_min
        The least rate.
    interval
        See `Schedule`.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(self, T_max: int, eta_min: float = 0.0, interval: Interval = "step") -> None:
        super().__init__(interval)
        self.T_max = as_int(T_max, "T_max", 1)
        self.eta_min = as_finite(eta_min, "eta_min", 0)

    def _rates(self, base: Rates, counts: Counts) -> Rates:
        share = (1 + np.cos(np.pi * counts / self.T_max)) / 2
        return self.eta_min + (base - self.eta_min) * share[:, None]


class LinearLR(Schedule):
    """A warm-up: the factor goes from start_factor to end_factor along a line, and stays there.

    Parameters
    ----------
    start_factor, end_factor
        Of the rate; the first above 0, both at most 1.
    total_iters
        Updates (or epochs) between the two.
    interval
        See `Schedule`.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(
        self,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        interval: Interval = "step",
    ) -> None:
        super().__init__(interval)
        self.start_factor = as_finite(start_factor, "start_factor", 0)
        if not 0 < self.start_factor <= 1:
            raise ValueError(
                f"start_factor: expected a number above 0, at most 1, got {start_factor}"
            )
        self.end_factor = as_share(end_factor, "end_factor")
        self.total_iters = as_int(total_iters, "total_iters", 1)

    def _factors(self, counts: Counts) -> Rates:
        share = np.minimum(counts, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * share


class ConstantLR(Schedule):
    """``lr * factor`` for the first total_iters updates (or epochs), then lr.

    Parameters
    ----------
    factor
        From 0 to 1.
    total_iters
        How long.
    interval
        See `Schedule`.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(
        self, factor: float = 1 / 3, total_iters: int = 5, interval: Interval = "step"
    ) -> None:
        super().__init__(interval)
        self.factor = as_share(factor, "factor")
        self.total_iters = as_int(total_iters, "total_iters", 0)

    def _factors(self, counts: Counts) -> Rates:
        return np.where(counts < self.total_iters, self.factor, 1.0)


class LambdaLR(Schedule):
    """``lr * lr_lambda(t)`` for any function; a trainer calls it ahead, for many updates at a time.

    A checkpoint does not hold the function: `Trainer.load` wants the schedule again.

    Parameters
    ----------
    lr_lambda
        A function of the number of updates (or epochs) that gives the rate's factor.
    interval
        See `Schedule`.

    Raises
    ------
    TypeError
        For what cannot be called.
    """

    _calls_python = True

    def __init__(self, lr_lambda: Callable[[int], float], interval: Interval = "step") -> None:
        super().__init__(interval)
        if not callable(lr_lambda):
            raise TypeError(f"lr_lambda: expected a function, got {lr_lambda!r}")
        self.lr_lambda = lr_lambda

    def _factors(self, counts: Counts) -> Rates:
        return np.array(
            [as_finite(self.lr_lambda(int(t)), f"lr_lambda({t})", 0) for t in counts], np.float64
        )

    def _describe(self) -> dict[str, Any]:
        return {"class": "LambdaLR", "interval": self.interval}


class SequentialLR(Schedule):
    """One schedule after another, each counting from 0: a warm-up, then a descent.

    Parameters
    ----------
    schedules
        Of the same interval, and not of the momentum.
    milestones
        The counts at which the second, third, ... begin.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(self, schedules: Sequence[Schedule], milestones: Sequence[int]) -> None:
        self.schedules = list(schedules)
        for schedule in self.schedules:
            if not isinstance(schedule, Schedule):
                raise TypeError(f"schedules: expected schedules, got {schedule!r}")
            if schedule._observes or schedule._cycles_momentum:
                name = type(schedule).__name__
                raise ValueError(f"schedules: {name} cannot be one of several")
        if len({schedule.interval for schedule in self.schedules}) != 1:
            raise ValueError("schedules: expected one or more of the same interval")
        super().__init__(self.schedules[0].interval)
        self._calls_python = any(schedule._calls_python for schedule in self.schedules)
        self.milestones = _milestones(milestones)
        if len(self.milestones) != len(self.schedules) - 1:
            raise ValueError(
                f"milestones: expected {len(self.schedules) - 1} for {len(self.schedules)} "
                f"schedules, got {len(self.milestones)}"
            )

    def _rates(self, base: Rates, counts: Counts) -> Rates:
        result = np.empty((len(counts), len(base)))
        which = np.searchsorted(self.milestones, counts, "right")
        for i, (schedule, begin) in enumerate(
            zip(self.schedules, [0, *self.milestones], strict=True)
        ):
            here = which == i
            result[here] = schedule._rates(base, counts[here] - begin)
        return result

    def _describe(self) -> dict[str, Any]:
        schedules = [schedule._describe() for schedule in self.schedules]
        return {"class": "SequentialLR", "schedules": schedules, "milestones": self.milestones}


def as_schedule(
    schedule: Schedule | Callable[[int], float] | None, optimizer: Optimizer
) -> Schedule | None:
    """A schedule as it is, a function as a `LambdaLR`, None as None.

    Raises
    ------
    TypeError, ValueError
        For anything else, or a schedule that does not suit the optimiser.
    """
    if schedule is None:
        return None
    if not isinstance(schedule, Schedule):
        if not callable(schedule) or isinstance(schedule, type):
            raise TypeError(f"schedule: expected a schedule or a function, got {schedule!r}")
        schedule = LambdaLR(schedule)
    if schedule._cycles_momentum and optimizer._momentum is None:
        raise ValueError(
            f"schedule: {type(schedule).__name__} cycles the momentum, which "
            f"{type(optimizer).__name__} does not have; give it cycle_momentum=False"
        )
    return schedule


def _milestones(values: Sequence[int]) -> list[int]:
    if not isinstance(values, (list, tuple, np.ndarray)):
        raise TypeError(f"milestones: expected a list of integers, got {values!r}")
    result = [as_int(value, f"milestones[{i}]", 1) for i, value in enumerate(values)]
    if result != sorted(result):
        raise ValueError(f"milestones: expected increasing integers, got {result}")
    return result
