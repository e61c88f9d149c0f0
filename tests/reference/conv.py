"""Convolution over any number of axes, forward and backward, one kernel position at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Pads = Sequence[tuple[int, int]]


def conv(x, weight, bias, stride, pads: Pads, dilation, groups, grad_output=None):
    """The output; with ``grad_output``, the gradients (dx, dweight, dbias) instead."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    (samples, channels), (filters, _, *kernel) = x.shape[:2], weight.shape
    out = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(padded.shape[2:], kernel, stride, dilation, strict=True)
    ]

    def by_group(array, of_group):  # (groups, channels or filters of a group, samples, ...)
        return np.moveaxis(array, 0, 1).reshape(groups, of_group, samples, *array.shape[2:])

    def by_sample(array, planes):
        return np.moveaxis(array.reshape(planes, samples, *array.shape[3:]), 0, 1)

    shape = (groups, filters // groups, channels // groups, *kernel)
    w, source = weight.reshape(shape), by_group(padded, shape[2])
    y = np.zeros((groups, shape[1], samples, *out))
    pixels = y[0, 0].size
    dy = None if grad_output is None else by_group(np.asarray(grad_output, np.float64), shape[1])
    dsource, dw = np.zeros_like(source), np.zeros_like(w)
    for tap in np.ndindex(*kernel):
        # What this position of the kernel reads for all outputs.
        read = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, s, n in zip(tap, dilation, stride, out, strict=True)
        )
        inputs, weights = source[(..., *read)], w[(..., *tap)]
        rows = inputs.reshape(groups, shape[2], pixels)
        if dy is None:
            y += (weights @ rows).reshape(y.shape)
            continue
        grads = dy.reshape(groups, shape[1], pixels)
        dw[(..., *tap)] = grads @ rows.swapaxes(1, 2)
        dsource[(..., *read)] += (weights.swapaxes(1, 2) @ grads).reshape(inputs.shape)
    if dy is None:
        y = by_sample(y, filters)
        return y if bias is None else y + np.reshape(bias, (-1, *[1] * len(out)))
    inner = tuple(slice(a, a + n) for (a, _), n in zip(pads, x.shape[2:], strict=True))
    dbias = dy.sum(axis=tuple(range(2, dy.ndim))).reshape(filters)
    return by_sample(dsource, channels)[(..., *inner)], dw.reshape(weight.shape), dbias
