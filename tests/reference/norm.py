"""Batch norm in float64, straight from its definition."""

from __future__ import annotations

import numpy as np


def batch_norm(x, mean, var, weight, bias, training, momentum, eps):
    """The output and the running mean and variance after it."""
    x = np.asarray(x, np.float64)
    axes, columns = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    used_mean, used_var = mean, var
    if training:
        used_mean, used_var = x.mean(axis=axes), x.var(axis=axes)
        mean = (1 - momentum) * mean + momentum * used_mean
        var = (1 - momentum) * var + momentum * x.var(axis=axes, ddof=1)
    z = (x - np.reshape(used_mean, columns)) / np.sqrt(np.reshape(used_var, columns) + eps)
    return z * np.reshape(weight, columns) + np.reshape(bias, columns), mean, var
