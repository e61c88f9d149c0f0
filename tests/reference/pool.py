"""Pooling window by window, in float64, for inputs of shape (N, C, H, W)."""

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
    """Yield (i, j, rows, columns): the pixels of each window, those outside included."""
    axes = []
    for axis in range(2):
        options = [option[axis] for option in (kernel, stride, padding, dilation)]
        count = extent(shape[2 + axis], *options, ceil_mode)
        taps = np.arange(kernel[axis]) * dilation[axis]
        axes.append([o * stride[axis] - padding[axis] + taps for o in range(count)])
    for i, rows in enumerate(axes[0]):
        for j, columns in enumerate(axes[1]):
            yield i, j, rows, columns


def within(pixels, size):
    return pixels[(pixels >= 0) & (pixels < size)]


def output_shape(shape, *window):
    last = list(windows(shape, *window))[-1]
    return (*shape[:2], last[0] + 1, last[1] + 1)


def max_pool2d(x, *window):
    """The maxima and their flat pixel index: the first, or the last NaN."""
    width = x.shape[3]
    y = np.empty(output_shape(x.shape, *window))
    indices = np.empty(y.shape, np.int64)
    for i, j, rows, columns in windows(x.shape, *window):
        rows, columns = within(rows, x.shape[2]), within(columns, width)
        for n, c in np.ndindex(x.shape[:2]):
            best, where = -np.inf, -1
            for r in rows:
                for s in columns:
                    value = x[n, c, r, s]
                    if where < 0 or value > best or np.isnan(value):
                        best, where = value, r * width + s
            y[n, c, i, j], indices[n, c, i, j] = best, where
    return y, indices


def max_pool2d_backward(dy, x, *window):
    _, indices = max_pool2d(x, *window)
    dx = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3]))
    for at in np.ndindex(dy.shape):
        if indices[at] >= 0:
            dx[(*at[:2], indices[at])] += dy[at]
    return dx.reshape(x.shape)


def weights(shape, window, count_include_pad, divisor_override):
    """Yield (i, j, rows, columns, 1 / divisor) with the pixels within the input."""
    padding = window[2]
    for i, j, rows, columns in windows(shape, *window):
        inner = within(rows, shape[2]), within(columns, shape[3])
        if divisor_override is not None:
            divisor = divisor_override
        elif count_include_pad:
            divisor = (rows < shape[2] + padding[0]).sum() * (columns < shape[3] + padding[1]).sum()
        else:
            divisor = len(inner[0]) * len(inner[1])
        yield i, j, *inner, 1 / divisor


def avg_pool2d(x, *window, count_include_pad=True, divisor_override=None):
    y = np.empty(output_shape(x.shape, *window))
    for i, j, rows, columns, weight in weights(
        x.shape, window, count_include_pad, divisor_override
    ):
        y[:, :, i, j] = x[:, :, rows][..., columns].astype(float).sum((2, 3)) * weight
    return y


def avg_pool2d_backward(dy, x, *window, count_include_pad=True, divisor_override=None):
    dx = np.zeros(x.shape)
    for i, j, rows, columns, weight in weights(
        x.shape, window, count_include_pad, divisor_override
    ):
        for r in rows:
            for s in columns:
                dx[:, :, r, s] += dy[:, :, i, j] * weight
    return dx


def parts(size, count):
    return [slice(o * size // count, -(-(o + 1) * size // count)) for o in range(count)]


def adaptive_avg_pool2d(x, output_size):
    y = np.empty((*x.shape[:2], *output_size))
    for i, rows in enumerate(parts(x.shape[2], output_size[0])):
        for j, columns in enumerate(parts(x.shape[3], output_size[1])):
            y[:, :, i, j] = x[:, :, rows, columns].astype(float).mean((2, 3))
    return y


def adaptive_avg_pool2d_backward(dy, x, output_size):
    dx = np.zeros(x.shape)
    for i, rows in enumerate(parts(x.shape[2], output_size[0])):
        for j, columns in enumerate(parts(x.shape[3], output_size[1])):
            part = dx[:, :, rows, columns]
            part += (dy[:, :, i, j] / (part.shape[2] * part.shape[3]))[..., None, None]
    return dx
