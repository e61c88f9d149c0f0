"""The cases in MLX, channels last as it has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
from cases import Case, layer_arrays, step_arrays
from mlx import nn, optimizers

version = f"MLX {mx.__version__}"


def set_threads(threads: int) -> None:
    """The environment has set what can be set."""


class _Flatten(nn.Module):
    def __call__(self, x: Any) -> Any:
        return x.reshape(x.shape[0], -1)


class _Block(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1, bias=False),
            nn.BatchNorm(filters),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
            nn.BatchNorm(filters),
        )
        self.shortcut = nn.Sequential()
        if channels != filters:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm(filters)
            )

    def __call__(self, x: Any) -> Any:
        return nn.relu(self.body(x) + self.shortcut(x))


def _layer(kind: str, *sizes: Any) -> nn.Module:
    if kind == "conv":
        channels, filters, kernel, stride, padding, *bias = sizes
        return nn.Conv2d(channels, filters, kernel, stride, padding, bias=not bias)
    makers = {
        "linear": nn.Linear,
        "relu": nn.ReLU,
        "max_pool": lambda size: nn.MaxPool2d(size, size),
        "avg_pool": lambda size: nn.AvgPool2d(size, size),
        "batch_norm": nn.BatchNorm,
        "flatten": _Flatten,
        "block": _Block,
    }
    return makers[kind](*sizes)


def _channels_last(array: np.ndarray) -> Any:
    return mx.array(np.moveaxis(array, 1, -1) if array.ndim == 4 else array)


def _step(case: Case) -> Callable[[], object]:
    images, labels = step_arrays(case)
    x, y = _channels_last(images), mx.array(labels)
    model = nn.Sequential(*(_layer(*layer) for layer in case["layers"]))
    optimizer = optimizers.SGD(1e-3, momentum=0.9)
    compute = nn.value_and_grad(
        model, lambda model, x, y: nn.losses.cross_entropy(model(x), y, reduction="mean")
    )

    def run() -> float:
        loss, grads = compute(model, x, y)
        optimizer.update(model, grads)
        mx.eval(model.parameters(), optimizer.state)
        return float(loss)

    return run


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] == "step":
        return _step(case)
    if case["kind"] not in ("conv2d", "linear"):
        return None
    x, weight, bias, grad = (_channels_last(a) for a in layer_arrays(case))

    def layer(x: Any, weight: Any, bias: Any) -> Any:
        if case["kind"] == "linear":
            return x @ weight.T + bias
        return mx.conv2d(x, weight, case["stride"], case["padding"], 1, case["groups"]) + bias

    def run() -> Any:
        if case["direction"] == "forward":
            result = layer(x, weight, bias)
        else:
            result = mx.vjp(layer, [x, weight, bias], [grad])[1]
        mx.eval(result)
        return result

    return run
