"""Training: a model, a loss and an optimiser brought together."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import FloatArray, describe
from ._augment import Augment
from ._network import CompiledNetwork
from ._progress import progress_bar
from ._samples import Samples, check_finite
from .callbacks import Callback
from .errors import DivergenceError
from .functional._arguments import as_finite, as_int
from .history import History
from .nn.losses import Loss
from .nn.module import Module
from .optim import EMA, SWA, Optimizer, Schedule
from .optim.schedules import as_schedule
from .optim.state import OptimizerState

_SLICE_SECONDS = 0.1  # the progress bar moves between slices; Ctrl-C is served inside too
_EVALUATION_BATCH = 256

AnyCallback = Callable[["Trainer", History], object]


class Trainer:
    """Trains a model by gradient descent; every step is one call into C++.

    Parameters
    ----------
    model
        A `piste.nn` module; its parameters are updated in place.
    loss
        A `piste.nn` loss.
    optimizer
        A `piste.optim` optimiser.
    seed
        Of the shuffling and of dropout: the same seed gives the same bits, on any number of
        threads.
    schedule
        Of the learning rate: a `piste.optim` schedule, or a function of the number of updates that
        gives the rate's factor.
    clip_grad_value
        The gradient's values are bounded by this and its negative.
    clip_grad_norm
        Then the gradient is made shorter where its norm, over all parameters, is above this.
    accumulation_steps
        Batches for one update: it is that of their samples as one batch (but for batch norm's
        statistics). The last batches of an epoch of `fit` make an update however few they are.
    average
        `piste.optim.EMA` or `SWA`: see `averaged_weights`.
    augment
        `piste.data.Augment`: how images are changed and normalised as they are read.

    Attributes
    ----------
    loss
        May be changed between steps.
    steps : int
        Batches trained on.
    history : History
        Of all calls of `fit`.
    stop_training : bool
        Set by a callback, it ends `fit` after the epoch.

    Raises
    ------
    TypeError, ValueError
        For arguments of other kinds, or that do not go together.
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        seed: int = 0,
        schedule: Schedule | Callable[[int], float] | None = None,
        clip_grad_value: float | None = None,
        clip_grad_norm: float | None = None,
        accumulation_steps: int = 1,
        average: EMA | SWA | None = None,
        augment: Augment | None = None,
    ) -> None:
        for value, kind, name in (
            (model, Module, "model"),
            (loss, Loss, "loss"),
            (optimizer, Optimizer, "optimizer"),
        ):
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name}: expected a piste {kind.__name__}, got {type(value).__name__}"
                )
        if average is not None and not isinstance(average, (EMA, SWA)):
            raise TypeError(f"average: expected a piste EMA or SWA, got {describe(average)}")
        if augment is not None and not isinstance(augment, Augment):
            raise TypeError(f"augment: expected a piste.data.Augment, got {describe(augment)}")
        self._model, self._optimizer = model, optimizer
        self.loss = loss
        self.seed = as_int(seed, "seed", 0)
        self.steps = 0
        self.history = History()
        self.stop_training = False
        self.clip_grad_value = _bound(clip_grad_value, "clip_grad_value")
        self.clip_grad_norm = _bound(clip_grad_norm, "clip_grad_norm")
        self.accumulation_steps = as_int(accumulation_steps, "accumulation_steps", 1)
        self._average = average
        self._averages_in_use = False
        self._rng = np.random.Generator(np.random.PCG64(self.seed))
        self._network: CompiledNetwork = model._network()
        self.augment = augment
        self._augmentation = None if augment is None else augment._lower(self._network.dtype)
        self._state = OptimizerState(
            optimizer,
            [name for name, _ in model.named_parameters()],
            model.parameters(),
            averaged={name: a for name, a in model._named_state() if a.dtype.kind == "f"},
            schedule=as_schedule(schedule, optimizer),
            averaging=average,
            clip_value=self.clip_grad_value or math.inf,
            clip_norm=self.clip_grad_norm or math.inf,
            accumulate=self.accumulation_steps,
        )

    @property
    def model(self) -> Module:
        """The module that is trained."""
        return self._model

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser; its hyperparameters may be changed between steps."""
        return self._optimizer

    @property
    def schedule(self) -> Schedule | None:
        """The learning rate's schedule."""
        return self._state.schedule

    def learning_rates(self) -> dict[str, float]:
        """The rate that each parameter's next update will take."""
        rates = self._state.lr(len(self.history))
        return dict(zip(self._state.names, rates, strict=True))

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside this ``with``, the model has the averaged weights and running statistics.

        Predictions, evaluation, saving the model: all see them. Training does not: its own weights
        come back at the end.

        Raises
        ------
        RuntimeError
            Where the trainer was made without `average` or none has been taken yet, or where
            training is tried inside.
        """
        if self._average is None or not self._state.counters[3]:
            why = "without average=" if self._average is None else "before the first average"
            raise RuntimeError(f"averaged_weights: called {why}")
        if self._averages_in_use:
            raise RuntimeError("averaged_weights: already in use")
        self._state.swap_averages()
        self._averages_in_use = True
        try:
            yield
        finally:
            self._state.swap_averages()
            self._averages_in_use = False

    def step(
        self, x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """One descent step on one batch; returns its loss before the step.

        Parameters
        ----------
        x
            (n, ...) images or features: floats, or uint8 read as value / 255.
        y
            (n,) integer labels for cross-entropy, else floats of the output's shape.
        sample_weight
            (n,) factors of the samples' losses; a mean divides by their sum.

        Raises
        ------
        DivergenceError
            Where loss, gradient or update is not finite. A step before that was too long to leave
            a finite loss is taken back.
        ValueError, TypeError
            For data that do not fit the model and the loss, NaN and infinity among them.

        Whatever is raised, KeyboardInterrupt included, the model is as a whole step left it.
        """
        samples = Samples.of(self._network, self.loss, x, y, sample_weight)
        n = len(samples)
        return float(self._run(samples, np.arange(n), n, 0, in_epoch=False).loss)

    def fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        epochs: int = 1,
        batch_size: int | Literal["full"] = 64,
        shuffle: bool = True,
        validation_data: tuple[npt.ArrayLike, ...] | None = None,
        callbacks: Iterable[AnyCallback] = (),
        progress: bool | Literal["auto"] = "auto",
        sample_weight: npt.ArrayLike | None = None,
    ) -> History:
        """Train for some epochs of ceil(n / batch_size) steps.

        Parameters
        ----------
        batch_size
            ``"full"`` for batch gradient descent, 1 for stochastic, m for mini-batch descent.
        shuffle
            Draw a new order each epoch from the trainer's seeded generator.
        validation_data
            (x, y) or (x, y, sample_weight) to evaluate after each epoch.
        callbacks
            Called as ``callback(trainer, history)`` after each epoch: functions, or those of
            `piste.callbacks`.
        progress
            A bar by tqdm: ``"auto"`` shows it where tqdm is installed and stderr is a terminal.
        sample_weight
            (n,) factors of the samples' losses; a batch's mean divides by their sum.

        Returns
        -------
        History
            Of this call; `Trainer.history` goes on over calls.

        Raises
        ------
        DivergenceError, ValueError, TypeError, KeyboardInterrupt
            As `step`: the model is as the last whole step left it, whatever a callback raises
            included. Ctrl-C is served within a step.
        """
        samples = Samples.of(self._network, self.loss, x, y, sample_weight)
        n = len(samples)
        size = n if batch_size == "full" else as_int(batch_size, "batch_size", 1)
        epochs = as_int(epochs, "epochs", 0)
        held_out = Samples.held_out(self._network, self.loss, validation_data)
        callbacks = tuple(callbacks)
        for callback in callbacks:
            if not callable(callback):
                raise TypeError(f"callbacks: expected functions, got {callback!r}")
        if progress not in (True, False, "auto"):
            raise ValueError(f"progress: expected True, False or 'auto', got {progress!r}")
        history = History()
        self.stop_training = False
        hooks = [callback for callback in callbacks if isinstance(callback, Callback)]
        for hook in hooks:
            hook.begin(self)
        for epoch in range(epochs):
            order = self._rng.permutation(n) if shuffle else np.arange(n)
            start = time.perf_counter()
            title = f"epoch {epoch + 1}/{epochs}"
            loss, correct = self._epoch(samples, order, size, title, progress)
            seconds = time.perf_counter() - start
            self._end_epoch(
                history,
                {
                    "loss": loss,
                    "accuracy": samples.share(correct, self.loss),
                    "seconds": seconds,
                    "samples_per_second": n / seconds,
                    "lr": max(self.learning_rates().values(), default=0.0),
                },
                held_out,
            )
            for callback in callbacks:
                callback(self, history)
            if self.stop_training:
                break
        for hook in hooks:
            hook.end(self, history)
        return history

    def _end_epoch(
        self, history: History, record: dict[str, float], held_out: Samples | None
    ) -> None:
        if held_out is not None:
            record["val_loss"], record["val_accuracy"] = self._evaluate(held_out)
        for name, value in record.items():
            getattr(history, name).append(value)
            getattr(self.history, name).append(value)
        self._state.end_of_epoch(self.history)

    def evaluate(
        self, x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> tuple[float, float]:
        """Loss and accuracy in evaluation mode (accuracy is NaN without labels).

        Weights are those of `step`; accuracy counts all samples alike.
        """
        return self._evaluate(Samples.of(self._network, self.loss, x, y, sample_weight))

    def predict(self, x: npt.ArrayLike) -> FloatArray:
        """The model's outputs in evaluation mode."""
        return self._network.predict(x, self._augmentation)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, optimiser and generator state, so that training resumes on the same bits.

        The file appears whole or not at all.
        """
        from .resume import save_trainer

        save_trainer(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        schedule: Schedule | Callable[[int], float] | None = None,
    ) -> Trainer:
        """A trainer as `save` found it; its next step has the bits it would have had.

        Parameters
        ----------
        path
            The file.
        schedule
            In the place of the file's: one with a Python function is not in the file.

        Raises
        ------
        FileNotFoundError, ValueError
            Where there is no file, or it is cut short or of another kind.
        """
        from .resume import load_trainer

        return load_trainer(cls, path, schedule)

    def _epoch(
        self,
        samples: Samples,
        order: npt.NDArray[np.int64],
        size: int,
        title: str,
        progress: bool | Literal["auto"],
    ) -> tuple[float, int]:
        batches = -(-len(order) // size)
        done, total, correct, bar = 0, 0.0, 0, progress_bar(progress, batches, title)
        try:
            while done < batches:
                result = self._run(samples, order, size, done, in_epoch=True, loss_sum=total)
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
        samples: Samples,
        order: npt.NDArray[np.int64],
        size: int,
        first: int,
        *,
        in_epoch: bool,
        loss_sum: float = 0.0,
    ) -> Any:
        if self._averages_in_use:
            raise RuntimeError("averaged_weights: training is not possible inside")
        loss, state = self._loss(samples.images), self._state
        updates = -(-len(order) // size) - first  # at most
        optimizer = state.core(updates, len(self.history), at_end=in_epoch)
        result = _core.Progress()
        result.loss_sum = loss_sum
        whole = False
        try:
            self._network.net.train(
                samples.images, samples.targets, order, size, first,
                _SLICE_SECONDS if in_epoch else 0.0, samples.weights, loss, optimizer, self.seed,
                self.steps, result, self._augmentation,
            )  # fmt: skip
            whole = not result.diverged
        finally:  # Ctrl-C may come after some steps
            taken = result.batches - result.undone
            self.steps += taken
            self._network.count_batches(taken)
            if not whole:
                state.forget_rates()
        if result.diverged:
            batch = order[(first + result.batches) * size :][:size]
            if not result.undone:
                check_finite(samples.images, batch)
            rate = max(self.learning_rates().values(), default=0.0)
            raise DivergenceError(result.step, result.loss, rate, result.layer)
        return result

    def _evaluate(self, samples: Samples) -> tuple[float, float]:
        loss = self._loss(samples.images)
        result = self._network.net.evaluate(
            samples.images,
            samples.targets,
            _EVALUATION_BATCH,
            loss,
            samples.weights,
            self._augmentation,
        )
        return result.loss, samples.share(result.correct, self.loss)

    def _loss(self, images: npt.NDArray[Any]) -> Any:
        """The engine's loss of the outputs for such images."""
        shape = self._network.output_shape(images)[1:]
        return self.loss._lower(self._network.dtype, shape)


def _bound(value: float | None, name: str) -> float | None:
    """Of gradients: a finite number above 0, or None."""
    if value is None:
        return None
    bound = as_finite(value, name, 0)
    if bound == 0:
        raise ValueError(f"{name}: expected a number above 0, got {value}")
    return bound


__all__: Sequence[str] = ["Trainer"]
