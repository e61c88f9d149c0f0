"""Training: a model, a loss and an optimiser brought together."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from ._arrays import FloatArray, describe
from ._augment import Augment
from ._fitting import AnyCallback, Calls, divergence, finish, fit, prepare
from ._lowered import LoweredTraining
from ._samples import Layout, Samples
from .functional._arguments import as_int, as_positive
from .history import History
from .nn import module
from .nn.losses import Loss
from .nn.module import Module
from .optim import EMA, SWA, Optimizer, Schedule
from .optim.schedules import as_schedule

if TYPE_CHECKING:
    from .plan import Mode, Plan


class Trainer(LoweredTraining):
    """Trains a model by gradient descent; every step is one call into C++.

    Copies (by `copy.deepcopy` or `pickle`) have models of their own and go on with the same bits.

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
        _check_kind(model, Module, "model")
        _check_kind(loss, Loss, "loss")
        _check_kind(optimizer, Optimizer, "optimizer")
        if average is not None and not isinstance(average, (EMA, SWA)):
            raise TypeError(f"average: expected a piste EMA or SWA, got {describe(average)}")
        if augment is not None and not isinstance(augment, Augment):
            raise TypeError(f"augment: expected a piste.data.Augment, got {describe(augment)}")
        self._model, self._optimizer = model, optimizer
        self._objective = loss
        self._seed = as_int(seed, "seed", 0)
        self.history = History()
        self.stop_training = False
        self._clip_grad_value = _bound(clip_grad_value, "clip_grad_value")
        self._clip_grad_norm = _bound(clip_grad_norm, "clip_grad_norm")
        self._accumulation_steps = as_int(accumulation_steps, "accumulation_steps", 1)
        self._average = average
        self._fitting: int | None = None  # the thread that is inside `fit`
        self._rng = np.random.Generator(np.random.PCG64(self._seed))
        self._augment = augment
        self._compile(as_schedule(schedule, optimizer))

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

    @property
    def loss(self) -> Loss:
        """The loss; it may be changed between steps."""
        return self._objective

    @loss.setter
    def loss(self, loss: Loss) -> None:
        _check_kind(loss, Loss, "loss")
        self._objective = loss

    @property
    def seed(self) -> int:
        """What batches, dropout and augmentation are drawn from."""
        return self._seed

    @property
    def augment(self) -> Augment | None:
        """How images are changed as they are read."""
        return self._augment

    @property
    def clip_grad_value(self) -> float | None:
        """Bound of each gradient."""
        return self._clip_grad_value

    @property
    def clip_grad_norm(self) -> float | None:
        """Bound of the norm of all gradients together."""
        return self._clip_grad_norm

    @property
    def accumulation_steps(self) -> int:
        """Batches whose gradients one update takes."""
        return self._accumulation_steps

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
            training is tried inside, by another trainer of the model too, or loading weights.
        ValueError
            Where a parameter is read-only.
        """
        if self._average is None or not self._state.counters[3]:
            why = "without average=" if self._average is None else "before the first average"
            raise RuntimeError(f"averaged_weights: called {why}")
        if self._averages_in_use:
            raise RuntimeError("averaged_weights: already in use")
        self._model._check_writeable("averages cannot take its place")
        core, arrays = self._state.core, [id(array) for _, array in self._model._named_state()]
        module._averaged.update(dict.fromkeys(arrays, core))
        try:
            core.put_averages(True)  # one call, which no signal divides
            yield
        finally:
            core.put_averages(False)
            for array in arrays:
                module._averaged.pop(array, None)

    @property
    def _averages_in_use(self) -> bool:
        """Whether this or another trainer has put averages into the model for a while."""
        return self._model._holds_averages()

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
            For data that do not fit the model and the loss, NaN and infinity among them, or where a
            parameter is read-only (`optim.Optimizer` says how to freeze one).

        Whatever is raised, KeyboardInterrupt included, the model is as a whole step left it.
        """
        samples = Samples.of(self._network, self._objective, x, y, sample_weight, layout)
        loss = prepare(self, samples, 1)
        made = self._training.step(
            samples.network.net, samples.images, samples.targets, samples.weights, loss
        )
        if isinstance(made, float):
            return made
        raise divergence(self, samples, np.arange(len(samples)), made, first=True)

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
            (x, y) or (x, y, sample_weight) to evaluate after each epoch.
        callbacks
            Called as ``callback(trainer, history)`` after each epoch: functions, or those of
            `piste.callbacks`.
        progress
            A bar by tqdm: ``"auto"`` shows it where tqdm is installed and stderr is a terminal.
        sample_weight
            (n,) factors of the samples' losses; a batch's mean divides by their sum.
        layout
            Of images, those of `validation_data` too: ``"NCHW"`` or ``"NHWC"``.

        Returns
        -------
        History
            Of this call; `Trainer.history` goes on over calls.

        Raises
        ------
        DivergenceError, ValueError, TypeError, KeyboardInterrupt
            As `step`: the model is as the last whole step left it, whatever a callback raises
            included. Ctrl-C is served within a step.
        RuntimeError
            Where a callback calls it for the same trainer.
        """
        return finish(
            self._fit(
                x, y, epochs, batch_size, shuffle, validation_data, callbacks, progress,
                sample_weight, layout,
            )
        )  # fmt: skip

    def evaluate(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        layout: Layout = "NCHW",
    ) -> tuple[float, float]:
        """Loss and accuracy in evaluation mode (accuracy is NaN without labels).

        Weights are those of `step`; accuracy counts all samples alike.
        """
        return self._evaluate(Samples.of(self._network, self.loss, x, y, sample_weight, layout))

    def predict(self, x: npt.ArrayLike, *, layout: Layout = "NCHW") -> FloatArray:
        """The model's outputs in evaluation mode; maps come out as NCHW, whatever the layout."""
        return self._network.predict(x, layout, self._augmentation)

    def plan(self, shape: Sequence[int], *, mode: Mode = "train") -> Plan:
        """What runs for one batch of such a shape, and the memory it takes: print it for a table.

        Nothing is run or kept, and no map, weight or gradient is allocated.

        Parameters
        ----------
        shape
            A batch's, ``x.shape``; one sample is what `step` takes it for, or ``batch_size=1``.
        mode
            ``"train"``, ``"evaluate"`` or ``"predict"``.

        Raises
        ------
        ValueError, TypeError
            For another mode, or a shape that does not fit the model.
        """
        from .plan import make_plan

        self._state.prepare(0, len(self.history))
        return make_plan(self._network, shape, mode, self._state.core, self._augmentation)

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
            In the place of the file's. A Python function is in no file: where the schedule was
            one, or has one in it, it must be given again.

        Raises
        ------
        FileNotFoundError, ValueError
            Where there is no file, or it is cut short or of another kind, or where its schedule
            is a function and none is given.
        """
        from .resume import load_trainer

        return load_trainer(cls, path, schedule)

    def _fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        epochs: int,
        batch_size: int | Literal["full"],
        shuffle: bool,
        validation_data: tuple[npt.ArrayLike, ...] | None,
        callbacks: Iterable[AnyCallback],
        progress: bool | Literal["auto"],
        sample_weight: npt.ArrayLike | None,
        layout: Layout,
        slice_seconds: float = math.inf,
    ) -> Calls[History]:
        """`fit`, one call into the engine after the other; each ends about when told to."""
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks: expected a list of functions, got {callbacks!r}")
        samples = Samples.of(self._network, self.loss, x, y, sample_weight, layout)
        held_out = Samples.held_out(self._network, self.loss, validation_data, layout)
        return fit(
            self, samples, held_out, epochs, batch_size, shuffle, tuple(callbacks), progress,
            slice_seconds,
        )  # fmt: skip


def _check_kind(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected a piste {kind.__name__}, got {type(value).__name__}")


def _bound(value: float | None, name: str) -> float | None:
    """Of gradients: a finite number above 0, or None."""
    return None if value is None else as_positive(value, name)


__all__: Sequence[str] = ["Trainer"]
