"""What happened in each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class History:
    """One value per epoch in each list; validation lists are empty where none was asked for.

    `accuracy` is the share of labels that had the largest output; NaN for other targets.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)
