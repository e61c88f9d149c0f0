import numpy as np
import piste
import piste.functional as F
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import pool as reference
from reference.pool_cases import arrays, check_max_pool, problems, seeds
from tolerances import DIRECT

DTYPES = [np.float32, np.float64]
MOST = {"kernel": 4, "dilation": 3, "stride": 4, "size": 11, "channels": 19}


def plane(x):
    """Root mean square of the average of a plane of standard normal numbers."""
    return 1 / max(x.shape[-1] * x.shape[-2], 1) ** 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@given(problem=problems(2, MOST, dilated=True), seed=seeds, ties=st.booleans())
def test_max_pool2d(dtype, problem, seed, ties):
    check_max_pool(F.max_pool2d, F.max_pool2d_backward, dtype, problem, seed, ties)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    problem=problems(2, MOST, dilated=False),
    seed=seeds,
    count_include_pad=st.booleans(),
    divisor_override=st.none() | st.integers(1, 9),
)
def test_avg_pool2d(dtype, problem, seed, count_include_pad, divisor_override):
    shape, (kernel, stride, padding, dilation, ceil_mode) = problem
    window = kernel, stride, padding, dilation, ceil_mode
    rule = {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
    x, dy = arrays(seed, dtype, shape, reference.output_shape(shape, *window))
    options = (kernel, stride, padding, ceil_mode)
    y = F.avg_pool2d(x, *options, **rule)
    DIRECT[np.dtype(dtype)].check(y, reference.avg_pool(x, *window, **rule), plane(x))
    (dx,) = F.avg_pool2d_backward(dy, x, *options, **rule)
    DIRECT[np.dtype(dtype)].check(dx, reference.avg_pool_backward(dy, x, *window, **rule), plane(x))


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    shape=st.tuples(*(st.integers(1, top) for top in (2, 19, 9, 9))),
    size=st.tuples(st.integers(1, 10), st.integers(1, 10)),
    seed=seeds,
)
def test_adaptive_avg_pool2d(dtype, shape, size, seed):
    x, dy = arrays(seed, dtype, shape, (*shape[:2], *size))
    y = F.adaptive_avg_pool2d(x, size)
    DIRECT[np.dtype(dtype)].check(y, reference.adaptive_avg_pool(x, size), plane(x))
    (dx,) = F.adaptive_avg_pool2d_backward(dy, x, size)
    DIRECT[np.dtype(dtype)].check(dx, reference.adaptive_avg_pool_backward(dy, x, size), plane(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (2, 3)])
@pytest.mark.parametrize("channel", range(19))
def test_max_pool2d_keeps_nan_in_every_lane_tail_and_tap(dtype, kernel, channel):
    rows, columns = kernel
    taps = rows * columns
    x = np.ones((taps, 19, rows, columns), dtype)
    for tap in range(taps):
        x[tap, channel].flat[tap] = np.nan
    y, indices = F.max_pool2d(x, kernel, return_indices=True)
    assert np.isnan(y[:, channel]).all()
    assert np.isnan(y).sum() == taps
    np.testing.assert_array_equal(indices[:, channel].ravel(), np.arange(taps))
    (dx,) = F.max_pool2d_backward(np.ones_like(y), x, kernel)
    np.testing.assert_array_equal(dx[:, channel].reshape(taps, taps), np.eye(taps))


def test_max_pool2d_of_minus_infinity_has_an_index():
    x = np.full((1, 3, 3, 3), -np.inf)
    y, indices = F.max_pool2d(x, 2, 1, return_indices=True)
    assert (y == -np.inf).all()
    np.testing.assert_array_equal(indices[0, 0], [[0, 1], [3, 4]])


def test_max_pool2d_of_one_row_whose_windows_all_miss_it():
    x = np.arange(40.0, dtype=np.float32).reshape(1, 1, 1, 40)
    y, indices = F.max_pool2d(x, (2, 1), 1, (1, 0), (2, 1), return_indices=True)
    assert (y == -np.inf).all()
    assert (F.max_pool2d(x, (2, 1), 1, (1, 0), (2, 1)) == -np.inf).all()
    assert (indices == -1).all()


def test_max_pool2d_window_whose_taps_all_miss_the_input():
    x = np.ones((1, 1, 1, 1))
    window = ((1, 2), 1, (0, 1), (1, 2))
    y, indices = F.max_pool2d(x, *window, return_indices=True)
    np.testing.assert_array_equal(indices, [[[[-1]]]])
    np.testing.assert_array_equal(y, [[[[-np.inf]]]])
    (dx,) = F.max_pool2d_backward(np.ones_like(y), x, *window)
    np.testing.assert_array_equal(dx, [[[[0]]]])


