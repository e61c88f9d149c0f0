"""Convolution over any number of axes, forward and backward, one output position at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Pads = Sequence[tuple[int, int]]


def _positions(
    out: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    for position in np.ndindex(*out):
        yield (
            position,
            tuple(
                slice(p * s, p * s + (k - 1) * d + 1, d)
                for p, k, s, d in zip(position, kernel, stride, dilation, strict=True)
            ),
        )


def conv(x, weight, bias, stride, pads: Pads, dilation, groups, grad_output=None):
    """The output; with ``grad_output``, the gradients (dx, dweight, dbias) instead."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    kernel, samples, filters = weight.shape[2:], len(x), len(weight)
    out = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(padded.shape[2:], kernel, stride, dilation, strict=True)
    ]
    y = np.zeros((samples, filters, *out))
    dx, dweight = np.zeros_like(padded), np.zeros_like(weight)
    channels, per_group = weight.shape[1], filters // groups
    for position, window in _positions(out, kernel, stride, dilation):
        for k in range(filters):
            first = k // per_group * channels
            at = (slice(None), slice(first, first + channels), *window)
            patch = padded[at].reshape(samples, weight[k].size)
            if grad_output is None:
                y[(slice(None), k, *position)] = patch @ weight[k].ravel()
                continue
            dy = np.asarray(grad_output, np.float64)[(slice(None), k, *position)]
            dweight[k] += (dy @ patch).reshape(weight[k].shape)
            dx[at] += np.multiply.outer(dy, weight[k])
    if grad_output is None:
        return y if bias is None else y + np.reshape(bias, (-1, *[1] * len(out)))
    inner = tuple(slice(a, a + n) for (a, _), n in zip(pads, x.shape[2:], strict=True))
    axes = (0, *range(2, 2 + len(out)))
    dbias = np.sum(np.asarray(grad_output, np.float64), axis=axes)
    return dx[(slice(None), slice(None), *inner)], dweight, dbias
