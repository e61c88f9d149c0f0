"""Pooling over three axes, adaptive maxima, and arrays that are cut into bands."""

import numpy as np
import piste.functional as F
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import pool as reference
from reference.pool_cases import arrays, check_max_pool, problems, scale_of_sums, seeds
from reference.threads import check_same_bits
from tolerances import DIRECT

DTYPES = [np.float32, np.float64]
MOST = {"kernel": 3, "dilation": 2, "stride": 3, "size": 5, "channels": 9}


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40)
@given(problem=problems(3, MOST, dilated=True), seed=seeds, ties=st.booleans())
def test_max_pool3d(dtype, problem, seed, ties):
    check_max_pool(F.max_pool3d, F.max_pool3d_backward, dtype, problem, seed, ties)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_max_pool1d_of_every_width(kernel, stride, dtype):
    # Vectors along the row: full ones, a last one that overlaps, and windows that lack pixels.
    rng = np.random.default_rng(kernel * 10 + stride)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]
    for width in range(kernel, 50):
        x = rng.choice(special, (2, 3, width), p=[0.03, 0.07, 0.3, 0.2, 0.2, 0.2]).astype(dtype)
        for padding in {0, kernel // 2}:
            for ceil_mode in (False, True):
                window = (kernel, stride, padding, 1, ceil_mode)
                y = F.max_pool1d(x, *window)
                expected, _ = reference.max_pool(x, *((v,) for v in window[:4]), ceil_mode)
                np.testing.assert_array_equal(y, expected)
                np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("divisor", [None, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_avg_pool_of_one_row_of_every_width(kernel, stride, divisor, dtype):
    # Windows of two rows that reach into the padding above or below the only one count it, too.
    rng = np.random.default_rng(kernel * 10 + stride)
    for width in (*range(kernel, 21), 31, 33, 36):
        x = rng.standard_normal((2, 3, 1, width)).astype(dtype)
        for height, pad in ((1, 0), (2, 1), (3, 1)):
            for padding in {0, kernel // 2}:
                for ceil_mode, counted in ((False, True), (True, False), (True, True)):
                    window = ((height, kernel), (3, stride), (pad, padding))
                    rule = {"count_include_pad": counted, "divisor_override": divisor}
                    y = F.avg_pool2d(x, *window, ceil_mode, **rule)
                    expected = reference.avg_pool(x, *window, (1, 1), ceil_mode, **rule)
                    DIRECT[np.dtype(dtype)].check(y, expected, 0.1)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40)
@given(
    problem=problems(3, MOST, dilated=False),
    seed=seeds,
    count_include_pad=st.booleans(),
    divisor_override=st.none() | st.integers(1, 9),
)
def test_avg_pool3d(dtype, problem, seed, count_include_pad, divisor_override):
    shape, (kernel, stride, padding, dilation, ceil_mode) = problem
    window, options = (kernel, stride, padding, dilation, ceil_mode), (stride, padding, ceil_mode)
    rule = {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
    x, dy = arrays(seed, dtype, shape, reference.output_shape(shape, *window))
    y = F.avg_pool3d(x, kernel, *options, **rule)
    DIRECT[np.dtype(dtype)].check(y, reference.avg_pool(x, *window, **rule), 0.1)
    np.testing.assert_array_equal(F.avg_pool3d(x[0], kernel, *options, **rule), y[0])
    (dx,) = F.avg_pool3d_backward(dy, x, kernel, *options, **rule)
    DIRECT[np.dtype(dtype)].check(dx, reference.avg_pool_backward(dy, x, *window, **rule), 0.1)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=60)
@given(
    lead=st.tuples(st.integers(1, 2), st.integers(1, 9)),
    extents=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 7)), min_size=1, max_size=3),
    seed=seeds,
)
@example(lead=(1, 1), extents=[(1, 7), (1, 7)], seed=4069)  # one sum of 49, which cancels
def test_adaptive_pools(dtype, lead, extents, seed):
    sizes, outputs = zip(*extents, strict=True)
    x, dy = arrays(seed, dtype, (*lead, *sizes), (*lead, *outputs))
    axes, tolerance = len(sizes), DIRECT[np.dtype(dtype)]
    mean = getattr(F, f"adaptive_avg_pool{axes}d")
    tolerance.check(mean(x, outputs), reference.adaptive_avg_pool(x, outputs), 0.1)
    (dx,) = getattr(F, f"adaptive_avg_pool{axes}d_backward")(dy, x, outputs)
    tolerance.check(dx, reference.adaptive_avg_pool_backward(dy, x, outputs), 0.1)
    largest = getattr(F, f"adaptive_max_pool{axes}d")
    y, indices = largest(x, outputs, True)
    expected, expected_indices = reference.adaptive_max_pool(x, outputs)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_array_equal(largest(x[0], outputs), expected[0])
    (dx,) = getattr(F, f"adaptive_max_pool{axes}d_backward")(dy, x, outputs)
    expected = reference.adaptive_max_pool_backward(dy, x, outputs)
    tolerance.check(dx, expected, scale_of_sums(dy, dx))


