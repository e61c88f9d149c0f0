"""The cases in MLX on its CPU device; steps compiled by mx.compile."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from cases import Case, layer_arrays, step_arrays
from mlx import optimizers

version = f"MLX {mx.__version__}"


def set_threads(threads: int) -> None:
    """MLX takes what the affinity grants."""
    mx.set_default_device(mx.cpu)
    if hasattr(os, "sched_getaffinity"):
        assert len(os.sched_getaffinity(0)) <= threads


class _Flatten(nn.Module):
    def __call__(self, x: mx.array) -> mx.array:
        return x.reshape(len(x), -1)


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
        self.shortcut = nn.Identity()
        if channels != filters:
            conv = nn.Conv2d(channels, filters, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm(filters))

    def __call__(self, x: mx.array) -> mx.array:
        return nn.relu(self.body(x) + self.shortcut(x))


def _layer(kind: str, *sizes: Any) -> nn.Module:
    if kind == "conv":
        channels, filters, kernel, stride, padding, *bias = sizes
        return nn.Conv2d(channels, filters, kernel, stride, padding, bias=not bias)
    makers = {
        "linear": nn.Linear,
        "relu": nn.ReLU,
        "max_pool": nn.MaxPool2d,
        "avg_pool": nn.AvgPool2d,
        "batch_norm": nn.BatchNorm,
        "flatten": _Flatten,
        "block": _Block,
    }
    return makers[kind](*sizes)


def _step(case: Case) -> Callable[[], object]:
    images, labels = step_arrays(case)
    x = mx.array(images.transpose(0, 2, 3, 1) if images.ndim == 4 else images)
    y = mx.array(labels)
    model = nn.Sequential(*(_layer(*layer) for layer in case["layers"]))
    optimizer = optimizers.SGD(1e-3, momentum=0.9)
    loss_and_gradients = nn.value_and_grad(
        model, lambda x, y: nn.losses.cross_entropy(model(x), y, reduction="mean")
    )
    mx.eval(model.parameters())
    optimizer.init(model.trainable_parameters())
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def update(x: mx.array, y: mx.array) -> mx.array:
        loss, gradients = loss_and_gradients(x, y)
        optimizer.update(model, gradients)
        return loss

    def run() -> float:
        loss = update(x, y)
        mx.eval(state, loss)
        return float(loss.item())

    return run


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] == "step":
        return _step(case)
    x, weight, bias, grad = layer_arrays(case)
    if case["kind"] == "linear":

        def layer(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
            return mx.addmm(bias, x, weight.T)
    else:
        x, grad, weight = (a.transpose(0, 2, 3, 1) for a in (x, grad, weight))

        def layer(x: mx.array, weight: mx.array, bias: mx.array) -> mx.array:
            options = (case["stride"], case["padding"], 1, case["groups"])
            return mx.conv2d(x, weight, *options) + bias

    inputs = [mx.array(a) for a in (x, weight, bias)]
    if case["direction"] == "forward":
        return lambda: mx.eval(layer(*inputs))
    dy = mx.array(grad)
    return lambda: mx.eval(mx.vjp(layer, inputs, [dy])[1])
