"""What happened in each epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable


class History:
    """One value per epoch in each list; validation lists are empty where none was asked for.

    `accuracy` is the share of labels that had the largest output; NaN for other targets. `lr` is
    the learning rate at the epoch's end, the largest where parameters differ.
    """

    # Not a dataclass: to load that module and make one would be a tenth of importing piste.
    def __init__(
        self,
        loss: Iterable[float] = (),
        accuracy: Iterable[float] = (),
        val_loss: Iterable[float] = (),
        val_accuracy: Iterable[float] = (),
        seconds: Iterable[float] = (),
        samples_per_second: Iterable[float] = (),
        lr: Iterable[float] = (),
    ) -> None:
        self.loss = list(loss)
        self.accuracy = list(accuracy)
        self.val_loss = list(val_loss)
        self.val_accuracy = list(val_accuracy)
        self.seconds = list(seconds)
        self.samples_per_second = list(samples_per_second)
        self.lr = list(lr)

    def __repr__(self) -> str:
        return f"History({', '.join(f'{name}={values}' for name, values in vars(self).items())})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, History) else NotImplemented

    def __len__(self) -> int:
        return len(self.loss)


def check_monitor(name: object) -> str | None:
    """The name of one of a history's lists, or None.

    Raises
    ------
    ValueError
        Where it is not.
    """
    if name is None:
        return None
    if not isinstance(name, str) or name not in vars(History()):
        raise ValueError(f"monitor: expected one of {list(vars(History()))}, got {name!r}")
    return name


def check_defined(name: str, defined: bool) -> None:
    """Refuse to watch an accuracy where there is none: no epoch would ever be better.

    Raises
    ------
    ValueError
        Where `name` is such a figure and it is not defined.
    """
    if name.endswith("accuracy") and not defined:
        raise ValueError(
            f"monitor: {name!r} is defined for integer labels only; "
            f"expected {name.replace('accuracy', 'loss')!r}, say"
        )


def check_given(kind: str, name: str, given: bool) -> None:
    """Refuse to watch a figure of validation data where there are none: others are no substitute.

    Raises
    ------
    ValueError
        Where `name` is such a figure and it is not `given`; `kind` says who would watch.
    """
    if name.startswith("val_") and not given:
        raise ValueError(
            f"{kind}: monitor={name!r} needs validation_data, which fit was not given; expected "
            f"monitor={name.removeprefix('val_')!r}, say"
        )


def monitored(history: History, watcher: object, name: str | None) -> float:
    """The last figure of that name, for the `watcher`; None for the loss, of validation if given.

    Raises
    ------
    ValueError
        Where there is none, or it is an accuracy that is not defined.
    """
    if name is None:
        return float((history.val_loss or history.loss)[-1])
    values = getattr(history, name)
    check_given(type(watcher).__name__, name, bool(values))
    check_defined(name, not math.isnan(values[-1]))
    return float(values[-1])
