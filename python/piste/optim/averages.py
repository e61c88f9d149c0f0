"""Averages of a model's weights and running statistics over its training."""

from __future__ import annotations

from typing import Any, Literal

from .._settled import Settled
from ..functional._arguments import as_int, as_share

Interval = Literal["step", "epoch"]


def check_interval(interval: object) -> None:
    """Refuse all but the two units that training is counted in."""
    if interval not in ("step", "epoch"):
        raise ValueError(f"interval: expected 'step' or 'epoch', got {interval!r}")


class Averaging(Settled):
    """Which average a trainer keeps beside the weights, and how often it adds to it."""

    start: int
    every: int = 1
    interval: Interval = "step"
    _decay: float  # below 0: the plain mean

    def _describe(self) -> dict[str, Any]:
        arguments = {name: value for name, value in vars(self).items() if name[0] != "_"}
        return {"class": type(self).__name__, **arguments}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self._describe().items() if k != "class")
        return f"{type(self).__name__}({arguments})"


class EMA(Averaging):
    """Exponential moving average, after every update.

    Parameters
    ----------
    decay
        ``mean = decay * mean + (1 - decay) * weight``; the first update sets the mean.
    start
        Updates to let pass before the first.

    Raises
    ------
    ValueError, TypeError
        For a decay outside [0, 1).
    """

    def __init__(self, decay: float = 0.999, start: int = 0) -> None:
        self.decay = as_share(decay, "decay", whole=False)
        self.start = as_int(start, "start", 0)
        self._decay = self.decay


class SWA(Averaging):
    """Stochastic weight averaging (Izmailov et al. 2018): the plain mean of weights on the way.

    Parameters
    ----------
    start
        Epochs (or updates) to let pass before the first that counts.
    every
        How many of them between two that count.
    interval
        ``"epoch"``: the weights at the end of each epoch of `fit`; ``"step"``: after updates.

    Raises
    ------
    ValueError, TypeError
        For counts below 0, or an unknown interval.
    """

    def __init__(self, start: int = 0, every: int = 1, interval: Interval = "epoch") -> None:
        self.start, self.every = as_int(start, "start", 0), as_int(every, "every", 1)
        check_interval(interval)
        self.interval = interval
        self._decay = -1.0
