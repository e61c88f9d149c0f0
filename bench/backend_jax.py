"""The cases in JAX, each jitted as a whole; images in NHWC, which XLA prefers on CPUs."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case, layer_arrays, step_arrays
from jax import lax

version = f"JAX {jax.__version__}"
Params = Any


def set_threads(threads: int) -> None:
    """XLA takes as many as the affinity grants."""
    if hasattr(os, "sched_getaffinity"):
        assert len(os.sched_getaffinity(0)) <= threads


def _conv(x: jax.Array, weight: jax.Array, stride: int, padding: int, groups: int) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


# ---- networks: make(sizes) gives parameters, apply(parameters, x) the output --------------------


def _pool(x: jax.Array, size: int, kind: str) -> jax.Array:
    window = (1, size, size, 1)
    if kind == "max_pool":
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
    return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / size**2


def _normal(*shape: int) -> jax.Array:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
    return jnp.asarray(values, jnp.float32)


def _batch_norm(parameters: Params, x: jax.Array) -> jax.Array:
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    z = (x - mean) * lax.rsqrt(variance + 1e-5)
    return z * parameters["scale"] + parameters["shift"]


def _make(kind: str, *sizes: Any) -> Params:
    if kind == "conv":
        channels, filters, kernel, _, _, *no_bias = sizes
        weight = {"weight": _normal(kernel, kernel, channels, filters)}
        return weight if no_bias else {**weight, "bias": jnp.zeros(filters)}
    if kind == "linear":
        return {"weight": _normal(*sizes), "bias": jnp.zeros(sizes[1])}
    if kind == "batch_norm":
        return {"scale": jnp.ones(sizes[0]), "shift": jnp.zeros(sizes[0])}
    if kind == "block":
        return [_make(*layer) for layer in _block(*sizes)]
    return None


def _block(channels: int, filters: int, stride: int) -> list[tuple[Any, ...]]:
    shortcut = [("conv", channels, filters, 1, stride, 0, False), ("batch_norm", filters)]
    return [
        ("conv", channels, filters, 3, stride, 1, False),
        ("batch_norm", filters),
        ("relu",),
        ("conv", filters, filters, 3, 1, 1, False),
        ("batch_norm", filters),
        *(shortcut if channels != filters else []),
    ]


def _apply(parameters: Params, x: jax.Array, kind: str, *sizes: Any) -> jax.Array:
    match kind:
        case "conv":
            y = _conv(x, parameters["weight"], sizes[3], sizes[4], 1)
            return y + parameters["bias"] if "bias" in parameters else y
        case "linear":
            return x @ parameters["weight"] + parameters["bias"]
        case "relu":
            return jax.nn.relu(x)
        case "flatten":
            return x.reshape(len(x), -1)
        case "batch_norm":
            return _batch_norm(parameters, x)
        case "block":
            layers = _block(*sizes)
            body = shortcut = x
            for part, layer in zip(parameters[:5], layers[:5], strict=True):
                body = _apply(part, body, *layer)
            for part, layer in zip(parameters[5:], layers[5:], strict=True):
                shortcut = _apply(part, shortcut, *layer)
            return jax.nn.relu(body + shortcut)
        case _:
            return _pool(x, sizes[0], kind)


def _step(case: Case) -> Callable[[], object]:
    images, labels = step_arrays(case)
    if images.ndim == 4:
        images = images.transpose(0, 2, 3, 1)
    x, y, layers = jnp.asarray(images), jnp.asarray(labels), case["layers"]

    def loss_of(parameters: Params) -> jax.Array:
        z = x
        for part, layer in zip(parameters, layers, strict=True):
            z = _apply(part, z, *layer)
        return -jax.nn.log_softmax(z)[jnp.arange(len(y)), y].mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters: Params, momenta: Params) -> tuple[Params, Params, jax.Array]:
        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        momenta = jax.tree.map(lambda m, g: 0.9 * m + g, momenta, gradients)
        return jax.tree.map(lambda p, m: p - 1e-3 * m, parameters, momenta), momenta, loss

    parameters = [_make(*layer) for layer in layers]
    state = [parameters, jax.tree.map(jnp.zeros_like, parameters)]

    def run() -> float:
        state[0], state[1], loss = update(*state)
        jax.block_until_ready(state)
        return float(loss)

    return run


# ---- single layers ------------------------------------------------------------------------------


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] == "step":
        return _step(case)
    x, weight, bias, grad = layer_arrays(case)
    if case["kind"] == "linear":
        weight = weight.T

        def layer(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
            return x @ weight + bias
    else:
        x, grad = x.transpose(0, 2, 3, 1), grad.transpose(0, 2, 3, 1)
        weight = weight.transpose(2, 3, 1, 0)

        def layer(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
            return _conv(x, weight, case["stride"], case["padding"], case["groups"]) + bias

    inputs = [jnp.asarray(a) for a in (x, weight, bias)]
    if case["direction"] == "forward":
        forward = jax.jit(layer)
        return lambda: jax.block_until_ready(forward(*inputs))
    backward = jax.jit(lambda dy, *inputs: jax.vjp(layer, *inputs)[1](dy))
    dy = jnp.asarray(grad)
    return lambda: jax.block_until_ready(backward(dy, *inputs))
