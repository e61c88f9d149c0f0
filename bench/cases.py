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


def flops(case: Case) -> int:
    """Flops of the direct method, two per multiply-add; 0 for a whole step."""
    if case["kind"] == "step":
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
