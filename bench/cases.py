"""The cases: shapes from `shapes/`, their arrays and the flops that are counted for them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

Case = dict[str, Any]


def load(name: str) -> list[Case]:
    """The rows of `shapes/<name>.json`."""
    return json.loads((Path(__file__).parent / "shapes" / f"{name}.json").read_text())


def layer_cases(name: str = "layers") -> list[Case]:
    """Every layer of a file twice: forward, and backward with its three gradients."""
    return [
        {**layer, "name": f"{layer['name']} {direction}", "direction": direction}
        for layer in load(name)
        for direction in ("forward", "backward")
    ]


def step_cases() -> list[Case]:
    """Whole training steps."""
    return [{**network, "kind": "step"} for network in load("networks")]


def predict_cases() -> list[Case]:
    """The networks forward, in evaluation mode."""
    return [
        {**network, "name": f"{network['name']} predict", "kind": "predict"}
        for network in load("networks")
    ]


def training_cases() -> list[Case]:
    """Whole trainings, with the layers of their network."""
    layers = {network["name"]: network["layers"] for network in load("networks")}
    return [
        {**training, "kind": "training", "layers": layers[training["network"]]}
        for training in load("trainings")
    ]


def output_shape(case: Case) -> tuple[int, ...]:
    """Shape of a layer's output."""
    if case["kind"] == "linear":
        return case["input"][0], case["filters"]
    n, _, *size = case["input"]
    reach = 2 * case["padding"] - case["kernel"]
    return (n, case["filters"], *((side + reach) // case["stride"] + 1 for side in size))


def weight_shape(case: Case) -> tuple[int, ...]:
    """Shape of a layer's weight."""
    channels = case["input"][1]
    if case["kind"] == "linear":
        return case["filters"], channels
    return case["filters"], channels // case["groups"], case["kernel"], case["kernel"]


def _block_layers(channels: int, filters: int, stride: int) -> list[list[Any]]:
    """The convolutions of a residual block; the first and the last of three read its input."""
    first = ["conv", channels, filters, 3, stride, 1]
    shortcut = [["conv", channels, filters, 1, stride, 0]] if channels != filters else []
    return [first, ["conv", filters, filters, 3, 1, 1], *shortcut]


def _forward_flops(layer: list[Any], shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Flops of one layer of a network, and the shape that it puts out."""
    kind, *sizes = layer
    n, channels, *size = shape
    if kind == "conv":
        _, filters, kernel, stride, padding, *_ = sizes
        size = [(side + 2 * padding - kernel) // stride + 1 for side in size]
        return 2 * n * filters * math.prod(size) * channels * kernel**2, (n, filters, *size)
    if kind == "linear":
        return 2 * n * channels * sizes[1], (n, sizes[1])
    if kind in ("max_pool", "avg_pool"):
        return 0, (n, channels, *(side // sizes[0] for side in size))
    if kind == "flatten":
        return 0, (n, math.prod(shape[1:]))
    if kind == "block":
        first, second, *shortcut = _block_layers(*sizes)
        flops, middle = _forward_flops(first, shape)
        for part, source in ((second, middle), *((part, shape) for part in shortcut)):
            more, out = _forward_flops(part, source)
            flops += more
        return flops, out
    return 0, shape


def _step_flops(case: Case) -> int:
    """Forward; in training gradients by weights and by inputs too, none by the first input."""
    total, shape = 0, tuple(case["input"])
    for layer in case["layers"]:
        forward, shape = _forward_flops(layer, shape)
        passes = 1 if case["kind"] == "predict" else 3 if total else 2
        total += forward * passes
    return total


def flops(case: Case) -> int:
    """Flops of the direct method in convolutions and linear layers, two per multiply-add."""
    if case["kind"] in ("step", "predict"):
        return _step_flops(case)
    if case["kind"] == "op":
        return 0
    forward = 2 * math.prod(output_shape(case)) * math.prod(weight_shape(case)[1:])
    return forward if case["direction"] == "forward" else 2 * forward


def layer_arrays(case: Case) -> tuple[np.ndarray, ...]:
    """Input, weight, bias and output gradient; outputs have a variance near 1."""
    rng = np.random.default_rng(0)
    shapes = (case["input"], weight_shape(case), (case["filters"],), output_shape(case))
    dtype = np.dtype(case.get("dtype", "float32"))
    x, weight, bias, grad = (rng.standard_normal(shape, dtype) for shape in shapes)
    return x, weight / dtype.type(math.sqrt(math.prod(weight.shape[1:]))), bias, grad


def step_arrays(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case["input"], np.float32)
    return x, rng.integers(0, case["classes"], len(x))


def model_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Values for the arrays of a model, by the names of a state_dict: the same in every system.

    They depend on the order of the arrays alone, and keep activations at a variance near 1.
    """
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            continue
        values = rng.standard_normal(shape, np.float32)
        if len(shape) > 1:
            values *= np.float32(math.sqrt(2 / math.prod(shape[1:])))
        elif name.endswith("running_var"):
            values = 1 + values**2
        elif name.endswith("weight"):  # of a norm
            values = 1 + values / 10
        else:
            values /= 10
        state[name] = values
    return state


Images = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def images(path: str | None) -> Images:
    """70,000 images of 28x28 bytes and their labels: to train on, then 10,000 held out.

    Without a file of them they are patterns in noise.
    """
    if path:
        with np.load(path) as file:
            x, y, x_test, y_test = (file[k] for k in ("x_train", "y_train", "x_test", "y_test"))
        return x, y.astype(np.int64), x_test, y_test.astype(np.int64)
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 64, (10, 28, 28), np.uint8)
    y = rng.integers(0, 10, 70_000)
    x = patterns[y] + rng.integers(0, 192, (len(y), 28, 28), np.uint8)
    return x[:60_000], y[:60_000], x[60_000:], y[60_000:]


def training_arrays(case: Case) -> Images:
    """`images`, as many as the training takes, as its network takes them."""
    x, y, x_test, y_test = images(case["data"])
    shape = (-1, 784) if case["layers"][0][0] == "linear" else (-1, 1, 28, 28)
    count = case["samples"]
    return x[:count].reshape(shape), y[:count], x_test.reshape(shape), y_test
