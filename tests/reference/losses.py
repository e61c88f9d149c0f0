"""Losses as their formulas stand, in float64: of each value, or of each row of class scores."""

import numpy as np


def reduce(losses, reduction, divisor=None):
    if reduction == "none":
        return losses
    total = np.sum(losses)
    return total if reduction == "sum" else total / (losses.size if divisor is None else divisor)


def squared(x, t):
    return (x - t) ** 2


def absolute(x, t):
    return np.abs(x - t)


def softplus(x):
    return np.logaddexp(0, x)


def bce(x, t):
    return -(t * np.log(x) + (1 - t) * np.log1p(-x))


def bce_with_logits(x, t, pos_weight=1.0):
    return pos_weight * t * softplus(-x) + (1 - t) * softplus(x)


def log_softmax(x):
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def nll(x, labels, weight, ignore_index=-100):
    """Each row's loss, and the sum of the weights of those that count."""
    losses, total = np.zeros(labels.shape), 0.0
    for at in np.ndindex(labels.shape):
        label = labels[at]
        if label != ignore_index:
            losses[at] = -weight[label] * x[(at[0], label, *at[1:])]
            total += weight[label]
    return losses, total


def cross_entropy(x, labels, weight, ignore_index=-100, smoothing=0.0):
    y = log_softmax(x)
    losses, total = nll(y, labels, weight, ignore_index)
    spread = -np.tensordot(weight, y, axes=(0, 1)) / x.shape[1]
    spread = np.where(labels == ignore_index, 0, spread)
    return (1 - smoothing) * losses + smoothing * spread, total


def cross_entropy_probabilities(x, target, weight, smoothing=0.0):
    target = (1 - smoothing) * target + smoothing / x.shape[1]
    return -np.tensordot(weight, target * log_softmax(x), axes=(0, 1))


def sgd(p, g, buffer, lr, momentum, dampening, weight_decay, nesterov, maximize):
    """The new parameter and buffer; a buffer of None is new."""
    g = (-g if maximize else g) + weight_decay * p
    if momentum:
        buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
        g = g + momentum * buffer if nesterov else buffer
    return p - lr * g, buffer
