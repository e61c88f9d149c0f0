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


def smooth_l1(x, t, beta=1.0):
    d = np.abs(x - t)
    return np.where(d < beta, d**2 / (2 * (beta or 1)), d - beta / 2)


def huber(x, t, delta=1.0):
    d = np.abs(x - t)
    return np.where(d < delta, d**2 / 2, delta * (d - delta / 2))


def softplus(x):
    return np.logaddexp(0, x)


def bce(x, t):
    return -(t * np.log(x) + (1 - t) * np.log1p(-x))


def bce_with_logits(x, t, pos_weight=1.0):
    return pos_weight * t * softplus(-x) + (1 - t) * softplus(x)


def kl_div(x, t, log_target=False):
    return np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)


def poisson_nll(x, t, log_input=True, full=False, eps=1e-8):
    loss = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    stirling = t * np.log(t) - t + np.log(2 * np.pi * t) / 2
    return loss + np.where(t > 1, stirling, 0) if full else loss


def gaussian_nll(x, t, var, full=False, eps=1e-6):
    var = np.maximum(var, eps)
    return (np.log(var) + (x - t) ** 2 / var + (np.log(2 * np.pi) if full else 0)) / 2


def hinge_embedding(x, t, margin=1.0):
    return np.where(t == 1, x, np.maximum(0, margin - x))


def soft_margin(x, t):
    return softplus(-t * x)


def multi_margin(x, labels, weight, p=1, margin=1.0):
    """Each row's loss."""
    losses = np.zeros(len(x))
    for i, label in enumerate(labels):
        for c in range(x.shape[1]):
            if c != label:
                losses[i] += weight[label] * max(0, margin - x[i, label] + x[i, c]) ** p
    return losses / x.shape[1]


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
