"""The one-cycle schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..functional._arguments import as_finite, as_int, as_positive, as_share
from .schedules import Counts, Rates, Schedule


class OneCycleLR(Schedule):
    """One cycle (Smith and Topin 2018): up to max_lr, then down to almost nothing.

    Momentum runs against it. The optimiser's own rates do not matter, but that parameters whose
    rate is 0, where others have one, stay frozen; updates are counted, not epochs.

    Parameters
    ----------
    max_lr
        The largest rate.
    total_steps
        Updates of the cycle. A trainer refuses to make more, as PyTorch does; `rates` has the last
        one for all that come after.
    epochs, steps_per_epoch
        Without total_steps, that is their product.
    pct_start
        The share of the rise.
    anneal_strategy
        ``"cos"`` or ``"linear"``.
    cycle_momentum
        Whether momentum (Adam's first beta) goes from max_momentum to base_momentum and back.
    base_momentum, max_momentum
        Its bounds.
    div_factor
        The first rate is max_lr / div_factor.
    final_div_factor
        The last is that divided by final_div_factor.
    three_phase
        Mirror the rise, then go down to the last rate.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        super().__init__("step")
        self.max_lr = as_finite(max_lr, "max_lr", 0)
        self.epochs = None if epochs is None else as_int(epochs, "epochs", 1)
        self.steps_per_epoch = (
            None if steps_per_epoch is None else as_int(steps_per_epoch, "steps_per_epoch", 1)
        )
        if total_steps is not None:
            self.total_steps = as_int(total_steps, "total_steps", 1)
        elif self.epochs is not None and self.steps_per_epoch is not None:
            self.total_steps = self.epochs * self.steps_per_epoch
        else:
            raise ValueError("total_steps: expected it, or both epochs and steps_per_epoch")
        self._length = self.total_steps
        self.pct_start = as_share(pct_start, "pct_start")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy: expected 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = self._cycles_momentum = bool(cycle_momentum)
        self.base_momentum = as_finite(base_momentum, "base_momentum", 0)
        self.max_momentum = as_finite(max_momentum, "max_momentum", 0)
        for name in ("base_momentum", "max_momentum"):
            as_share(getattr(self, name), name, whole=False)
        self.div_factor = as_positive(div_factor, "div_factor")
        self.final_div_factor = as_positive(final_div_factor, "final_div_factor")
        self.three_phase = bool(three_phase)

    def _course(self, counts: Counts, values: Sequence[float]) -> Rates:
        """From value to value, one phase each."""
        first = float(self.pct_start * self.total_steps) - 1
        ends = [first, self.total_steps - 1.0]
        if self.three_phase:
            ends = [first, 2 * first, self.total_steps - 1.0]
        result = np.full(len(counts), values[-1], np.float64)
        begin = 0.0
        undone = np.ones(len(counts), bool)
        for end, low, high in zip(ends, values[:-1], values[1:], strict=True):
            here = undone & (counts <= end)
            undone &= ~here
            with np.errstate(divide="ignore", invalid="ignore"):
                share = (counts[here] - begin) / (end - begin)
            if self.anneal_strategy == "cos":
                result[here] = high + (low - high) / 2 * (1 + np.cos(np.pi * share))
            else:
                result[here] = low + (high - low) * share
            begin = end
        return result

    def _rates(self, base: Rates, counts: Counts) -> Rates:
        initial = self.max_lr / self.div_factor
        values = [initial, self.max_lr, initial / self.final_div_factor]
        if self.three_phase:
            values.insert(2, initial)
        trained = base > 0 if base.any() else np.ones(len(base))
        return self._course(counts, values)[:, None] * trained

    def _momenta(self, counts: Counts) -> Rates | None:
        if not self.cycle_momentum:
            return None
        values = [self.max_momentum, self.base_momentum, self.max_momentum]
        if self.three_phase:
            values.append(self.max_momentum)
        return self._course(counts, values)
