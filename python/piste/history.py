"""What happened in each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """One value per epoch in each list; validation lists are empty where none was asked for.

    `accuracy` is the share of labels that had the largest output; NaN for other targets. `lr` is
    the learning rate at the epoch's end, the largest where parameters differ.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)


def check_monitor(name: object) -> str:
    """The name of one of a history's lists.

    Raises
    ------
    ValueError
        Where it is not.
    """
    if name not in vars(History()):
        raise ValueError(f"monitor: expected one of {list(vars(History()))}, got {name!r}")
    return str(name)


def monitored(history: History, name: str) -> float:
    """The last figure of that name; without validation data that of the training."""
    values = getattr(history, name) or getattr(history, name.removeprefix("val_"))
    return float(values[-1])
