"""Gradients by central differences, in float64."""

import numpy as np


def gradient(f, x, grad_output, step=1e-5):
    """Of ``sum(f(x) * grad_output)`` by each value of `x`."""
    x = np.array(x, np.float64)
    result = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        middle = x[i]
        x[i] = middle + step
        high = np.sum(f(x) * grad_output)
        x[i] = middle - step
        low = np.sum(f(x) * grad_output)
        x[i] = middle
        result[i] = (high - low) / (2 * step)
    return result
