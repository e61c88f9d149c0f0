"""Optimisers and schedules in float64, as PyTorch's documentation writes them down."""

import math

import numpy as np

from .losses import sgd


def start(p, initial_accumulator_value=0.0):
    """What a rule keeps for the array p."""
    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg", "buffer")
    state = {name: np.zeros_like(p) for name in names}
    return state | {"t": 0, "sum": np.full_like(p, initial_accumulator_value), "momentum": None}


def step_sgd(p, g, s, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    p, s["momentum"] = sgd(
        p, g, s["momentum"], lr, momentum, dampening, weight_decay, nesterov, maximize
    )
    return p


def step_adam(
    p, g, s, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, maximize=False,
    decoupled=False,
):  # fmt: skip
    s["t"] += 1
    g = -g if maximize else g
    if decoupled:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    s["exp_avg"] = betas[0] * s["exp_avg"] + (1 - betas[0]) * g
    s["exp_avg_sq"] = betas[1] * s["exp_avg_sq"] + (1 - betas[1]) * g**2
    square = s["exp_avg_sq"]
    if amsgrad:
        square = s["max_exp_avg_sq"] = np.maximum(s["max_exp_avg_sq"], square)
    mean = s["exp_avg"] / (1 - betas[0] ** s["t"])
    square = square / (1 - betas[1] ** s["t"])
    return p - lr * mean / (np.sqrt(square) + eps)


def step_adamw(p, g, s, weight_decay=1e-2, **options):
    return step_adam(p, g, s, weight_decay=weight_decay, decoupled=True, **options)


def step_rmsprop(
    p, g, s, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False,
    maximize=False,
):  # fmt: skip
    g = (-g if maximize else g) + weight_decay * p
    square = s["square_avg"] = alpha * s["square_avg"] + (1 - alpha) * g**2
    if centered:
        s["grad_avg"] = alpha * s["grad_avg"] + (1 - alpha) * g
        square = square - s["grad_avg"] ** 2
    s["buffer"] = momentum * s["buffer"] + g / (np.sqrt(np.maximum(square, 0)) + eps)
    return p - lr * s["buffer"]


def step_adagrad(
    p, g, s, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10,
    maximize=False,
):  # fmt: skip
    s["t"] += 1
    g = (-g if maximize else g) + weight_decay * p
    s["sum"] = s["sum"] + g**2
    return p - lr / (1 + (s["t"] - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)


STEPS = {
    "SGD": step_sgd, "Adam": step_adam, "AdamW": step_adamw, "RMSprop": step_rmsprop,
    "Adagrad": step_adagrad,
}  # fmt: skip


def one_cycle(t, max_lr, total, share=0.3, div=25.0, final=1e4, low=0.85, high=0.95):
    """Learning rate and momentum of the two-phase cosine cycle."""
    first, last = share * total - 1, total - 1

    def between(a, b, x):
        return b + (a - b) / 2 * (1 + math.cos(math.pi * x))

    if t <= first:
        x = t / first
        return between(max_lr / div, max_lr, x), between(high, low, x)
    x = (min(t, last) - first) / (last - first)
    return between(max_lr, max_lr / div / final, x), between(low, high, x)


def plateau(values, lr, factor, patience, threshold, cooldown, min_lr):
    """The rate after each value, where less is better."""
    best, bad, cooling, rates = math.inf, 0, 0, []
    for value in values:
        if value < best * (1 - threshold):
            best, bad = value, 0
        else:
            bad += 1
        if cooling:
            cooling, bad = cooling - 1, 0
        if bad > patience:
            lr, cooling, bad = max(lr * factor, min_lr), cooldown, 0
        rates.append(lr)
    return rates
