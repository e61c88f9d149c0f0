import math

import numpy as np
import piste.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import conv as reference
from reference.threads import check_same_bits
from tolerances import DIRECT, WINOGRAD

DTYPES = [np.float32, np.float64]
CONVS = {1: (F.conv1d, F.conv1d_backward), 2: (F.conv2d, F.conv2d_backward),
         3: (F.conv3d, F.conv3d_backward)}  # fmt: skip


@st.composite
def problems(draw):
    axes = draw(st.sampled_from([1, 2, 2, 3]))
    several = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    kernel, dilation = several(1, 4), several(1, 2)
    pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(axes))
    size = tuple(
        max(draw(st.integers(1, 8)), d * (k - 1) + 1 - sum(p))
        for k, d, p in zip(kernel, dilation, pads, strict=True)
    )
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, filters = groups * draw(st.integers(1, 14)), groups * draw(st.integers(1, 20))
    return {
        "x": (draw(st.integers(0, 10)), channels, *size),
        "weight": (filters, channels // groups, *kernel),
        "stride": several(1, 3), "padding": pads, "dilation": dilation, "groups": groups,
        "bias": draw(st.booleans()), "seed": draw(st.integers(0, 2**32 - 1)),
    }  # fmt: skip


def check(problem, dtype, algorithms=("direct",)):
    """Forward and all gradients against the reference, by what sums of so many terms allow."""
    rng = np.random.default_rng(problem["seed"])
    x = rng.standard_normal(problem["x"]).astype(dtype)
    weight = rng.standard_normal(problem["weight"]).astype(dtype)
    bias = rng.standard_normal(len(weight)).astype(dtype) if problem["bias"] else None
    options = [problem[name] for name in ("stride", "padding", "dilation", "groups")]
    forward, backward = CONVS[x.ndim - 2]
    zeros = np.zeros(len(weight)) if bias is None else bias
    expected = reference.conv(x, weight, zeros, *options)
    dy = rng.standard_normal(expected.shape).astype(dtype)
    gradients = reference.conv(x, weight, zeros, *options, grad_output=dy)
    # Sums of so many products of standard normal numbers.
    scale, scale_x = weight[0].size ** 0.5, (weight.size / weight.shape[1]) ** 0.5
    pixels = (dy.size / max(dy.shape[1], 1)) ** 0.5
    for algorithm in algorithms:
        tolerance = (DIRECT if algorithm == "direct" else WINOGRAD)[np.dtype(dtype)]
        tolerance.check(forward(x, weight, bias, *options, algorithm=algorithm), expected, scale)
        dx, dw, db = backward(dy, x, weight, bias, *options, algorithm=algorithm)
        tolerance.check(dx, gradients[0], scale_x)
        tolerance.check(dw, gradients[1], pixels)
        if bias is None:
            assert db is None
        else:
            tolerance.check(db, gradients[2], pixels)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_conv_and_gradients_on_random_shapes(dtype, problem):
    check(problem, dtype)


def draw(rng):
    """A problem for 1 to 3 axes, small ones more often than large ones."""
    log_uniform = lambda high: int((high + 1) ** rng.random())  # noqa: E731
    integers = lambda low, high: tuple(rng.integers(low, high + 1, axes).tolist())  # noqa: E731
    axes = int(rng.choice([1, 2, 2, 2, 3]))
    unit = (1,) * axes
    kernel = (3,) * axes if rng.random() < 0.3 else integers(1, 5)
    stride = unit if rng.random() < 0.5 else integers(1, 3)
    dilation = unit if rng.random() < 0.7 else integers(1, 3)
    pads = tuple(zip(integers(0, 3), integers(0, 3), strict=True))
    size = tuple(
        max(log_uniform({1: 150, 2: 30, 3: 9}[axes]), d * (k - 1) + 1 - sum(p))
        for k, d, p in zip(kernel, dilation, pads, strict=True)
    )
    groups = log_uniform(40) if rng.random() < 0.3 else 1
    most = 1 if groups > 8 else 100
    per_group = (log_uniform(most), log_uniform(most))
    channels, filters = (groups * count for count in per_group)
    products = math.prod(size) * math.prod(kernel) * channels * per_group[1]
    return {
        "x": (min(int(rng.integers(0, 13)), 1 + 2_000_000 // products), channels, *size),
        "weight": (filters, per_group[0], *kernel),
        "stride": stride, "padding": pads, "dilation": dilation, "groups": groups,
        "bias": bool(rng.integers(2)), "seed": int(rng.integers(2**32)),
    }  # fmt: skip


def fuzz(seeds):
    """The problem of each seed, in every algorithm and in both dtypes by turns."""
    for seed in seeds:
        problem = draw(np.random.default_rng(seed))
        try:
            check(problem, DTYPES[seed % 2], ["auto", "direct", "winograd"])
        except Exception as error:
            error.add_note(f"seed {seed}, {DTYPES[seed % 2].__name__}: {problem}")
            raise


FUZZ_CASES, FUZZ_BLOCK = 20_000, 500


def test_some_of_many_random_shapes():
    fuzz(range(FUZZ_CASES, FUZZ_CASES + 300))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, FUZZ_CASES, FUZZ_BLOCK))
def test_many_random_shapes(first):
    fuzz(range(first, first + FUZZ_BLOCK))


# Shapes that the classes of kernels are for, each with tails: n, channels, filters, size, kernel,
# groups.
CLASSES = [
    (3, 70, 37, (9, 11), 1, 1), (9, 70, 37, (9, 8), 1, 1), (2, 130, 300, (8, 9), 1, 2),
    (11, 67, 5, (65,), 1, 1), (1, 300, 270, (6, 5, 3), 1, 1), (5, 70, 9, (5, 6), 1, 1),
    (6, 7, 11, (5, 4), (5, 4), 1), (1, 40, 130, (1, 1), 1, 1), (4, 5, 6, (3, 2, 3), (3, 2, 3), 1),
    (2, 1, 6, (29, 28), 5, 1), (3, 33, 33, (19, 18), 3, 33), (2, 19, 21, (13, 12), 3, 1),
    (3, 300, 40, (9, 10), 3, 1),
]  # fmt: skip


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "channels", "filters", "size", "kernel", "groups"), CLASSES)
def test_classes_of_shapes(n, channels, filters, size, kernel, groups, dtype, bias):
    axes = len(size)
    kernel = (kernel,) * axes if isinstance(kernel, int) else kernel
    problem = {
        "x": (n, channels, *size), "weight": (filters, channels // groups, *kernel),
        "stride": (1,) * axes, "padding": ((0, 0),) * axes, "dilation": (1,) * axes,
        "groups": groups, "bias": bias, "seed": 1,
    }  # fmt: skip
    check(problem, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [*range(1, 41), 70, 100])
@pytest.mark.parametrize(
    ("stride", "kernel", "dilation", "pad"),
    [
        (1, 3, 1, 1), (1, 2, 1, 0), (1, 3, 2, 3), (2, 3, 1, 1), (3, 2, 1, 1), (2, 1, 1, 0),
        (2, 3, 2, 2), (4, 3, 1, 0), ((2, 1), 3, 1, (0, 1)), ((1, 3), 4, 1, (5, 2)),
    ],
)  # fmt: skip
def test_depthwise_in_rows_of_every_width(stride, kernel, dilation, pad, width, dtype):
    # Borders, whole vectors, and a last one that overlaps.
    pair = lambda value: value if isinstance(value, tuple) else (value, value)  # noqa: E731
    strides, pads = pair(stride), pair(pad)
    reach = dilation * (kernel - 1) + 1
    problem = {
        "x": (2, 5, 7, max(width * strides[1], reach - 2 * pads[1])),
        "weight": (5, 1, kernel, kernel), "stride": strides,
        "padding": tuple((p, p) for p in pads), "dilation": (dilation, dilation), "groups": 5,
        "bias": width % 2 == 0, "seed": width,
    }  # fmt: skip
    check(problem, dtype, ["auto"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("height", range(1, 12))
@pytest.mark.parametrize(("stride", "kernel"), [(1, (5, 1)), (1, (1, 4)), (2, (4, 2)), (3, (6, 7))])
def test_depthwise_of_every_height(stride, kernel, height, dtype):
    # Pairs of rows, a last one alone, and no second one.
    problem = {
        "x": (3, 40, height, 37), "weight": (40, 1, *kernel), "stride": (stride, stride),
        "padding": ((3, 2), (1, 4)), "dilation": (1, 1), "groups": 40, "bias": True,
        "seed": height,
    }  # fmt: skip
    check(problem, dtype, ["auto"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_depthwise_next_to_values_that_are_not_finite(stride, dtype):
    # Vectors reach into the next row and the next plane, whose values must not show.
    rng = np.random.default_rng(stride)
    x = rng.standard_normal((2, 9, 12, 29)).astype(dtype)
    weight = rng.standard_normal((9, 1, 2, 2)).astype(dtype)
    dy = rng.standard_normal(F.conv2d(x, weight, None, stride, 0, 1, 9).shape).astype(dtype)

    def results():
        y = F.conv2d(x, weight, None, stride, 0, 1, 9)
        dx, dw, _ = F.conv2d_backward(dy, x, weight, None, stride, 0, 1, 9)
        return y[1], dx[1], dw

    clean = results()
    x[1, 4], dy[1, 4] = np.nan, np.inf
    others = np.arange(9) != 4
    for found, expected in zip(results(), clean, strict=True):
        np.testing.assert_array_equal(found[others], expected[others])
        assert not np.isfinite(found[4]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 2), (2, 2), (3, 4)])
def test_weights_that_are_not_finite_show_in_padding_too(stride, value, dtype):
    x = np.ones((1, 6, 21, 90), dtype)
    weight = np.ones((6, 1, 3, 3), dtype)
    weight[:, 0, 0, 0] = value
    y = F.conv2d(x, weight, None, stride, 1, 1, 6)
    assert np.isnan(y[..., 0, :]).all()  # the weight's row is above the first row of x
    assert np.isnan(y[..., 0]).all()
    assert not np.isfinite(y).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(("filters", "stride"), [(20, 1), (5, 2), (70, 3)])
def test_no_product_with_padding_is_left_out_where_it_is_not_zero(filters, stride, value, dtype):
    x = np.ones((3, 20, 9, 11), dtype)
    weight = np.ones((filters, 20, 5, 5), dtype)
    weight[:, 7, 0, 0] = value
    options = {"stride": stride, "padding": 2}
    y = F.conv2d(x, weight, None, **options)
    assert np.isnan(y[..., 0, :]).all()
    assert np.isnan(y[..., 0]).all()

    ones = np.ones((filters, 20, 5, 5), dtype)
    dy = np.ones(y.shape, dtype)
    dy[:, :, 0, 0] = value  # its window begins two rows and columns before x
    for bias in (None, np.zeros(filters, dtype)):
        _, dw, _ = F.conv2d_backward(dy, x, ones, bias, **options)
        assert np.isnan(dw[:, :, :2]).all()
        assert np.isnan(dw[..., :2]).all()
        assert not np.isfinite(dw).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 5, 9, 33])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "dilation"),
    [
        ((3, 10), (3, 3), (2, 2), (1, 1), (1, 1)),
        ((27, 5), (7, 5), (1, 1), (3, 2), (1, 1)),
        ((6, 7), (5, 5), (1, 1), (4, 6), (1, 1)),  # some outputs see padding alone
        ((9, 8), (4, 3), (1, 3), (3, 2), (2, 1)),
        ((12,), (7,), (1,), (3,), (1,)),
        ((3, 4, 5), (3, 3, 3), (1, 2, 1), (1, 1, 2), (1, 1, 1)),
    ],
)
def test_small_maps_that_are_mostly_border(size, kernel, stride, pad, dilation, n, dtype):
    problem = {
        "x": (n, 9 if n > 9 else 19, *size), "weight": (23, 9 if n > 9 else 19, *kernel),
        "stride": stride, "padding": tuple((p, p) for p in pad), "dilation": dilation, "groups": 1,
        "bias": n % 2 == 1, "seed": n,
    }  # fmt: skip
    check(problem, dtype)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "pad"), [(7, 3), (5, 4), (2, 0)])
