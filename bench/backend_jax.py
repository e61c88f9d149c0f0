"""The cases in JAX, compiled by `jit`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case, layer_arrays, step_arrays

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from jax import lax
from jax import numpy as jnp

version = f"JAX {jax.__version__}"
Params = list[Any]


def set_threads(threads: int) -> None:
    """XLA takes as many threads as the process may use CPUs."""


def _conv(x: Any, weight: Any, stride: int, padding: int, groups: int = 1) -> Any:
    sides = [(padding, padding)] * 2
    return lax.conv_general_dilated(
        x, weight, (stride, stride), sides, feature_group_count=groups,
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )  # fmt: skip


def _block_layers(channels: int, filters: int, stride: int) -> tuple[list[Any], list[Any]]:
    body = [
        ["conv", channels, filters, 3, stride, 1, False], ["batch_norm", filters], ["relu"],
        ["conv", filters, filters, 3, 1, 1, False], ["batch_norm", filters],
    ]  # fmt: skip
    shortcut = [["conv", channels, filters, 1, stride, 0, False], ["batch_norm", filters]]
    return body, shortcut if channels != filters else []


def _parameters(layer: list[Any], rng: np.random.Generator) -> Any:
    kind, *sizes = layer
    if kind in ("conv", "linear"):
        channels, filters = sizes[:2]
        shape = (filters, channels, *([sizes[2]] * 2 if kind == "conv" else []))
        scale = np.float32(np.prod(shape[1:]) ** -0.5)
        weight = rng.uniform(-scale, scale, shape).astype(np.float32)
        return {"weight": weight} | (
            {} if len(sizes) > 5 else {"bias": np.zeros(filters, np.float32)}
        )
    if kind == "batch_norm":
        return {"weight": np.ones(sizes[0], np.float32), "bias": np.zeros(sizes[0], np.float32)}
    if kind == "block":
        return [[_parameters(part, rng) for part in branch] for branch in _block_layers(*sizes)]
    return {}


def _apply(layer: list[Any], p: Any, x: Any) -> Any:
    kind, *sizes = layer
    if kind == "conv":
        y = _conv(x, p["weight"], *sizes[3:5])
        return y + p["bias"][:, None, None] if "bias" in p else y
    if kind == "linear":
        return x @ p["weight"].T + p["bias"]
    if kind == "relu":
        return jax.nn.relu(x)
    if kind == "flatten":
        return x.reshape(len(x), -1)
    if kind in ("max_pool", "avg_pool"):
        window = (1, 1, sizes[0], sizes[0])
        if kind == "max_pool":
            return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / sizes[0] ** 2
    if kind == "batch_norm":
        mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        scale = p["weight"][:, None, None] * lax.rsqrt(var + 1e-5)
        return (x - mean) * scale + p["bias"][:, None, None]
    body, shortcut = (
        _network(layers, parts, x)
        for layers, parts in zip(_block_layers(*sizes), p, strict=True)
    )  # fmt: skip
    return jax.nn.relu(body + shortcut)


def _network(layers: list[Any], params: Params, x: Any) -> Any:
    for layer, p in zip(layers, params, strict=True):
        x = _apply(layer, p, x)
    return x


def _step(case: Case) -> Callable[[], object]:
    images, labels = (jnp.asarray(a) for a in step_arrays(case))
    rng = np.random.default_rng(0)
    params = jax.tree.map(jnp.asarray, [_parameters(layer, rng) for layer in case["layers"]])

    def loss(params: Params) -> Any:
        log_p = jax.nn.log_softmax(_network(case["layers"], params, images))
        return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()

    @jax.jit
    def step(params: Params, buffers: Params) -> Any:
        value, grads = jax.value_and_grad(loss)(params)
        buffers = jax.tree.map(lambda b, g: 0.9 * b + g, buffers, grads)
        return value, jax.tree.map(lambda p, b: p - 1e-3 * b, params, buffers), buffers

    state = [params, jax.tree.map(jnp.zeros_like, params)]

    def run() -> float:
        value, *state[:] = step(*state)
        return float(value)

    return run


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] == "step":
        return _step(case)
    if case["kind"] not in ("conv2d", "linear"):
        return None
    x, weight, bias, grad = (jnp.asarray(a) for a in layer_arrays(case))

    def layer(x: Any, weight: Any, bias: Any) -> Any:
        if case["kind"] == "linear":
            return x @ weight.T + bias
        y = _conv(x, weight, case["stride"], case["padding"], case["groups"])
        return y + bias[:, None, None]

    if case["direction"] == "forward":
        forward = jax.jit(layer)
        return lambda: forward(x, weight, bias).block_until_ready()
    backward = jax.jit(lambda x, w, b, g: jax.vjp(layer, x, w, b)[1](g))
    return lambda: jax.block_until_ready(backward(x, weight, bias, grad))