@pytest.mark.parametrize("op", [F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d])
def test_unbatched_empty_batch_and_strides(op):
    (x,) = arrays(0, np.float32, (2, 3, 8, 6))
    y = op(x, 2)
    np.testing.assert_array_equal(op(x[1], 2), y[1])
    assert op(x[:0], 2).shape == (0, *y.shape[1:])
    channels_last = np.asfortranarray(x)
    np.testing.assert_array_equal(op(channels_last, 2), y)
    backward = getattr(F, f"{op.__name__}_backward")
    (dx,) = backward(y, x, 2)
    np.testing.assert_array_equal(backward(y[1], x[1], 2)[0], dx[1])
    assert backward(y[:0], x[:0], 2)[0].shape == (0, 3, 8, 6)


@pytest.mark.parametrize("op", [F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d])
def test_out(op):
    (x,) = arrays(0, np.float32, (2, 3, 8, 6))
    out = np.empty_like(op(x, 2))
    assert op(x, 2, out=out) is out
    np.testing.assert_array_equal(out, op(x, 2))
    with pytest.raises(ValueError, match=r"out: expected shape"):
        op(x, 2, out=out[:1])


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("max_pool", {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}),
        ("max_pool", {"kernel_size": 2, "ceil_mode": True}),
        ("avg_pool", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        ("avg_pool", {"kernel_size": [2], "ceil_mode": True}),
        ("adaptive_avg_pool", {"output_size": 4}),
        ("adaptive_avg_pool", {"output_size": None}),
    ],
)
def test_one_axis_is_a_plane_of_height_one(op, options):
    def plane(name, value):
        if name == "output_size":
            return (1, value)
        neutral = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
        return (neutral[name], *np.atleast_1d(value)) if name in neutral else value

    (x,) = arrays(0, np.float64, (2, 5, 11))
    in_plane = {name: plane(name, value) for name, value in options.items()}
    forward, forward2d = getattr(F, f"{op}1d"), getattr(F, f"{op}2d")
    y = forward(x, **options)
    np.testing.assert_array_equal(y, forward2d(x[:, :, None], **in_plane)[:, :, 0])
    np.testing.assert_array_equal(forward(x[1], **options), y[1])
    backward, backward2d = getattr(F, f"{op}1d_backward"), getattr(F, f"{op}2d_backward")
    (dx,) = backward(y, x, **options)
    (expected,) = backward2d(y[:, :, None], x[:, :, None], **in_plane)
    np.testing.assert_array_equal(dx, expected[:, :, 0])
    np.testing.assert_array_equal(backward(y[1], x[1], **options)[0], dx[1])
    with pytest.raises(ValueError, match=r"input: expected shape \(N, C, L\)"):
        forward(x[:, :, None], **options)


def test_max_pool1d_indices():
    x = np.array([[1.0, 3, 3, 0, 5]])
    y, indices = F.max_pool1d(x, 3, 1, return_indices=True)
    np.testing.assert_array_equal(y, [[3, 3, 5]])
    np.testing.assert_array_equal(indices, [[1, 1, 4]])


@pytest.mark.parametrize("op", [F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d])
def test_bits_do_not_depend_on_threads(op):
    (x,) = arrays(0, np.float32, (3, 37, 16, 12))
    backward = getattr(F, f"{op.__name__}_backward")
    before = piste.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            piste.set_num_threads(threads)
            y = op(x, 3)
            results.append((y.tobytes(), backward(y, x, 3)[0].tobytes()))
    finally:
        piste.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("size", "shape"),
    [(2, (2, 2)), (None, (8, 6)), ((None, 3), (8, 3)), ([3, None], (3, 6)), ((0, 2), (0, 2))],
)
def test_adaptive_output_size(size, shape):
    (x,) = arrays(0, np.float32, (2, 3, 8, 6))
    y = F.adaptive_avg_pool2d(x, size)
    assert y.shape == (2, 3, *shape)
    DIRECT[np.dtype(np.float32)].check(y, reference.adaptive_avg_pool(x, shape))
    (dx,) = F.adaptive_avg_pool2d_backward(y, x, size)
    DIRECT[np.dtype(np.float32)].check(dx, reference.adaptive_avg_pool_backward(y, x, shape))