# Tall, long and deep volumes, of fewer channels than a vector has lanes and of more.
LARGE = [
    ((2, 3, 301, 203), 3, 2, 1),
    ((1, 9, 160, 130), 2, 2, 0),
    ((1, 1, 70_000), 5, 1, 2),
    ((1, 2, 40_001), 4, 3, 1),
    ((1, 2, 33, 40, 50), 3, 2, 1),
    ((3, 1, 200, 300), 3, 1, 1),
]
POOLS = {
    "max_pool": (3, 2, 1),
    "avg_pool": (3, 2, 1),
    "adaptive_avg_pool": (5,),
    "adaptive_max_pool": (5,),
}


def taps(x_shape, y_shape, kernel, stride, padding):
    """Yield, for each tap of the window, the slices of y and of the padded x that meet."""
    axes = len(x_shape) - 2
    for tap in np.ndindex(*(kernel,) * axes):
        yield tuple(
            slice(t, t + stride * (n - 1) + 1, stride)
            for t, n in zip(tap, y_shape[2:], strict=True)
        )


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), LARGE)
def test_large_volumes(shape, kernel, stride, padding):
    axes = len(shape) - 2
    (x,) = arrays(1, np.float32, shape)
    x = np.round(2 * x) / 2  # ties
    window = (kernel, stride, padding)
    largest, indices = getattr(F, f"max_pool{axes}d")(x, *window, return_indices=True)
    mean = getattr(F, f"avg_pool{axes}d")(x, *window)
    (dy,) = arrays(2, np.float32, largest.shape)
    pads = [(0, 0), (0, 0), *[(padding, padding)] * axes]
    low, zeros = np.pad(x, pads, constant_values=-np.inf), np.pad(x.astype(float), pads)
    expected, sums = np.full(largest.shape, -np.inf), np.zeros(largest.shape)
    spread, gradient = np.zeros(zeros.shape), np.zeros(zeros.shape)
    found = np.zeros(largest.shape, bool)
    for at in taps(shape, largest.shape, kernel, stride, padding):
        expected = np.maximum(expected, low[(..., *at)])
        sums += zeros[(..., *at)]
        spread[(..., *at)] += dy / kernel**axes
    for at in taps(shape, largest.shape, kernel, stride, padding):
        wins = (low[(..., *at)] == expected) & ~found
        gradient[(..., *at)] += np.where(wins, dy, 0)
        found |= wins
    inner = (..., *[slice(padding, padding + n) for n in shape[2:]])
    np.testing.assert_array_equal(largest, expected)
    flat = x.reshape(*shape[:2], -1)
    taken = np.take_along_axis(flat, indices.reshape(*shape[:2], -1), 2)
    np.testing.assert_array_equal(taken.reshape(largest.shape), largest)
    tolerance = DIRECT[np.dtype(np.float32)]
    tolerance.check(mean, sums / kernel**axes, 0.1)
    (dx,) = getattr(F, f"max_pool{axes}d_backward")(dy, x, *window)
    tolerance.check(dx, gradient[inner])
    (dx,) = getattr(F, f"avg_pool{axes}d_backward")(dy, x, *window)
    tolerance.check(dx, spread[inner], 0.1)


@pytest.mark.parametrize("shape", [(2, 5, 9, 300, 40), (1, 3, 900, 70), (40, 30, 8, 8)])
def test_bits_do_not_depend_on_threads(shape):
    axes = len(shape) - 2
    (x,) = arrays(0, np.float32, shape)

    def compute():
        result = []
        for name, options in POOLS.items():
            y = getattr(F, f"{name}{axes}d")(x, *options)
            result += [y, *getattr(F, f"{name}{axes}d_backward")(y, x, *options)]
        return result

    check_same_bits(compute, (1, 2, 5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3, 50, 60), (2, 2, 7), (3, 1, 2, 3, 4)])
def test_the_mean_of_a_whole_volume(shape, dtype):
    axes = len(shape) - 2
    x, dy = arrays(3, dtype, shape, (*shape[:2], *[1] * axes))
    tolerance = DIRECT[np.dtype(dtype)]
    expected = x.mean(tuple(range(2, x.ndim)), dtype=float, keepdims=True)
    tolerance.check(getattr(F, f"adaptive_avg_pool{axes}d")(x, 1), expected, 0.02)
    tolerance.check(getattr(F, f"avg_pool{axes}d")(x, shape[2:]), expected, 0.02)
    (dx,) = getattr(F, f"adaptive_avg_pool{axes}d_backward")(dy, x, 1)
    tolerance.check(dx, np.broadcast_to(dy / np.prod(shape[2:]), shape))


