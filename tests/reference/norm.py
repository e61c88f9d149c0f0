"""Normalisations in float64, straight from their definitions."""

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


def layer_norm(x, shape, weight=1.0, bias=0.0, eps=1e-5):
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    z = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return z * weight + bias


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    channels, columns = x.shape[1], (-1, *[1] * (x.ndim - 2))
    weight = np.ones(channels) if weight is None else weight
    bias = np.zeros(channels) if bias is None else bias
    split = x.reshape(len(x), groups, -1)
    z = layer_norm(split, split.shape[-1:], eps=eps).reshape(x.shape)
    return z * np.reshape(weight, columns) + np.reshape(bias, columns)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    y = np.empty(x.shape)
    for channel in range(x.shape[1]):
        first = channel - size // 2
        window = x[:, max(first, 0) : max(first + size, 0)]
        y[:, channel] = x[:, channel] / (k + alpha / size * (window**2).sum(1)) ** beta
    return y
