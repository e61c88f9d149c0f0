"""Every operation of `piste.functional`: on arrays that caches hold and on arrays in memory.

Convolutions and linear layers of all kinds are in `shapes/layers.json` and `shapes/grid.json`; here
they stand once, for their number of axes.

An operation's `training` is what a step does with it: forward so that gradients can follow, then
the gradients of all arrays that have some.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from cases import Case

SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "cache": {
        "images": (8, 32, 20, 20),
        "series": (16, 32, 200),
        "volumes": (2, 16, 12, 16, 16),
        "rows": (256, 400),
    },
    "memory": {
        "images": (32, 64, 56, 56),
        "series": (64, 64, 1568),
        "volumes": (8, 64, 16, 28, 28),
        "rows": (8192, 600),
    },
}
AXES = {"series": 1, "images": 2, "volumes": 3}
ACTIVATIONS = (
    *("relu", "relu6", "hardtanh", "threshold", "leaky_relu", "sigmoid", "tanh", "hardsigmoid"),
    *("hardswish", "softsign", "tanhshrink", "elu", "selu", "celu", "gelu", "silu", "mish"),
    *("softplus", "logsigmoid"),
)
LOSSES: dict[str, tuple[str, ...]] = {
    "mse_loss": ("normal", "normal"),
    "l1_loss": ("normal", "normal"),
    "smooth_l1_loss": ("normal", "normal"),
    "huber_loss": ("normal", "normal"),
    "binary_cross_entropy": ("share", "share"),
    "binary_cross_entropy_with_logits": ("normal", "share"),
    "kl_div": ("normal", "share"),
    "poisson_nll_loss": ("normal", "share"),
    "gaussian_nll_loss": ("normal", "normal", "share"),
    "hinge_embedding_loss": ("normal", "sign"),
    "soft_margin_loss": ("normal", "sign"),
    "multi_margin_loss": ("normal", "labels"),
    "cross_entropy": ("normal", "labels"),
    "nll_loss": ("normal", "labels"),
}
Call = tuple[str, str, tuple[str, ...], dict[str, Any]]  # operation, shape, arrays, options


def _calls() -> list[Call]:
    calls: list[Call] = [
        (op, "images", ("normal",), {"threshold": 0.1, "value": 0.0} if op == "threshold" else {})
        for op in ACTIVATIONS
    ]
    calls += [
        ("prelu", "images", ("normal", "channels"), {}),
        ("softmax", "rows", ("normal",), {"dim": 1}),
        ("log_softmax", "rows", ("normal",), {"dim": 1}),
        ("softmax", "images", ("normal",), {"dim": 1}),
        (
            "batch_norm",
            "images",
            ("normal", "mean", "var", "channels", "channels"),
            {"training": True},
        ),
        ("batch_norm", "images", ("normal", "mean", "var", "channels", "channels"), {}),
        ("layer_norm", "rows", ("normal", "last", "channels", "channels"), {}),
        ("group_norm", "images", ("normal", "groups", "channels", "channels"), {}),
        ("instance_norm", "images", ("normal",), {}),
        ("local_response_norm", "images", ("normal",), {"size": 5}),
    ]
    for shape, axes in AXES.items():
        calls += [
            (f"max_pool{axes}d", shape, ("normal",), {"kernel_size": 2}),
            (f"max_pool{axes}d", shape, ("normal",), {"kernel_size": 3, "stride": 2, "padding": 1}),
            (f"avg_pool{axes}d", shape, ("normal",), {"kernel_size": 2}),
            (f"avg_pool{axes}d", shape, ("normal",), {"kernel_size": 3, "stride": 2, "padding": 1}),
            (f"adaptive_avg_pool{axes}d", shape, ("normal",), {"output_size": 1}),
            (f"adaptive_avg_pool{axes}d", shape, ("normal",), {"output_size": 7}),
            (f"adaptive_max_pool{axes}d", shape, ("normal",), {"output_size": 7}),
            (f"conv{axes}d", shape, ("normal", "kernels", "filters"), {"padding": 1}),
            (
                f"conv_transpose{axes}d",
                shape,
                ("normal", "kernels", "filters"),
                {"stride": 2, "padding": 1},
            ),
        ]
    calls.append(("linear", "rows", ("normal", "square", "filters"), {}))
    calls += [(op, "rows", arrays, {}) for op, arrays in LOSSES.items()]
    return calls


def _name(call: Call, size: str, direction: str) -> str:
    op, shape, _, options = call
    given = " ".join(f"{name} {value}" for name, value in options.items())
    return " ".join(part for part in (op, shape, given, size, direction) if part)


def op_cases() -> list[Case]:
    """Every call on both sizes, forward and in training."""
    return [
        {
            "kind": "op",
            "name": _name(call, size, direction),
            "call": number,
            "input": SIZES[size][call[1]],
            "direction": direction,
        }
        for number, call in enumerate(_calls())
        for size in SIZES
        for direction in ("forward", "training")
    ]


def op_bytes(case: Case, results: list[int]) -> int:
    """What a call has to move at least, with so many values in each of its results.

    Each array that it is given is read once, or in training once by either pass; the output's
    gradient is read and each result written. Nothing is counted for operations that do more
    arithmetic than that takes, nor for a loss that looks at one value of each row.
    """
    op, _, kinds, _ = _calls()[case["call"]]
    if op.startswith(("conv", "linear", "nll")):
        return 0
    size, channels = math.prod(case["input"]), case["input"][1]
    whole = ("normal", "share", "sign")
    read = sum(4 * size if kind in whole else 4 * channels for kind in kinds if kind != "labels")
    if case["direction"] == "training":
        read = 2 * read + 4 * results[0]
    return read + 4 * sum(results)


def _array(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    channels, axes = shape[1], len(shape) - 2
    if kind == "last":
        return [shape[-1]]
    if kind == "groups":
        return 8
    if kind == "labels":
        return rng.integers(0, channels, shape[0])
    if kind == "sign":
        return np.sign(rng.standard_normal(shape, np.float32))
    if kind == "share":
        return 0.05 + 0.9 * rng.random(shape, np.float32)
    if kind == "var":
        return 1 + rng.random(channels, np.float32)
    sizes = {
        "normal": shape,
        "kernels": (channels, channels, *(3,) * axes),
        "square": (channels, channels),
    }
    values = rng.standard_normal(sizes.get(kind, (channels,)), np.float32)
    if kind in ("kernels", "square"):
        values /= np.float32(math.sqrt(values[0].size))
    return values


def op_call(case: Case) -> tuple[str, list[Any], dict[str, Any], list[int]]:
    """The operation, its arguments, its options, and which arguments get a gradient."""
    op, _, kinds, options = _calls()[case["call"]]
    rng = np.random.default_rng(0)
    arguments = [_array(kind, tuple(case["input"]), rng) for kind in kinds]
    constant = ("labels", "sign", "mean", "var", "last", "groups")
    return op, arguments, options, [i for i, kind in enumerate(kinds) if kind not in constant]


def op_gradient(shape: tuple[int, ...]) -> np.ndarray:
    """What comes back to an output of this shape."""
    return np.random.default_rng(1).standard_normal(shape, np.float32)