def test_few_samples_with_enough_work_for_parts(kernel, pad, stride, n):
    problem = {
        "x": (n, 96, 17, 21), "weight": (64, 96, kernel, kernel), "stride": (stride, stride),
        "padding": ((pad, pad), (pad, pad)), "dilation": (1, 1), "groups": 1, "bias": True,
        "seed": n,
    }  # fmt: skip
    check(problem, np.float32)


@pytest.mark.parametrize("filters", [16, 40, 64, 112, 150, 256])
def test_winograd_with_panels_of_every_width(filters):
    problem = {
        "x": (2, 24, 7, 9), "weight": (filters, 24, 3, 3), "stride": (1, 1),
        "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1, "bias": True,
        "seed": filters,
    }  # fmt: skip
    check(problem, np.float32, ["winograd"])


# Sums of the weight gradient by groups of strips and by blocks; tiles of 256 channels and more.
@pytest.mark.parametrize(
    ("n", "channels", "filters", "size"),
    [
        (41, 24, 20, (9, 14)),
        (3, 24, 20, (9, 14)),
        (40, 16, 64, (4, 4)),
        (3, 132, 140, (10, 9)),
        (5, 256, 272, (6, 5)),
    ],
)
def test_winograd_with_sums_of_every_size(n, channels, filters, size):
    problem = {
        "x": (n, channels, *size), "weight": (filters, channels, 3, 3), "stride": (1, 1),
        "padding": ((1, 1), (0, 0)), "dilation": (1, 1), "groups": 1, "bias": True,
        "seed": n,
    }  # fmt: skip
    check(problem, np.float32, ["winograd"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("filters", range(1, 10))
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "dilation"),
    [
        ((17, 19), 3, 1, 1, 1), ((9, 33), 5, 1, 2, 1), ((7, 7), 3, 1, 0, 2), ((21, 30), 4, 2, 1, 1),
        ((40,), 3, 1, 1, 1), ((5, 6, 9), 3, 1, 1, 1),
    ],
)  # fmt: skip
def test_few_filters_of_many_channels(size, kernel, stride, pad, dilation, filters, dtype):
    axes = len(size)
    problem = {
        "x": (2, 21, *size), "weight": (filters, 21, *(kernel,) * axes), "stride": (stride,) * axes,
        "padding": ((pad, pad),) * axes, "dilation": (dilation,) * axes, "groups": 1, "bias": True,
        "seed": filters,
    }  # fmt: skip
    check(problem, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 3, 12])
