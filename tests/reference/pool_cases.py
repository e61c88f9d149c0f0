"""Random pools, and what holds of those that take maxima whatever their axes."""

import numpy as np
from hypothesis import strategies as st
from tolerances import DIRECT

from . import pool

seeds = st.integers(0, 2**32 - 1)


@st.composite
def problems(draw, axes, most, dilated):
    """A shape and a window of `axes` axes that pools it; `most` limits what they are drawn from."""
    window = []
    for _ in range(axes):
        kernel = draw(st.integers(1, most["kernel"]))
        dilation = draw(st.integers(1, most["dilation"])) if dilated else 1
        padding = draw(st.integers(0, kernel // 2))
        window.append((kernel, draw(st.integers(1, most["stride"])), padding, dilation))
    ceil_mode = draw(st.booleans())
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, _, p, d in window]
    sizes = [draw(st.integers(size, most["size"])) for size in least]
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, most["channels"])), *sizes)
    return shape, (*zip(*window, strict=True), ceil_mode)


def arrays(seed, dtype, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def scale_of_sums(dy, dx):
    """The root mean square of `dx` had the values of `dy` that add up in it random signs.

    It is that of `dx` itself where each value goes to a pixel of its own, and where several meet
    it does not vanish as they cancel: rounding errors don't, either.
    """
    return float(np.sqrt(np.sum(dy.astype(float) ** 2) / max(dx.size, 1)))


def check_max_pool(forward, backward, dtype, problem, seed, ties):
    shape, window = problem
    x, dy = arrays(seed, dtype, shape, pool.output_shape(shape, *window))
    if ties:
        x = np.round(x)
    expected, expected_indices = pool.max_pool(x, *window)
    y, indices = forward(x, *window, return_indices=True)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    assert (y.dtype, indices.dtype) == (dtype, np.int64)
    np.testing.assert_array_equal(forward(x, *window), expected)
    np.testing.assert_array_equal(forward(x[0], *window), expected[0])
    (dx,) = backward(dy, x, *window)
    DIRECT[np.dtype(dtype)].check(dx, pool.max_pool_backward(dy, x, *window), scale_of_sums(dy, dx))
