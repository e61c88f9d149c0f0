"""A model, a loss and an optimiser in the core: what copies of a trainer make anew."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _core
from ._augment import Augment
from ._network import CompiledNetwork
from ._samples import Samples
from .functional._arguments import COUNTLESS, as_int
from .nn import module
from .nn._loss import LoweredLoss
from .nn.losses import Loss
from .nn.module import Module
from .optim import Optimizer, Schedule
from .optim.averages import Averaging
from .optim.state import OptimizerState

_EVALUATION_BATCH = 256
# What a trainer cannot hand on as it is.
_IN_CORE = ("_lowered", "_augmentation", "_lowered_loss", "_state", "_training")


class LoweredTraining:
    """The base of `piste.Trainer`, which sets the attributes that are declared here."""

    _model: Module
    _objective: Loss
    _optimizer: Optimizer
    _seed: int
    _clip_grad_value: float | None
    _clip_grad_norm: float | None
    _accumulation_steps: int
    _average: Averaging | None
    _augment: Augment | None

    def _compile(self, schedule: Schedule | None) -> None:
        """Make all that lives in the core."""
        model, augment = self._model, self._augment
        self._lowered = model._network()
        dtype = self._lowered.dtype
        self._lowered_loss = LoweredLoss()
        self._augmentation = None if augment is None else augment._lower(dtype)
        self._state = OptimizerState(
            self._optimizer,
            [name for name, _ in model.named_parameters()],
            model.parameters(),
            averaged={name: a for name, a in model._named_state() if a.dtype.kind == "f"},
            schedule=schedule,
            averaging=self._average,
            clip_value=self._clip_grad_value or math.inf,
            clip_norm=self._clip_grad_norm or math.inf,
            accumulate=self._accumulation_steps,
        )
        make: Any = _core.TrainingF32 if dtype == np.float32 else _core.TrainingF64
        self._training = make(self._state.core, self._seed, self._augmentation)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which go on with the same bits."""
        if self._state.core.averages_in_place:
            raise RuntimeError("copy: not inside averaged_weights()")
        state = self._state
        kept = {name: value for name, value in vars(self).items() if name not in _IN_CORE}
        return kept | {
            "_fitting": None,
            "_state": (state.schedule, state.counters, state.arrays()),
            "steps": self.steps,
        }

    def __setstate__(self, kept: dict[str, Any]) -> None:
        schedule, counters, arrays = kept.pop("_state")
        steps = kept.pop("steps")
        vars(self).update(kept)
        self._compile(schedule)
        self.steps = steps
        self._state.restore(counters, arrays)

    @property
    def _network(self) -> CompiledNetwork:
        """The model in the engine: another one once an option of a layer has changed."""
        network = self._lowered
        if network.last_change is not module._last_change:
            network = self._lowered = self._model._network()
        return network

    @property
    def steps(self) -> int:
        """Batches trained on."""
        return int(self._training.steps)

    @steps.setter
    def steps(self, steps: int) -> None:
        self._training.steps = as_int(steps, "steps", 0, COUNTLESS)

    def _evaluate(self, samples: Samples) -> tuple[float, float]:
        loss = self._loss(samples)
        result = samples.network.net.evaluate(
            samples.images,
            samples.targets,
            _EVALUATION_BATCH,
            loss,
            samples.weights,
            self._augmentation,
        )
        return result.loss, samples.share(result.correct, self._objective)

    def _loss(self, samples: Samples) -> Any:
        """The engine's loss of the outputs for such samples."""
        network = samples.network
        shape = network.output_shape(samples.images)[1:]
        return self._lowered_loss(self._objective, network.dtype, shape)
