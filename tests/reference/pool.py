"""Pooling window by window, in float64, for inputs of shape (N, C, *extents)."""

from __future__ import annotations

import itertools

import numpy as np


def extent(size, kernel, stride, padding, dilation, ceil_mode):
    """Count the windows that fit; in ceil mode also one that starts early enough."""
    reach = dilation * (kernel - 1) + 1
    starts = np.arange(-padding, size + padding, stride)
    inside = starts + reach <= size + padding
    if not ceil_mode:
        return int(inside.sum())
    # Up to the first window that covers the end of the padded input.
    covered = np.flatnonzero(starts + reach >= size + padding)
    count = covered[0] + 1 if len(covered) else len(starts)
    return int((starts[:count] < size).sum())


def windows(shape, kernel, stride, padding, dilation, ceil_mode):
    """Yield (place, pixels): each window's pixels per axis, those outside included."""
    axes = []
    for axis, size in enumerate(shape[2:]):
        options = [option[axis] for option in (kernel, stride, padding, dilation)]
        count = extent(size, *options, ceil_mode)
        taps = np.arange(kernel[axis]) * dilation[axis]
        axes.append([o * stride[axis] - padding[axis] + taps for o in range(count)])
    yield from products(axes)


def parts(shape, output_size):
    """Yield (place, pixels) of adaptive pooling."""
    yield from products(
        [np.arange(o * size // count, -(-(o + 1) * size // count)) for o in range(count)]
        for size, count in zip(shape[2:], output_size, strict=True)
    )


def products(axes):
    axes = list(axes)
    for place in np.ndindex(*map(len, axes)):
        yield place, [axis[o] for axis, o in zip(axes, place, strict=True)]


def within(pixels, size):
    return pixels[(pixels >= 0) & (pixels < size)]


def output_shape(shape, *window):
    last = list(windows(shape, *window))[-1][0]
    return (*shape[:2], *(o + 1 for o in last))


def _largest(x, all_windows, shape):
    """The maxima and their flat pixel index: the first, or the last NaN."""
    y, indices = np.empty(shape), np.empty(shape, np.int64)
    for place, pixels in all_windows:
        inner = [within(p, size) for p, size in zip(pixels, x.shape[2:], strict=True)]
        for sample in np.ndindex(x.shape[:2]):
            best, where = -np.inf, -1
            for pixel in itertools.product(*inner):
                value = x[(*sample, *pixel)]
                if where < 0 or value > best or np.isnan(value):
                    best, where = value, np.ravel_multi_index(pixel, x.shape[2:])
            y[(*sample, *place)], indices[(*sample, *place)] = best, where
    return y, indices


def max_pool(x, *window):
    return _largest(x, windows(x.shape, *window), output_shape(x.shape, *window))


def adaptive_max_pool(x, output_size):
    return _largest(x, parts(x.shape, output_size), (*x.shape[:2], *output_size))


def _to_largest(dy, x, indices):
    dx = np.zeros((*x.shape[:2], int(np.prod(x.shape[2:]))))
    for at in np.ndindex(dy.shape):
        if indices[at] >= 0:
            dx[(*at[:2], indices[at])] += dy[at]
    return dx.reshape(x.shape)


def max_pool_backward(dy, x, *window):
    return _to_largest(dy, x, max_pool(x, *window)[1])


def adaptive_max_pool_backward(dy, x, output_size):
    return _to_largest(dy, x, adaptive_max_pool(x, output_size)[1])


def weights(shape, window, count_include_pad, divisor_override):
    """Yield (place, index of the pixels within the input, 1 / divisor)."""
    padding = window[2]
    for place, pixels in windows(shape, *window):
        inner = [within(p, size) for p, size in zip(pixels, shape[2:], strict=True)]
        if divisor_override is not None:
            divisor = divisor_override
        elif count_include_pad:
            padded = zip(pixels, shape[2:], padding, strict=True)
            divisor = np.prod([(p < size + pad).sum() for p, size, pad in padded])
        else:
            divisor = np.prod([len(p) for p in inner])
        yield place, np.ix_(*map(range, shape[:2]), *inner), 1 / divisor


def _mean(x, weighted, shape):
    y = np.empty(shape)
    axes = tuple(range(2, x.ndim))
    for place, index, weight in weighted:
        y[(slice(None), slice(None), *place)] = x[index].astype(float).sum(axes) * weight
    return y


def _spread(dy, shape, weighted):
    dx = np.zeros(shape)
    for place, index, weight in weighted:
        share = dy[(slice(None), slice(None), *place)] * weight
        dx[index] += share[(..., *[None] * (len(shape) - 2))]
    return dx


def avg_pool(x, *window, count_include_pad=True, divisor_override=None):
    weighted = weights(x.shape, window, count_include_pad, divisor_override)
    return _mean(x, weighted, output_shape(x.shape, *window))


def avg_pool_backward(dy, x, *window, count_include_pad=True, divisor_override=None):
    return _spread(dy, x.shape, weights(x.shape, window, count_include_pad, divisor_override))


def _parts_weights(shape, output_size):
    for place, pixels in parts(shape, output_size):
        yield place, np.ix_(*map(range, shape[:2]), *pixels), 1 / np.prod([len(p) for p in pixels])


def adaptive_avg_pool(x, output_size):
    return _mean(x, _parts_weights(x.shape, output_size), (*x.shape[:2], *output_size))


def adaptive_avg_pool_backward(dy, x, output_size):
    return _spread(dy, x.shape, _parts_weights(x.shape, output_size))
