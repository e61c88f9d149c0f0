"""Fitting as a sequence of calls into the engine, which one or many trainers make."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ._progress import progress_bar
from ._samples import Samples, check_finite
from .errors import DivergenceError
from .functional._arguments import as_flag, as_int
from .history import History, check_defined, check_given

if TYPE_CHECKING:
    from .trainer import Trainer

_BAR_SECONDS = 0.1  # between movements of the progress bar

_T = TypeVar("_T")
Calls: TypeAlias = Generator[Any, None, _T]
"""Yields calls into the engine that whoever drives it makes, and returns what comes of them."""
AnyCallback: TypeAlias = Callable[["Trainer", History], object]


def finish(calls: Calls[_T]) -> _T:
    """Make the calls one after another."""
    try:
        while True:
            next(calls).run()
    except StopIteration as end:
        value: _T = end.value
        return value
    finally:
        calls.close()  # after an exception: the fit is not under way any more


def fit(
    trainer: Trainer,
    samples: Samples,
    held_out: Samples | None,
    epochs: int,
    batch_size: int | Literal["full"],
    shuffle: bool,
    callbacks: tuple[AnyCallback, ...],
    progress: bool | Literal["auto"],
    slice_seconds: float,
) -> Calls[History]:
    """All epochs, each of as many calls as its time takes slices."""
    n = len(samples)
    size = n if batch_size == "full" else as_int(batch_size, "batch_size", 1)
    epochs = as_int(epochs, "epochs", 0)
    shuffle = as_flag(shuffle, "shuffle")
    for callback in callbacks:
        if not callable(callback) or isinstance(callback, type):
            raise TypeError(f"callbacks: expected functions, got {callback!r}")
    if progress not in (True, False, "auto"):
        raise ValueError(f"progress: expected True, False or 'auto', got {progress!r}")
    _check_monitors(trainer, samples, held_out, callbacks)
    last = n % size or size
    if epochs and last == 1:
        _check_single(trainer, samples, size)
    thread = threading.get_ident()
    if trainer._fitting == thread:
        raise RuntimeError("fit: called within fit of the same trainer, by a callback, say")
    trainer._fitting = thread
    try:
        return (
            yield from _epochs(
                trainer, samples, held_out, epochs, size, shuffle, callbacks, progress,
                slice_seconds,
            )
        )  # fmt: skip
    finally:
        trainer._fitting = None


def _epochs(
    trainer: Trainer,
    samples: Samples,
    held_out: Samples | None,
    epochs: int,
    size: int,
    shuffle: bool,
    callbacks: tuple[AnyCallback, ...],
    progress: bool | Literal["auto"],
    slice_seconds: float,
) -> Calls[History]:
    from .callbacks import Callback

    n, history = len(samples), History()
    trainer.stop_training = False
    hooks = [callback for callback in callbacks if isinstance(callback, Callback)]
    for hook in hooks:
        hook.begin(trainer)
    for epoch in range(epochs):
        order = trainer._rng.permutation(n) if shuffle else np.arange(n)
        start = time.perf_counter()
        title = f"epoch {epoch + 1}/{epochs}"
        loss, correct = yield from _epoch(
            trainer, samples, order, size, title, progress, slice_seconds
        )
        seconds = time.perf_counter() - start
        record = {
            "loss": loss,
            "accuracy": samples.share(correct, trainer.loss),
            "seconds": seconds,
            "samples_per_second": n / seconds,
            "lr": max(trainer.learning_rates().values(), default=0.0),
        }
        _end_epoch(trainer, history, record, held_out)
        for callback in callbacks:
            callback(trainer, history)
        if trainer.stop_training:
            break
    for hook in hooks:
        hook.end(trainer, history)
    return history


def _check_monitors(
    trainer: Trainer, samples: Samples, held_out: Samples | None, callbacks: tuple[AnyCallback, ...]
) -> None:
    """Is what will be watched there? The user's callbacks may put figures into the history."""
    from .callbacks import Callback

    ours = Callback.__module__
    known = itertools.takewhile(lambda callback: type(callback).__module__ == ours, callbacks)
    for watcher in (trainer.schedule, *known):
        name = getattr(watcher, "monitor", None)
        if isinstance(name, str):
            check_given(type(watcher).__name__, name, held_out is not None)
            seen = held_out if held_out and name.startswith("val_") else samples
            check_defined(name, seen.has_labels)