@pytest.mark.parametrize(
    ("size", "stride", "high"),
    [((11, 13), (2, 3), 0), ((9,), (4,), 0), ((5, 6, 7), (1, 2, 2), 0), ((8, 8), (3, 3), 1)],
)
def test_single_pixels_with_strides(size, stride, high, groups, dtype):
    axes = len(size)
    problem = {
        "x": (3, 12, *size), "weight": (24, 12 // groups, *(1,) * axes), "stride": stride,
        "padding": ((0, high),) * axes, "dilation": (1,) * axes, "groups": groups, "bias": True,
        "seed": groups,
    }  # fmt: skip
    check(problem, dtype, ["auto", "direct"])


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding_gives_ceil_of_size_over_stride(size, stride):
    x, w = np.ones((1, 1, size, size)), np.ones((1, 1, 4, 4))
    assert F.conv2d(x, w, stride=stride, padding="same").shape[2] == -(-size // stride)


def variants(x):
    """The same values in other memory."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]
    yield np.ascontiguousarray(x[::-1])[::-1]
    yield np.asfortranarray(x)
    yield x.astype(x.dtype.newbyteorder(">"))
    frozen = x.copy()
    frozen.flags.writeable = False
    yield frozen


def test_any_memory_layout():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 2, 6, 5)), rng.standard_normal((4, 2, 3, 3))
    expected = F.conv2d(x, w)
    for other_x in variants(x):
        np.testing.assert_array_equal(F.conv2d(other_x, w), expected)
    for other_w in variants(w):
        np.testing.assert_array_equal(F.conv2d(x, other_w), expected)


def test_out_and_unbatched():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 2, 6, 5)), rng.standard_normal((4, 2, 3, 3))
    expected = F.conv2d(x, w)
    out = np.empty_like(expected)
    assert F.conv2d(x, w, out=out) is out
    np.testing.assert_array_equal(out, expected)
    turned = np.empty(expected.shape[::-1]).T
    assert F.conv2d(x, w, out=turned) is turned
    np.testing.assert_array_equal(turned, expected)
    np.testing.assert_array_equal(F.conv2d(x[0], w), expected[0])
    with pytest.raises(ValueError, match="out: expected shape"):
        F.conv2d(x, w, out=np.empty(3))


@pytest.mark.parametrize(
    ("channels", "kernel", "groups"),
    [(20, 3, 1), (20, 5, 1), (3, 5, 1), (36, 3, 36), (40, 1, 1), (80, 1, 1)],
)
def test_same_bits_on_any_number_of_threads(channels, kernel, groups):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((13, channels, 15, 15)).astype(np.float32)
    w = rng.standard_normal((36, channels // groups, kernel, kernel)).astype(np.float32)
    b = np.ones(36, np.float32)

    def compute():
        y = F.conv2d(x, w, b, groups=groups)
        return (y, *F.conv2d_backward(y, x, w, b, groups=groups))

    check_same_bits(compute)


@pytest.mark.parametrize("algorithm", ["auto", "direct", "winograd"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(
    ("n", "channels", "filters", "size"),
    [(0, 9, 9, 4), (2, 0, 9, 4), (2, 9, 0, 4), (2, 0, 0, 4), (2, 9, 9, 0), (2, 1, 9, 0)],
)
def test_sums_without_terms_are_zero(n, channels, filters, size, kernel, algorithm):
    padding = kernel // 2 + 1
    x, w = np.ones((n, channels, size, size)), np.ones((filters, channels, kernel, kernel))
    b = np.arange(filters) + 1.0
    y = F.conv2d(x, w, b, padding=padding, algorithm=algorithm)
    side = size + 2 * padding - kernel + 1
    np.testing.assert_array_equal(y, np.broadcast_to(b[:, None, None], (n, filters, side, side)))
    dy = np.ones_like(y)
    dx, dw, db = F.conv2d_backward(dy, x, w, b, padding=padding, algorithm=algorithm)
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    np.testing.assert_array_equal(dw, np.zeros_like(w))
    np.testing.assert_array_equal(db, np.full(filters, n * side * side))


X, W = np.zeros((2, 4, 6, 6)), np.zeros((8, 4, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, W.astype(np.float32)), TypeError, "weight: expected dtype float64"),
        ((X.astype(int), W), TypeError, "input: expected dtype float32 or float64, got int64"),
        ((X[0, 0], W), ValueError, r"input: expected shape \(\[n,\] channels, height, width\)"),
        ((X, W[0]), ValueError, "weight: expected 4 dimensions"),
        ((X[:, :3], W), ValueError, "does not fit 3 input channels in 1 groups"),
        ((X, W, np.zeros(7)), ValueError, r"bias: expected shape \(8,\), got \(7,\)"),
        ((X, W, None, 0), ValueError, "stride: expected an integer from 1"),
        ((X, W, None, 1.5), TypeError, "stride: expected an integer"),
        ((X, W, None, 1, -1), ValueError, "padding: expected an integer from 0"),
        ((X, W, None, 1, 2**31 - 1), ValueError, r"result of shape \(2, 8, 4.*more bytes than"),
        ((X, W, None, 1, "full"), ValueError, "padding: expected 'same', 'valid'"),
        ((X, W, None, 1, 0, 3), ValueError, "does not fit"),
        ((X, W, None, 1, 0, 1, 0), ValueError, "groups: expected an integer from 1"),
        ((X, W, None, 1, 0, 1, 3), ValueError, "does not fit 4 input channels in 3 groups"),
        ((None, W), TypeError, "input: expected an array, got None"),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        F.conv2d(*arguments)
