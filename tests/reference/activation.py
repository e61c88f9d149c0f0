"""Activations as their formulas stand, in float64."""

import math

import numpy as np


def relu(x):
    return np.where(np.isnan(x), x, np.maximum(x, 0))


def relu_backward(dy, x):
    return np.where(x <= 0, 0, dy)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hardtanh(x, min_val=-1.0, max_val=1.0):
    return np.minimum(np.maximum(x, min_val), max_val)


def relu6(x):
    return hardtanh(x, 0, 6)


def leaky_relu(x, negative_slope=0.01):
    return np.where(x > 0, x, negative_slope * x)


def silu(x):
    return x * sigmoid(x)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def selu(x):
    return 1.0507009873554804934 * elu(x, 1.6732632423543772848)


def celu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def gelu(x, approximate="none"):
    if approximate == "tanh":
        return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return x * np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2


def softplus(x, beta=1.0, threshold=20.0):
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def mish(x):
    return x * np.tanh(softplus(x))


def logsigmoid(x):
    return -np.logaddexp(0, -x)


def threshold(x, threshold, value):
    return np.where(x > threshold, x, value)


def hardsigmoid(x):
    return np.clip(x + 3, 0, 6) / 6


def hardswish(x):
    return x * hardsigmoid(x)


def prelu(x, weight):
    weight = np.asarray(weight)
    shape = (-1, *[1] * (x.ndim - 2)) if weight.size != 1 else ()
    return np.where(x > 0, x, weight.reshape(shape) * x)


def softsign(x):
    return x / (1 + np.abs(x))


def tanhshrink(x):
    return x - np.tanh(x)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis):
    return np.log(softmax(x, axis))