@pytest.mark.parametrize(
    ("size", "shape"),
    [(2, (2, 2, 2)), (None, (4, 8, 6)), ((None, 3, 1), (4, 3, 1)), ([3, 0, None], (3, 0, 6))],
)
def test_adaptive_output_size(size, shape):
    (x,) = arrays(0, np.float64, (2, 3, 4, 8, 6))
    for name in ("adaptive_avg_pool", "adaptive_max_pool"):
        y = getattr(F, name + "3d")(x, size)
        assert y.shape == (2, 3, *shape)
        DIRECT[x.dtype].check(y, np.asarray(_first(getattr(reference, name)(x, shape))))
        (dx,) = getattr(F, name + "3d_backward")(y, x, size)
        DIRECT[x.dtype].check(dx, getattr(reference, name + "_backward")(y, x, shape))


def _first(result):
    return result[0] if isinstance(result, tuple) else result


def test_an_empty_batch_and_other_memory():
    empty = np.ones((0, 3, 4, 4, 4))
    assert F.max_pool3d(empty, 2).shape == (0, 3, 2, 2, 2)
    assert F.adaptive_max_pool3d(empty, 1, True)[1].shape == (0, 3, 1, 1, 1)
    assert F.avg_pool3d_backward(np.ones((0, 3, 2, 2, 2)), empty, 2)[0].shape == empty.shape
    (x,) = arrays(4, np.float64, (6, 5, 4, 3, 2))
    turned = np.ascontiguousarray(x.T).T[:, ::-1]
    expected = F.max_pool3d(np.ascontiguousarray(turned), 2)
    np.testing.assert_array_equal(F.max_pool3d(turned, 2), expected)
    out = np.empty(expected.shape[::-1]).T
    assert F.max_pool3d(turned, 2, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_adaptive_means_and_without_a_batch_maxima_of_no_channels(axes):
    maximum = getattr(F, f"adaptive_max_pool{axes}d")
    mean = getattr(F, f"adaptive_avg_pool{axes}d")
    backward = getattr(F, f"adaptive_avg_pool{axes}d_backward")
    for lead in ((2, 0), (0,)):
        x = np.ones((*lead, *(5,) * axes))
        y = mean(x, 3)
        assert y.shape == (*lead, *(3,) * axes)
        assert backward(y, x, 3)[0].shape == x.shape
        with pytest.raises(ValueError, match="input: only batch and channels may be empty"):
            mean(x[..., :0], 3)
    with pytest.raises(ValueError, match="input: only the batch may be empty"):
        maximum(np.ones((2, 0, *(5,) * axes)), 3)
    y, indices = maximum(x, 3, return_indices=True)
    assert y.shape == indices.shape == (0, *(3,) * axes)
    assert getattr(F, f"adaptive_max_pool{axes}d_backward")(y, x, 3)[0].shape == x.shape


def test_a_nan_is_the_largest_value():
    x = np.zeros((1, 2, 3, 4, 5))
    x[0, 1, 2, 3, 4] = np.nan
    assert np.isnan(F.max_pool3d(x, 3)[0, 1]).sum() == 0
    assert np.isnan(F.max_pool3d(x, 2, 1)[0, 1]).sum() == 1
    y, indices = F.adaptive_max_pool3d(x, 1, return_indices=True)
    assert np.isnan(y).tolist() == [[[[[False]]], [[[True]]]]]
    assert indices.ravel().tolist() == [0, 59]


VOLUME = np.zeros((1, 2, 4, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.max_pool3d(VOLUME[0, 0], 2), ValueError, r"\(N, C, D, H, W\) or \(C, D, H, W\)"),
        (lambda: F.max_pool3d(VOLUME, (2, 2)), ValueError, "kernel_size: expected 3 integers"),
        (lambda: F.avg_pool3d(VOLUME, 5), ValueError, "window of 5 pixels is larger"),
        (lambda: F.avg_pool3d(VOLUME, 2, divisor_override=0), ValueError, "divisor_override"),
        (lambda: F.adaptive_max_pool2d(VOLUME[0], (1, 2, 3)), ValueError, "expected 2 sizes"),
        (lambda: F.adaptive_max_pool3d(VOLUME, 2.5), TypeError, "output_size: expected an integer"),
        (lambda: F.adaptive_max_pool3d(VOLUME, 2, 1), TypeError, "return_indices: expected True"),
        (lambda: F.adaptive_max_pool1d(VOLUME, 2), ValueError, r"expected shape \(N, C, L\)"),
        (
            lambda: F.adaptive_max_pool3d_backward(VOLUME, VOLUME, 2),
            ValueError,
            r"grad_output: expected shape \(1, 2, 2, 2, 2\)",
        ),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
