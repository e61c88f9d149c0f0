"""Training: a model, a loss and an optimiser brought together."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import FloatArray, as_array, as_float, check_shape, describe
from .errors import DivergenceError
from .functional._arguments import as_int
from .history import History
from .nn.losses import Loss
from .nn.module import Module
from .optim import SGD, SgdState
from .plan import Mode, Plan, make_plan

_BAR_SECONDS = 0.1  # between movements of the progress bar
_EVALUATION_BATCH = 256
_FORMAT = 1  # of the files

Layout = Literal["NCHW", "NHWC"]
_T = TypeVar("_T")
Calls: TypeAlias = Generator[Any, None, _T]
"""Yields calls into the engine that whoever drives it makes, and returns what comes of them."""
Callback = Callable[["Trainer", History], object]


class Trainer:
    """Trains a model by gradient descent; every step is one call into C++.

    Parameters
    ----------
    model
        A `piste.nn` module; its parameters are updated in place.
    loss
        A `piste.nn` loss.
    optimizer
        A `piste.optim.SGD`.
    seed
        Of the shuffling and of dropout: the same seed gives the same bits, on any number of
        threads.
    """

    def __init__(self, model: Module, loss: Loss, optimizer: SGD, *, seed: int = 0) -> None:
        for value, kind, name in (
            (model, Module, "model"),
            (loss, Loss, "loss"),
            (optimizer, SGD, "optimizer"),
        ):
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name}: expected a piste {kind.__name__}, got {type(value).__name__}"
                )
        self._model, self._optimizer = model, optimizer
        self.loss = loss
        self.seed = as_int(seed, "seed", 0)
        self.steps = 0
        self.history = History()
        self._rng = np.random.Generator(np.random.PCG64(self.seed))
        self._network = model._network()
        names = [name for name, _ in model.named_parameters()]
        self._state = SgdState(optimizer, names, model.parameters())

    @property
    def model(self) -> Module:
        """The module that is trained."""
        return self._model

    @property
    def optimizer(self) -> SGD:
        """The optimiser; its hyperparameters may be changed between steps."""
        return self._optimizer

    def step(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        layout: Layout = "NCHW",
    ) -> float:
        """One descent step on one batch; returns its loss before the step.

        Parameters
        ----------
        x
            (n, ...) images or features: floats, or uint8 read as value / 255. Arrays of float32,
            float64 and uint8 are read where they are, whatever their strides: `numpy.memmap` of
            files larger than memory too.
        y
            (n,) integer labels for cross-entropy, else floats of the output's shape.
        sample_weight
            (n,) factors of the samples' losses; a mean divides by their sum.
        layout
            Of images: ``"NCHW"``, or ``"NHWC"`` where the channels come last.

        Raises
        ------
        DivergenceError
            Where loss, gradient or update is not finite. A step before that was too long to leave
            a finite loss is taken back.
        ValueError, TypeError
            For data that do not fit the model and the loss, NaN and infinity among them.

        Whatever is raised, KeyboardInterrupt included, the model is as a whole step left it.
        """
        images, targets, weights = self._data(x, y, sample_weight, layout)
        if not len(images):
            raise ValueError("x: expected at least one sample, got none")
        order = np.arange(len(images))
        result = _finish(self._run(images, targets, weights, order, len(images), 0))
        return float(result.loss)

    def fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        epochs: int = 1,
        batch_size: int | Literal["full"] = 64,
        shuffle: bool = True,
        validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool | Literal["auto"] = "auto",
        sample_weight: npt.ArrayLike | None = None,
        layout: Layout = "NCHW",
    ) -> History:
        """Train for some epochs of ceil(n / batch_size) steps.

        Parameters
        ----------
        batch_size
            ``"full"`` for batch gradient descent, 1 for stochastic, m for mini-batch descent.
        shuffle
            Draw a new order each epoch from the trainer's seeded generator.
        validation_data
            (x, y) to evaluate after each epoch.
        callbacks
            Called as ``callback(trainer, history)`` after each epoch.
        progress
            A bar by tqdm: ``"auto"`` shows it where tqdm is installed and stderr is a terminal.
        layout
            Of images, those of `validation_data` too: ``"NCHW"`` or ``"NHWC"``.

        Returns
        -------
        History
            Of this call; `Trainer.history` goes on over calls.

        Raises
        ------
        DivergenceError, ValueError, TypeError, KeyboardInterrupt
            As `step`: the model is as the last whole step left it. Ctrl-C is served within a step.
        """
        return _finish(
            self._fit(
                x, y, epochs, batch_size, shuffle, validation_data, callbacks, progress,
                sample_weight, layout,
            )
        )  # fmt: skip

    def evaluate(
        self, x: npt.ArrayLike, y: npt.ArrayLike, *, layout: Layout = "NCHW"
    ) -> tuple[float, float]:
        """Loss and accuracy in evaluation mode (accuracy is NaN without labels)."""
        return self._evaluate(*self._data(x, y, None, layout))

    def predict(self, x: npt.ArrayLike, *, layout: Layout = "NCHW") -> FloatArray:
        """The model's outputs in evaluation mode; maps come out as NCHW, whatever the layout."""
        return self._network.predict(x, layout)

    def plan(self, shape: Sequence[int], *, mode: Mode = "train") -> Plan:
        """What runs for one batch of such a shape, and the memory it takes: print it for a table.

        Nothing is run, allocated or kept.

        Parameters
        ----------
        shape
            A batch's, ``x.shape``.
        mode
            ``"train"``, ``"evaluate"`` or ``"predict"``.

        Raises
        ------
        ValueError, TypeError
            For another mode, or a shape that does not fit the model.
        """
        return make_plan(self._network, shape, mode)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, optimiser and generator state, so that training resumes on the same bits.

        The file appears whole or not at all.
        """
        self._state.core()
        arrays = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, buffer in zip(self._state.names, self._state.buffers, strict=True):
            if buffer is not None:
                arrays[f"momentum.{name}"] = buffer
        from .checkpoint import save_arrays
        from .serialize import describe as description

        state = {
            "format": _FORMAT,
            "seed": self.seed,
            "steps": self.steps,
            "first_step": self._state.first_step,
            "rng": self._rng.bit_generator.state,
            "history": vars(self.history),
            "model": description(self.model),
            "loss": description(self.loss),
            "optimizer": {**self.optimizer._defaults(), "groups": self.optimizer.groups},
        }
        save_arrays(path, arrays, state)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trainer:
        """A trainer as `save` found it; its next step has the bits it would have had.

        Raises
        ------
        FileNotFoundError, ValueError
            Where there is no file, or it is cut short or of another kind.
        """
        from .checkpoint import load_arrays
        from .serialize import build

        arrays, state = load_arrays(path)
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise ValueError(f"{os.fspath(path)}: not a file that Trainer.save wrote")
        try:
            trainer = cls(
                build(state["model"]),
                build(state["loss"]),
                SGD(**state["optimizer"]),
                seed=state["seed"],
            )
            trainer.model.load_state_dict(
                {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")}
            )
            for name, buffer in zip(trainer._state.names, trainer._state.buffers, strict=True):
                if buffer is not None:
                    check_shape(arrays[f"momentum.{name}"], buffer.shape, f"momentum.{name}")
                    buffer[...] = arrays[f"momentum.{name}"]
            trainer.steps = as_int(state["steps"], "steps", 0)
            trainer._state.first_step = bool(state["first_step"])
            trainer._rng.bit_generator.state = state["rng"]
            trainer.history = History(**state["history"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            text = f"{os.fspath(path)}: not a whole file of Trainer.save ({error})"
            raise ValueError(text) from None
        return trainer

    def _fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int,
        batch_size: int | Literal["full"],
        shuffle: bool,
        validation_data: tuple[npt.ArrayLike, npt.ArrayLike] | None,
        callbacks: Iterable[Callback],
        progress: bool | Literal["auto"],
        sample_weight: npt.ArrayLike | None,
        layout: Layout,
        slice_seconds: float = math.inf,
    ) -> Calls[History]:
        """`fit`, one call into the engine after the other; each ends about when told to."""
        images, targets, weights = self._data(x, y, sample_weight, layout)
        n = len(images)
        if n == 0:
            raise ValueError("x: expected at least one sample, got none")
        size = n if batch_size == "full" else as_int(batch_size, "batch_size", 1)
        epochs = as_int(epochs, "epochs", 0)
        held_out = None if validation_data is None else self._held_out(validation_data, layout)
        callbacks = tuple(callbacks)
        for callback in callbacks:
            if not callable(callback):
                raise TypeError(f"callbacks: expected functions, got {callback!r}")
        if progress not in (True, False, "auto"):
            raise ValueError(f"progress: expected True, False or 'auto', got {progress!r}")
        history = History()
        for epoch in range(epochs):
            order = self._rng.permutation(n) if shuffle else np.arange(n)
            start = time.perf_counter()
            title = f"epoch {epoch + 1}/{epochs}"
            loss, correct = yield from self._epoch(
                images, targets, weights, order, size, title, progress, slice_seconds
            )
            seconds = time.perf_counter() - start
            record = {
                "loss": loss,
                "accuracy": self._share(correct, targets),
                "seconds": seconds,
                "samples_per_second": n / seconds,
            }
            if held_out is not None:
                record["val_loss"], record["val_accuracy"] = self._evaluate(*held_out)
            for name, value in record.items():
                getattr(history, name).append(value)
                getattr(self.history, name).append(value)
            for callback in callbacks:
                callback(self, history)
        return history

    def _epoch(
        self,
        images: npt.NDArray[Any],
        targets: npt.NDArray[Any],
        weights: FloatArray | None,
        order: npt.NDArray[np.int64],
        size: int,
        title: str,
        progress: bool | Literal["auto"],
        slice_seconds: float,
    ) -> Calls[tuple[float, int]]:
        batches = -(-len(order) // size)
        done, total, correct, bar = 0, 0.0, 0, _bar(progress, batches, title)
        if bar is not None:
            slice_seconds = min(slice_seconds, _BAR_SECONDS)
        try:
            while done < batches:
                result = yield from self._run(
                    images, targets, weights, order, size, done, slice_seconds, total
                )
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

    def _run(
        self,
        images: npt.NDArray[Any],
        targets: npt.NDArray[Any],
        weights: FloatArray | None,
        order: npt.NDArray[np.int64],
        size: int,
        first: int,
        seconds: float = 0.0,
        loss_sum: float = 0.0,
    ) -> Calls[Any]:
        loss, sgd = self._loss(images), self._state.core()
        result = _core.Progress()
        result.loss_sum = loss_sum
        try:
            yield self._network.net.train(
                images, targets, order, size, first, seconds, weights, loss, sgd, self.seed,
                self.steps, result,
            )  # fmt: skip
        finally:  # Ctrl-C may come after some steps
            taken = result.batches - result.undone
            self.steps += taken
            self._network.count_batches(taken)
        if result.diverged:
            batch = order[(first + result.batches) * size :][:size]
            if not result.undone:
                _check_finite(images, batch)
            rate = max((o["lr"] for o in self.optimizer.options(self._state.names)), default=0.0)
            raise DivergenceError(result.step, result.loss, rate, result.layer)
        return result

    def _evaluate(
        self, images: npt.NDArray[Any], targets: npt.NDArray[Any], weights: FloatArray | None
    ) -> tuple[float, float]:
        if not len(images):
            raise ValueError("x: expected at least one sample, got none")
        loss = self._loss(images)
        result = self._network.net.evaluate(images, targets, _EVALUATION_BATCH, loss, weights)
        return result.loss, self._share(result.correct, targets)

    def _share(self, correct: int, targets: npt.NDArray[Any]) -> float:
        """Accuracy: the share of labels that counts; NaN where there are none."""
        if targets.dtype != np.int64:
            return math.nan
        counted = int(np.count_nonzero(targets != getattr(self.loss, "ignore_index", -100)))
        return correct / counted if counted else math.nan

    def _held_out(
        self, data: object, layout: Layout
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], None]:
        if not isinstance(data, Sequence) or len(data) != 2:
            raise TypeError(f"validation_data: expected (x, y), got {describe(data)}")
        images, targets, _ = self._data(data[0], data[1], None, layout)
        if not len(images):
            raise ValueError("validation_data: expected at least one sample, got none")
        return images, targets, None

    def _loss(self, images: npt.NDArray[Any]) -> Any:
        """The engine's loss of the outputs for such images."""
        shape = self._network.output_shape(images)[1:]
        return self.loss._lower(self._network.dtype, shape)

    def _data(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None,
        layout: Layout,
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], FloatArray | None]:
        images = self._network.images(x, layout)
        expected = self._network.output_shape(images)
        targets = self._targets(as_array(y, "y"), expected)
        weights = None
        if sample_weight is not None:
            factors = as_array(sample_weight, "sample_weight")
            if factors.dtype.kind not in "fiub":
                raise TypeError(f"sample_weight: expected numbers, got dtype {factors.dtype}")
            weights = as_float(np.asarray(factors, self._network.dtype), "sample_weight")
            if weights.shape != (len(images),):
                raise ValueError(
                    f"sample_weight: expected shape {(len(images),)}, got {weights.shape}"
                )
            if not np.isfinite(weights).all() or (weights < 0).any():
                raise ValueError("sample_weight: expected finite values of at least 0")
        return images, targets, weights

    def _targets(self, y: npt.NDArray[Any], expected: tuple[int, ...]) -> npt.NDArray[Any]:
        if self.loss.labels and (y.dtype.kind in "iu" or y.ndim < len(expected)):
            if y.dtype.kind not in "iu":
                raise TypeError(f"y: expected integer labels, got dtype {y.dtype}")
            shape = (expected[0], *expected[2:])
            if y.shape != shape:
                raise ValueError(f"y: expected labels of shape {shape}, got {y.shape}")
            labels = np.array(y, np.int64, order="C")  # a copy: what was checked here stays so
            ignored = getattr(self.loss, "ignore_index", -100)
            wrong = ((labels < 0) | (labels >= expected[1])) & (labels != ignored)
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                raise ValueError(
                    f"y: label {labels.flat[at]} at index {at} is not in [0, {expected[1]})"
                )
            return labels
        if not self.loss.numbers:
            raise TypeError(f"y: expected integer labels, got dtype {y.dtype}")
        if y.dtype.kind not in ("f" if self.loss.labels else "fiub"):
            raise TypeError(f"y: expected numbers, got dtype {y.dtype}")
        if y.shape != expected:
            raise ValueError(f"y: expected shape {expected}, got {y.shape}")
        targets = np.ascontiguousarray(y, self._network.dtype)
        if not np.isfinite(targets).all():
            raise ValueError("y: expected finite targets, got NaN or infinity")
        low, high = self.loss.target_range
        if targets.size and not (low <= targets.min() and targets.max() <= high):
            raise ValueError(
                f"y: expected targets from {low:g} to {high:g}, got {targets.min():g} to "
                f"{targets.max():g}"
            )
        return targets


def _finish(calls: Calls[_T]) -> _T:
    """Make the calls one after another."""
    try:
        while True:
            next(calls).run()
    except StopIteration as end:
        value: _T = end.value
        return value
    finally:
        calls.close()  # after an exception: what has been done is counted


def _check_finite(images: npt.NDArray[Any], batch: npt.NDArray[np.int64]) -> None:
    """A batch whose loss is not finite: are the data to blame?"""
    if images.dtype == np.uint8:
        return
    for sample in np.sort(batch):
        if not np.isfinite(images[sample]).all():
            raise ValueError(f"x: sample {sample} holds NaN or infinity; nothing has changed")


def _bar(progress: bool | Literal["auto"], total: int, title: str) -> Any:
    if progress is False or (progress == "auto" and not sys.stderr.isatty()):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=title, unit="batch", leave=False)


__all__: Sequence[str] = ["Trainer"]
