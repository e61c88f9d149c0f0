"""The schedule that looks at what training achieves."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from ..functional._arguments import as_finite, as_int, as_share
from ..history import History, check_monitor, monitored
from .schedules import Counts, Rates, Schedule


class ReduceLROnPlateau(Schedule):
    """Reduces the rate where a figure of the history has stopped to improve for some epochs.

    Parameters
    ----------
    mode
        ``"min"`` where less is better, else ``"max"``.
    factor
        Of a reduction, below 1.
    patience
        Epochs without improvement that pass before one.
    threshold, threshold_mode
        What counts as one: better than ``best * (1 - threshold)`` for ``"rel"`` (1 + where more is
        better), ``best - threshold`` for ``"abs"``.
    cooldown
        Epochs after a reduction in which nothing counts.
    min_lr
        The least rate.
    eps
        Reductions by no more than this are not made.
    monitor
        The history's list to watch; None for ``"val_loss"``, or ``"loss"`` without validation data.
        `Trainer.fit` refuses by name what it has no data for.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    _observes = True

    def __init__(
        self,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
        monitor: str | None = None,
    ) -> None:
        super().__init__("epoch")
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode: expected 'rel' or 'abs', got {threshold_mode!r}")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = as_share(factor, "factor", whole=False)
        self.patience = as_int(patience, "patience", 0)
        self.threshold = as_finite(threshold, "threshold", 0)
        self.cooldown = as_int(cooldown, "cooldown", 0)
        self.min_lr, self.eps = as_finite(min_lr, "min_lr", 0), as_finite(eps, "eps", 0)
        self.monitor = check_monitor(monitor)
        self.state: dict[str, float] = {
            "best": math.inf if mode == "min" else -math.inf,
            "bad_epochs": 0,
            "cooling": 0,
            "reductions": 0,
        }

    def _rates(self, base: Rates, counts: Counts) -> Rates:
        rates = base
        for _ in range(int(self.state["reductions"])):
            reduced = np.maximum(rates * self.factor, self.min_lr)
            rates = np.where(rates - reduced > self.eps, reduced, rates)
        return np.repeat(rates[None], len(counts), axis=0)

    def _observe(self, history: History) -> None:
        value, state = monitored(history, self, self.monitor), self.state
        if self._better(value, state["best"]):
            state["best"], state["bad_epochs"] = value, 0
        else:
            state["bad_epochs"] += 1
        if state["cooling"] > 0:
            state["cooling"] -= 1
            state["bad_epochs"] = 0
        if state["bad_epochs"] > self.patience:
            state["reductions"] += 1
            state["cooling"], state["bad_epochs"] = self.cooldown, 0

    def _better(self, value: float, best: float) -> bool:
        margin = self.threshold
        if self.threshold_mode == "rel" and math.isfinite(best):
            margin *= best
        return value < best - margin if self.mode == "min" else value > best + margin

    def _describe(self) -> dict[str, Any]:
        state = {k: v if math.isfinite(v) else repr(v) for k, v in self.state.items()}
        return super()._describe() | {"state": state}
