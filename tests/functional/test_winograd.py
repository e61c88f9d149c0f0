import numpy as np
import piste
import piste.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import conv as reference
from tolerances import DIRECT, WINOGRAD

DTYPES = [np.float32, np.float64]


@pytest.fixture
def restore():
    yield
    piste.set_algorithm("auto")


def arrays(n, channels, height, width, filters, padding, dtype, seed=0):
    """Input, weight, bias and the output's gradient."""
    rng = np.random.default_rng(seed)
    (top, bottom), (left, right) = padding
    out = (n, filters, height + top + bottom - 2, width + left + right - 2)
    shapes = ((n, channels, height, width), (filters, channels, 3, 3), (filters,), out)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def check(x, weight, bias, dy, padding, tolerance, **options):
    exact = [array.astype(float) for array in (x, weight, bias, dy)]
    settings_ = ((1, 1), padding, (1, 1), 1)
    y = F.conv2d(x, weight, bias, padding=padding, **options)
    pixels = (dy.size / max(dy.shape[1], 1)) ** 0.5
    scale = weight[0].size ** 0.5
    tolerance.check(y, reference.conv(*exact[:3], *settings_), scale)
    got = F.conv2d_backward(dy, x, weight, bias, padding=padding, **options)
    expected = reference.conv(*exact[:3], *settings_, grad_output=exact[3])
    tolerance.check(got[0], expected[0], (9 * len(weight)) ** 0.5)
    tolerance.check(got[1], expected[1], pixels)
    tolerance.check(got[2], expected[2], pixels)


@st.composite
def problems(draw):
    side = st.integers(0, 2)
    padding = ((draw(side), draw(side)), (draw(side), draw(side)))
    height = max(draw(st.integers(1, 19)), 3 - sum(padding[0]))
    width = max(draw(st.integers(1, 19)), 3 - sum(padding[1]))
    return (draw(st.integers(1, 5)), draw(st.integers(1, 40)), height, width,
            draw(st.integers(1, 40)), padding)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=80, deadline=None)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_random_shapes(dtype, problem, seed):
    padding = problem[-1]
    given_arrays = arrays(*problem, dtype, seed)
    check(*given_arrays, padding, WINOGRAD[np.dtype(dtype)], algorithm="winograd")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [
        (2, 8, 61, 57, 9),  # strips of some rows
        (3, 20, 6, 6, 17),  # whole samples in a strip
        (2, 190, 9, 9, 210),  # weights too large to be transformed at once
        (9, 40, 27, 27, 50),  # a gradient summed over several chunks
    ],
)
def test_every_way_through_large_problems(shape, dtype):
    padding = ((1, 1), (1, 1))
    check(*arrays(*shape, padding, dtype), padding, WINOGRAD[np.dtype(dtype)], algorithm="winograd")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_not_finite_goes_where_the_direct_method_puts_it(value):
    padding = ((1, 1), (1, 1))
    x, weight, bias, dy = arrays(2, 16, 12, 12, 16, padding, np.float32)
    x[1, 3, 5, 6] = dy[0, 2, 7, 1] = value
    with np.errstate(all="ignore"):
        ways = [
            (F.conv2d(x, weight, bias, padding=1, algorithm=name),
             *F.conv2d_backward(dy, x, weight, bias, padding=1, algorithm=name))
            for name in ("direct", "winograd")
        ]  # fmt: skip
    for direct, winograd in zip(*ways, strict=True):
        np.testing.assert_array_equal(np.isnan(winograd), np.isnan(direct))
        np.testing.assert_array_equal(np.isinf(winograd), np.isinf(direct))


def test_same_bits_on_any_number_of_threads():
    padding = ((1, 1), (1, 1))
    for shape in [(5, 24, 30, 30, 40), (7, 150, 8, 8, 260)]:
        x, weight, bias, dy = arrays(*shape, padding, np.float32)
        threads, results = piste.get_num_threads(), []
        try:
            for n in range(1, 9):
                piste.set_num_threads(n)
                y = F.conv2d(x, weight, bias, padding=1)
                results.append((y, *F.conv2d_backward(dy, x, weight, bias, padding=1)))
        finally:
            piste.set_num_threads(threads)
        for result in results[1:]:
            for got, expected in zip(result, results[0], strict=True):
                np.testing.assert_array_equal(got, expected)


def test_the_setting_holds_for_calls_that_do_not_choose(restore):
    padding = ((1, 1), (1, 1))
    x, weight, bias, _ = arrays(2, 32, 12, 12, 32, padding, np.float32)
    by_name = {n: F.conv2d(x, weight, bias, 1, 1, algorithm=n) for n in ("direct", "winograd")}
    assert not np.array_equal(by_name["direct"], by_name["winograd"])
    assert piste.get_algorithm() == "auto"
    for name, expected in by_name.items():
        piste.set_algorithm(name)
        assert piste.get_algorithm() == name
        np.testing.assert_array_equal(F.conv2d(x, weight, bias, 1, 1), expected)


def test_winograd_is_direct_where_it_does_not_apply():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 8, 9, 9)), rng.standard_normal((8, 8, 5, 5))
    np.testing.assert_array_equal(
        F.conv2d(x, weight, algorithm="winograd"), F.conv2d(x, weight, algorithm="direct")
    )
    DIRECT[x.dtype].check(
        F.conv2d(x, weight, algorithm="winograd"),
        reference.conv(x, weight, np.zeros(8), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    )


@pytest.mark.parametrize("wrong", ["fft", "", None, 3])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(ValueError, match="algorithm: expected one of auto, direct, winograd, got"):
        piste.set_algorithm(wrong)
    if wrong is not None:
        with pytest.raises(ValueError, match="algorithm: expected one of"):
            F.conv2d(np.zeros((1, 8, 9, 9)), np.zeros((8, 8, 3, 3)), algorithm=wrong)
