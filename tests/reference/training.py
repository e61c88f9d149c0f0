"""Small trainings, and what the formulas make of them."""

import numpy as np
from piste import nn

from . import optim
from .threads import on_each

N, FEATURES, OUTPUTS = 12, 33, 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, N, FEATURES))
Y = RNG.standard_normal((200, N, OUTPUTS))
WEIGHT, BIAS = RNG.standard_normal((OUTPUTS, FEATURES)) / 4, RNG.standard_normal(OUTPUTS) / 4


def linear(dtype=np.float64):
    model = nn.Sequential(nn.Linear(FEATURES, OUTPUTS, dtype=dtype))
    model[0].weight, model[0].bias = WEIGHT, BIAS
    return model


def gradients(p, i):
    """Of the mean squared error of batch i."""
    slope = 2 * (X[i] @ p[0].T + p[1] - Y[i]) / Y[i].size
    return slope.T @ X[i], slope.sum(axis=0)


def arguments(optimizer):
    return {name: getattr(optimizer, name) for name in optimizer._names}


def follow(optimizer, steps=200, change=lambda g: g, options=None):
    """The reference's parameters after each step."""
    rule = optim.STEPS[type(optimizer).__name__]
    options = options or arguments(optimizer)
    p = [WEIGHT, BIAS]
    states = [optim.start(a, options.get("initial_accumulator_value", 0)) for a in p]
    path = []
    for i in range(steps):
        g = change(gradients(p, i))
        p = [rule(a, b, s, **options) for a, b, s in zip(p, g, states, strict=True)]
        path.append(p)
    return path


def network(dtype=np.float32):
    nn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, dtype=dtype), nn.BatchNorm2d(6, dtype=dtype), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten(), nn.Linear(96, 300, dtype=dtype),
        nn.ReLU(), nn.Linear(300, 10, dtype=dtype),
    )  # fmt: skip


IMAGES = RNG.integers(0, 256, (90, 8, 8), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 90)


def everything(trainer):
    return {**trainer.model.state_dict(), **trainer._state.arrays()}


def same(a, b):
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


def same_on_any_threads(make):
    """The trainers that `make()` gives end alike, on 1 to 8 threads."""

    def train():
        trainer = make()
        trainer.fit(IMAGES, LABELS, epochs=2, batch_size=19)
        return everything(trainer)

    first, *others = on_each(train)
    for result in others:
        same(result, first)