def test_global_average_of_a_large_plane_is_accurate():
    x = np.random.default_rng(0).uniform(0, 1, (1, 3, 300, 300)).astype(np.float32)
    expected = x.mean((2, 3), dtype=np.float64)
    DIRECT[x.dtype].check(F.adaptive_avg_pool2d(x, 1)[..., 0, 0], expected)
    DIRECT[x.dtype].check(F.avg_pool2d(x, 300)[..., 0, 0], expected)


IMAGE = np.zeros((1, 2, 4, 4), np.float32)


@pytest.mark.parametrize("op", [F.max_pool2d, F.avg_pool2d])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel_size": 0}, ValueError, "kernel_size: .* got 0"),
        ({"kernel_size": 2.0}, TypeError, "kernel_size: .*got float 2.0"),
        ({"kernel_size": True}, TypeError, "kernel_size: .*got bool True"),
        ({"kernel_size": "2"}, TypeError, "kernel_size: .*got str '2'"),
        ({"kernel_size": None}, TypeError, "kernel_size: .*None"),
        ({"kernel_size": (2, 2, 2)}, ValueError, "kernel_size: expected 2 integers, got 3"),
        ({"kernel_size": (2, 2.5)}, TypeError, "kernel_size: .*2.5"),
        ({"kernel_size": 2**40}, ValueError, "kernel_size"),
        ({"kernel_size": 5}, ValueError, "window of 5 pixels is larger than the input of 4"),
        ({"kernel_size": 2, "stride": 0}, ValueError, "stride: .* got 0"),
        ({"kernel_size": 2, "padding": -1}, ValueError, "padding: .* got -1"),
        ({"kernel_size": 2, "padding": 2}, ValueError, "padding: .* got 2"),
        ({"kernel_size": 2, "ceil_mode": 1}, TypeError, "ceil_mode: .*got int 1"),
        ({"kernel_size": 2, "input": IMAGE[0, 0]}, ValueError, r"input: .*got \(4, 4\)"),
        ({"kernel_size": 2, "input": IMAGE[None]}, ValueError, "input: expected shape"),
        ({"kernel_size": 2, "input": IMAGE[:, :0]}, ValueError, "only the batch may be empty"),
        ({"kernel_size": 2, "input": IMAGE.astype(int)}, TypeError, "input: .*int64"),
    ],
)
def test_refuses(op, options, error, message):
    with pytest.raises(error, match=message):
        op(**{"input": IMAGE, **options})
    backward = getattr(F, f"{op.__name__}_backward")
    with pytest.raises(error, match=message):
        backward(np.zeros((1, 2, 2, 2), np.float32), **{"input": IMAGE, **options})


def test_refuses_further_arguments():
    with pytest.raises(ValueError, match=r"dilation: .* got 0"):
        F.max_pool2d(IMAGE, 2, dilation=0)
    with pytest.raises(ValueError, match="window of 7 pixels"):
        F.max_pool2d(IMAGE, 3, dilation=3)
    with pytest.raises(ValueError, match=r"padding: .* got 2"):
        F.max_pool2d(IMAGE, 2, padding=2, dilation=3)
    with pytest.raises(ValueError, match=r"divisor_override: .* got 0"):
        F.avg_pool2d(IMAGE, 2, divisor_override=0)
    with pytest.raises(TypeError, match=r"output_size: .* got float 2\.0"):
        F.adaptive_avg_pool2d(IMAGE, 2.0)
    with pytest.raises(ValueError, match=r"output_size: .* got -1"):
        F.adaptive_avg_pool2d(IMAGE, -1)
    with pytest.raises(ValueError, match="output_size: expected 2 sizes, got 3"):
        F.adaptive_avg_pool2d(IMAGE, (1, 2, 3))


@pytest.mark.parametrize("op", [F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d])
def test_backward_refuses_a_gradient_that_does_not_fit(op):
    backward = getattr(F, f"{op.__name__}_backward")
    with pytest.raises(ValueError, match=r"grad_output: expected shape \(1, 2, 2, 2\), got"):
        backward(IMAGE, IMAGE, 2)
    with pytest.raises(TypeError, match="grad_output: expected dtype float32"):
        backward(np.zeros((1, 2, 2, 2)), IMAGE, 2)


def test_a_stride_of_no_sizes_is_that_of_the_kernel_and_a_divisor_may_be_negative():
    x = np.random.default_rng(3).standard_normal((2, 5, 6))
    expected = F.avg_pool2d(x, 2)
    np.testing.assert_array_equal(F.avg_pool2d(x, 2, ()), expected)
    np.testing.assert_array_equal(F.max_pool2d(x, 2, []), F.max_pool2d(x, 2))
    np.testing.assert_allclose(F.avg_pool2d(x, 2, divisor_override=-2), -2 * expected)
