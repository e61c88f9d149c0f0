"""Many models at once, over one set of data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import describe
from ._fitting import Calls
from ._samples import Layout
from .errors import DivergenceError
from .functional._arguments import as_int
from .history import History
from .nn.losses import Loss
from .nn.module import Module, seeded
from .optim import Optimizer
from .trainer import Trainer

_SLICE_SECONDS = 0.1  # copies take turns: all read the same part of the data


@dataclass
class Sweep:
    """What came of each copy, in the order of the optimizers.

    Attributes
    ----------
    trainers
        Ready to predict, save or go on.
    histories
        Of each copy's epochs; a diverged copy's ends before the one it diverged in.
    errors
        `None`, or what ended the copy. Its model is as the last good step left it.
    """

    trainers: list[Trainer]
    histories: list[History]
    errors: list[DivergenceError | None]

    def best(self) -> int:
        """Index of the copy with the lowest last loss: of validation, where there was one.

        Raises
        ------
        ValueError
            Where no copy has come through.
        """

        def last(i: int) -> float:
            history = self.histories[i]
            losses = history.val_loss or history.loss
            return math.inf if self.errors[i] or not losses else losses[-1]

        best = min(range(len(self.trainers)), key=last)
        if math.isinf(last(best)):
            raise ValueError("sweep: no copy has finished an epoch without diverging")
        return best

    def __len__(self) -> int:
        return len(self.trainers)


def sweep(
    model_factory: Callable[[], Module],
    loss: Loss,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    optimizers: Sequence[Optimizer],
    seeds: int | Sequence[int] | npt.NDArray[np.integer[Any]] = 0,
    epochs: int = 1,
    batch_size: int | Literal["full"] = 64,
    shuffle: bool = True,
    validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    sample_weight: npt.ArrayLike | None = None,
    layout: Layout = "NCHW",
) -> Sweep:
    """Train one copy of a model per optimizer, all in one pass over the data.

    Copies run side by side, a thread each, so that small models use all threads. Each ends with
    the bits that it would have alone::

        nn.manual_seed(seed)
        Trainer(model_factory(), loss, optimizer, seed=seed).fit(x, y, ...)

    Parameters
    ----------
    model_factory
        Makes a new model. Copies with one seed begin with the same weights.
    loss
        A `piste.nn` loss.
    x, y, epochs, batch_size, shuffle, validation_data, sample_weight, layout
        As `Trainer.fit` takes them.
    optimizers
        One for each copy.
    seeds
        Of weights, shuffling and dropout: one for all copies, or one for each.

    Returns
    -------
    Sweep
        A copy that diverges is dropped and reported there; the others go on.

    Raises
    ------
    ValueError, TypeError, KeyboardInterrupt
        As `Trainer.fit`.
    """
    if not callable(model_factory) or isinstance(model_factory, Module):
        raise TypeError(f"model_factory: expected a function, got {describe(model_factory)}")
    if not isinstance(optimizers, (list, tuple)):
        raise TypeError(f"optimizers: expected a list of them, got {describe(optimizers)}")
    if not optimizers:
        raise ValueError("optimizers: expected at least one, got none")
    trainers = [
        _trainer(model_factory, loss, optimizer, seed)
        for optimizer, seed in zip(optimizers, _seeds(seeds, len(optimizers)), strict=True)
    ]
    if len({id(trainer.model) for trainer in trainers}) < len(trainers):
        raise ValueError("model_factory: expected a new model from each call, got one twice")
    arrays = [id(array) for trainer in trainers for _, array in trainer.model._named_state()]
    if len(set(arrays)) < len(arrays):  # which several threads would train at once
        raise ValueError(
            "model_factory: expected new layers from each call, got models that share weights"
        )
    return _run(
        trainers,
        [
            trainer._fit(
                x, y, epochs, batch_size, shuffle, validation_data, (), False, sample_weight,
                layout, _SLICE_SECONDS,
            )
            for trainer in trainers
        ],
    )  # fmt: skip


def _seeds(seeds: object, count: int) -> list[int]:
    if isinstance(seeds, np.ndarray):
        seeds = seeds.tolist()
    if not isinstance(seeds, Sequence) or isinstance(seeds, (str, bytes)):
        return [as_int(seeds, "seeds", 0)] * count
    if len(seeds) != count:
        raise ValueError(f"seeds: expected one or {count}, as many as optimizers, got {len(seeds)}")
    return [as_int(seed, "seeds", 0) for seed in seeds]


def _trainer(factory: Callable[[], Module], loss: Loss, optimizer: Optimizer, seed: int) -> Trainer:
    with seeded(seed):
        model = factory()
    return Trainer(model, loss, optimizer, seed=seed)


def _run(trainers: list[Trainer], fits: list[Calls[History]]) -> Sweep:
    """Make the calls of all fits side by side, round by round, until each has ended."""
    copies = range(len(fits))
    # A new trainer's history is that of its first fit.
    result = Sweep(trainers, [trainer.history for trainer in trainers], [None for _ in copies])
    running = list(copies)
    try:
        while running:
            calls: list[Any] = []
            for i in list(running):
                try:
                    calls.append(next(fits[i]))
                except StopIteration:
                    running.remove(i)
                except DivergenceError as error:
                    result.errors[i] = error
                    running.remove(i)
            _core.side_by_side(calls)
    finally:
        for fit in fits:
            fit.close()  # after an exception: no fit is under way any more
    return result


__all__ = ["Sweep", "sweep"]
