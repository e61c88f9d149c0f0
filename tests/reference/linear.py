"""Linear maps in float64."""

import numpy as np


def linear(x, weight, bias=None):
    """Output value by output value: the dot product of a row and a weight row."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    lead, rows = x.shape[:-1], np.atleast_2d(weight)
    y = np.empty((*lead, len(rows)))
    for k, row in enumerate(rows):
        y[..., k] = (x * row).sum(axis=-1)
    y = y.reshape((*lead, *weight.shape[:-1]))
    return y if bias is None else y + np.asarray(bias, np.float64)


def linear_backward(grad_output, x, weight):
    """Gradients by input, weight and bias: sums over the samples, one at a time."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    dy = np.asarray(grad_output, np.float64)
    dx, dweight = np.zeros(x.shape), np.zeros(weight.shape)
    dbias = np.zeros(weight.shape[:-1])
    for sample in np.ndindex(*x.shape[:-1]):
        dx[sample] = np.tensordot(dy[sample], weight, weight.ndim - 1)
        dweight += np.multiply.outer(dy[sample], x[sample])
        dbias += dy[sample]
    return dx, dweight, dbias