def _check_single(trainer: Trainer, samples: Samples, size: int) -> None:
    """A last batch of one sample: is there a batch norm that needs more?"""
    layer = samples.network.single_value_norm(samples.images)
    if layer is not None:
        raise ValueError(
            f"batch_size: the last batch has 1 sample, of which batch norm {layer!r} has no "
            f"statistics; got {size} for {len(samples)} samples"
        )


def _end_epoch(
    trainer: Trainer, history: History, record: dict[str, float], held_out: Samples | None
) -> None:
    if held_out is not None:
        held_out.follow(trainer._network, trainer.loss)
        record["val_loss"], record["val_accuracy"] = trainer._evaluate(held_out)
    for name, value in record.items():
        getattr(history, name).append(value)
        getattr(trainer.history, name).append(value)
    seen = trainer.history
    if held_out is None and (seen.val_loss or seen.val_accuracy):  # of earlier calls, not of this
        seen = History(
            seen.loss, seen.accuracy, (), (), seen.seconds, seen.samples_per_second, seen.lr
        )
    trainer._state.end_of_epoch(seen)


def _epoch(
    trainer: Trainer,
    samples: Samples,
    order: npt.NDArray[np.int64],
    size: int,
    title: str,
    progress: bool | Literal["auto"],
    slice_seconds: float,
) -> Calls[tuple[float, int]]:
    batches = -(-len(order) // size)
    done, total, correct, bar = 0, 0.0, 0, progress_bar(progress, batches, title)
    if bar is not None:
        slice_seconds = min(slice_seconds, _BAR_SECONDS)
    try:
        while done < batches:
            samples.follow(trainer._network, trainer.loss)
            result = yield from run(trainer, samples, order, size, done, slice_seconds, total)
            done += result.batches
            total = result.loss_sum
            correct += result.correct
            if bar is not None:
                bar.set_postfix_str(f"loss {result.loss:.4g}", refresh=False)
                bar.update(result.batches)
    finally:
        if bar is not None:
            bar.close()
    return total / len(order), correct


def run(
    trainer: Trainer,
    samples: Samples,
    order: npt.NDArray[np.int64],
    size: int,
    first: int,
    seconds: float,
    loss_sum: float,
) -> Calls[Any]:
    """Train on the batches of `order` from `first` on, for a time; gives the core's `Progress`."""
    loss = prepare(trainer, samples, -(-len(order) // size) - first)
    call = trainer._training.call(
        samples.network.net, samples.images, samples.targets, samples.weights, loss, order, size,
        first, seconds, loss_sum,
    )  # fmt: skip
    yield call
    made = call.progress
    if made.diverged:
        done = first + made.batches
        raise divergence(trainer, samples, order[done * size :][:size], made, first=done == 0)
    return made


def prepare(trainer: Trainer, samples: Samples, updates: int) -> Any:
    """Make ready for so many updates, at most; gives the engine's loss."""
    if trainer._averages_in_use:
        raise RuntimeError("averaged_weights: training is not possible inside")
    if not samples.network.net.writeable():
        trainer.model._check_writeable("to freeze it, put it into an optimizer's group with lr=0")
    trainer._state.prepare(updates, len(trainer.history))
    return trainer._loss(samples)


def divergence(
    trainer: Trainer,
    samples: Samples,
    batch: npt.NDArray[np.int64],
    made: Any,
    *,
    first: bool,
) -> DivergenceError:
    """What to raise when a batch, the `first` or not, has diverged.

    Raises
    ------
    ValueError
        Where the data are to blame.
    """
    trainer._state.forget_rates()
    if not made.undone:
        check_finite(samples.images, batch, samples.network.dtype, first=first)
    rate = max(trainer.learning_rates().values(), default=0.0)
    return DivergenceError(made.step, made.loss, rate, made.layer)
