"""What may be called after each epoch of `Trainer.fit`: any function, or one of these."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from ._arrays import describe
from .checkpoint import check_target
from .functional._arguments import as_finite, as_flag, as_int
from .history import History, check_monitor, monitored

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """A callback that also wants to know when `fit` begins and ends.

    Whatever a callback raises ends `fit` with the model as the last step left it; `end` is called
    only where `fit` ends without an exception. A callback that sets ``trainer.stop_training`` ends
    it after the epoch.
    """

    def begin(self, trainer: Trainer) -> None:
        """Before the first epoch."""

    def __call__(self, trainer: Trainer, history: History) -> object:
        """After an epoch; `history` is that of this call of `fit`."""

    def end(self, trainer: Trainer, history: History) -> None:
        """After the last epoch."""


def _should_grow(monitor: str | None) -> bool:
    return monitor is not None and monitor.endswith(("accuracy", "second"))


class EarlyStopping(Callback):
    """Stops where a figure of the history has not improved for some epochs.

    Parameters
    ----------
    monitor
        The history's list to watch; None for ``"val_loss"``, or ``"loss"`` without validation data.
        `fit` refuses by name what it has no data for, and an accuracy that is not defined.
    min_delta
        What is less than this is no improvement.
    patience
        Epochs without improvement that are let pass before training stops.
    mode
        ``"min"`` where less is better, ``"max"`` where more is; ``"auto"``: by the name.
    restore_best_weights
        Put the best epoch's weights and running statistics back when `fit` ends, stopped or not.

    Attributes
    ----------
    best : float
        The best figure.
    best_epoch : int
        Its epoch in this call of `fit`, from 0; -1 where there is none.
    stopped_epoch : int
        The epoch after which training was stopped; -1 where it was not.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(
        self,
        monitor: str | None = None,
        min_delta: float = 0.0,
        patience: int = 0,
        mode: Literal["auto", "min", "max"] = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        self.monitor = check_monitor(monitor)
        self.min_delta = as_finite(min_delta, "min_delta", 0)
        self.patience = as_int(patience, "patience", 0)
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode: expected 'auto', 'min' or 'max', got {mode!r}")
        self.mode = mode
        more = mode == "max" or (mode == "auto" and _should_grow(self.monitor))
        self._sign = -1.0 if more else 1.0
        self.restore_best_weights = as_flag(restore_best_weights, "restore_best_weights")
        self._reset()

    def _reset(self) -> None:
        self.best = self._sign * math.inf
        self.best_epoch = self.stopped_epoch = -1
        self._weights: dict[str, npt.NDArray[Any]] | None = None

    def begin(self, trainer: Trainer) -> None:
        """Forget what an earlier call of `fit` has seen."""
        self._reset()

    def __call__(self, trainer: Trainer, history: History) -> None:
        """Compare this epoch with the best one."""
        value, epoch = monitored(history, self, self.monitor), len(history) - 1
        if self._sign * value < self._sign * self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self._weights = trainer.model.state_dict()
        elif epoch - max(self.best_epoch, 0) > self.patience:
            self.stopped_epoch = epoch
            trainer.stop_training = True

    def end(self, trainer: Trainer, history: History) -> None:
        """Put the best weights back."""
        if self._weights is not None:
            trainer.model.load_state_dict(self._weights)
        self._weights = None


class ModelCheckpoint(Callback):
    """Saves the trainer after every so many epochs, as `Trainer.save` does.

    Parameters
    ----------
    path
        Where to; ``{epoch}`` in it becomes the number of epochs trained so far.
    every
        Epochs from one file to the next.
    monitor
        Where given, save only when this figure of the history is the best of this call of `fit`,
        which refuses what it has no data for.
    mode
        As in `EarlyStopping`.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    OSError
        By `fit`, before it begins, where no file can be written there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        monitor: str | None = None,
        mode: Literal["auto", "min", "max"] = "auto",
    ) -> None:
        self.path = os.fspath(path)
        if not isinstance(self.path, str):
            raise TypeError(f"path: expected text, got {describe(path)}")
        try:
            self.path.format(epoch=0)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"path: expected no field but {{epoch}}, got {self.path!r}") from error
        self.every = as_int(every, "every", 1)
        best = EarlyStopping(monitor, 0.0, 0, mode, False)
        self._best = None if monitor is None else best
        self.monitor = monitor

    def begin(self, trainer: Trainer) -> None:
        """Forget the best of an earlier call of `fit`, and look whether a file can be written."""
        folder = os.path.dirname(self.path)
        if folder == folder.format(epoch=0):  # those of later epochs may come with them
            first = (len(trainer.history) // self.every + 1) * self.every
            check_target(self.path.format(epoch=first))
        if self._best is not None:
            self._best._reset()

    def __call__(self, trainer: Trainer, history: History) -> None:
        """Save, where it is time to."""
        epoch = len(trainer.history)
        if self._best is not None:
            value, sign = monitored(history, self, self.monitor), self._best._sign
            if not sign * value < sign * self._best.best:
                return
            self._best.best = value
        if epoch % self.every == 0:
            trainer.save(self.path.format(epoch=epoch))


class LearningRateMonitor(Callback):
    """Notes each parameter's learning rate after every epoch, and tells of it where asked to.

    Parameters
    ----------
    log
        A function that is given a line of text, such as ``print``.

    Attributes
    ----------
    rates : dict[str, list[float]]
        By the parameter's name; the rate that the next update will take.

    Raises
    ------
    TypeError
        For what cannot be called.
    """

    def __init__(self, log: Callable[[str], object] | None = None) -> None:
        if log is not None and not callable(log):
            raise TypeError(f"log: expected a function, got {log!r}")
        self.log = log
        self.rates: dict[str, list[float]] = {}

    def __call__(self, trainer: Trainer, history: History) -> None:
        """Note the rates."""
        rates = trainer.learning_rates()
        for name, rate in rates.items():
            self.rates.setdefault(name, []).append(rate)
        if self.log is not None:
            text = ", ".join(f"{rate:.6g}" for rate in dict.fromkeys(rates.values()))
            self.log(f"epoch {len(trainer.history)}: learning rate {text}")


__all__ = ["Callback", "EarlyStopping", "LearningRateMonitor", "ModelCheckpoint"]
