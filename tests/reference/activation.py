"""Activations as their formulas stand, in float64."""

import numpy as np


def relu(x):
    return np.where(np.isnan(x), x, np.maximum(x, 0))


def relu_backward(dy, x):
    return np.where(x <= 0, 0, dy)
