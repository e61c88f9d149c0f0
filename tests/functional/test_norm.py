import numpy as np
import piste.functional as F
import pytest
from reference import norm as reference
from reference.threads import check_same_bits
from tolerances import CENTRAL_DIFFERENCE, DIRECT

DTYPES = [np.float32, np.float64]
SHAPES = [(2, 1), (7, 5), (1, 3, 2), (3, 4, 33), (5, 7, 3, 5), (2, 3, 17, 19), (2, 2, 3, 4, 5)]


def problem(shape, dtype, mean=0.0):
    rng = np.random.default_rng(len(shape))
    x = rng.standard_normal(shape) + mean
    channels = shape[1]
    statistics = [rng.standard_normal(channels), rng.uniform(0.5, 2, channels)]
    affine = [rng.uniform(0.5, 2, channels), rng.standard_normal(channels)]
    return [array.astype(dtype) for array in (x, *statistics, *affine)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [False, True])
def test_output_and_running_statistics(dtype, shape, training):
    arrays = problem(shape, dtype)
    wide = [array.astype(float) for array in arrays]
    y, mean, var = reference.batch_norm(*wide, training, 0.3, 1e-3)
    tolerance = DIRECT[np.dtype(dtype)]
    tolerance.check(F.batch_norm(*arrays, training, 0.3, 1e-3), y, 1)
    tolerance.check(arrays[1], mean, 1)
    tolerance.check(arrays[2], var, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_far_above_the_deviation(dtype):
    arrays = problem((6, 3, 15, 15), dtype, mean=4096.0)
    wide = [array.astype(float) for array in arrays]
    y, _, var = reference.batch_norm(*wide, True, 1.0, 1e-5)
    got = F.batch_norm(*arrays, True, 1.0, 1e-5)
    # The mean itself is rounded to the dtype.
    assert np.abs(got - y).max() < 4 * 4096 * np.finfo(dtype).eps
    DIRECT[np.dtype(dtype)].check(arrays[2], var)


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 3, 5)])
@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_central_differences(shape, training):
    x, mean, var, weight, bias = problem(shape, np.float64)
    dy = np.random.default_rng(9).standard_normal(shape)
    kept = mean.copy(), var.copy()
    gradients = F.batch_norm_backward(dy, x, mean, var, weight, bias, training)
    np.testing.assert_array_equal((mean, var), kept)
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        expected = np.empty_like(array)
        for at in np.ndindex(*array.shape):
            sums, value = [], array[at]
            for step in (1e-5, -1e-5):
                array[at] = value + step
                y, *_ = reference.batch_norm(x, mean, var, weight, bias, training, 0.1, 1e-5)
                sums.append((y * dy).sum())
            array[at] = value
            expected[at] = (sums[0] - sums[1]) / 2e-5
        CENTRAL_DIFFERENCE.check(gradient, expected)


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 5, 7)])
@pytest.mark.parametrize("training", [False, True])
def test_float32_gradients_follow_float64(shape, training):
    arrays = problem(shape, np.float32)
    dy = np.random.default_rng(9).standard_normal(shape).astype(np.float32)
    got = F.batch_norm_backward(dy, *arrays, training)
    wide = [array.astype(float) for array in (dy, *arrays)]
    for gradient, expected in zip(got, F.batch_norm_backward(*wide, training), strict=True):
        DIRECT[np.dtype(np.float32)].check(gradient, expected, 1)


def test_without_affine_and_statistics():
    x = problem((3, 4, 5), np.float64)[0]
    ones, zeros = np.ones(4), np.zeros(4)
    expected = F.batch_norm(x, zeros.copy(), ones.copy(), ones, zeros, True)
    np.testing.assert_array_equal(F.batch_norm(x, None, None, training=True), expected)
    dx, dw, db = F.batch_norm_backward(x, x, None, None, training=True)
    assert dx.shape == x.shape
    assert dw is None
    assert db is None


def test_strided_running_statistics_are_updated():
    x, mean, var, *_ = problem((3, 4, 5), np.float64)
    both = np.stack([mean, var], axis=1)
    F.batch_norm(x, both[:, 0], both[:, 1], training=True)
    F.batch_norm(x, mean, var, training=True)
    np.testing.assert_array_equal(both, np.stack([mean, var], axis=1))


def test_evaluation_reads_frozen_statistics_and_any_kind_of_array():
    class Kind(np.ndarray):
        pass

    x, mean, var, weight, bias = problem((3, 4, 5), np.float64)
    expected = F.batch_norm(x, mean, var, weight, bias)
    gradients = F.batch_norm_backward(x, x, mean, var, weight, bias)
    for array in (x, mean, var, weight, bias):
        array.flags.writeable = False
    np.testing.assert_array_equal(F.batch_norm(x, mean, var, weight, bias), expected)
    for arrays in ((mean, var, weight, bias), [a.view(Kind) for a in (mean, var, weight, bias)]):
        for got, wanted in zip(F.batch_norm_backward(x, x, *arrays), gradients, strict=True):
            assert type(got) is np.ndarray
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("pixels", [1, 5, 40])
def test_gradients_of_frozen_statistics_do_not_read_the_input(pixels):
    rng = np.random.default_rng(pixels)
    x, dy = rng.standard_normal((2, 3, 2, pixels)).astype(np.float32)
    arrays = rng.uniform(0.5, 2, (4, 2)).astype(np.float32)
    expected = F.batch_norm_backward(dy, x, *arrays)[0]
    x[0, 0, 0], x[1, 1, -1] = np.nan, np.inf
    np.testing.assert_array_equal(F.batch_norm_backward(dy, x, *arrays)[0], expected)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(0, 4), (0, 4, 3), (2, 4, 0), (2, 0, 3), (0,)])
def test_an_empty_batch_moves_nothing(shape, training):
    x = np.ones(shape)
    channels = shape[1] if len(shape) > 1 else 0
    mean, var, weight, bias = np.random.default_rng(0).uniform(1, 2, (4, channels))
    kept = mean.copy(), var.copy()
    assert F.batch_norm(x, mean, var, weight, bias, training).shape == shape
    np.testing.assert_array_equal((mean, var), kept)
    gradients = F.batch_norm_backward(x, x, mean, var, weight, bias, training)
    for got, like in zip(gradients, (x, weight, bias), strict=True):
        np.testing.assert_array_equal(got, np.zeros_like(like))
    if training:
        assert F.batch_norm(x, None, None, training=True).shape == shape


def test_same_bits_on_any_number_of_threads():

    def compute():
        arrays = problem((9, 21, 31, 31), np.float32)
        y = F.batch_norm(*arrays, True)
        return (y, *arrays, *F.batch_norm_backward(y, *arrays, True))

    check_same_bits(compute)


X, C = np.zeros((2, 4, 3)), np.ones(4)
FROZEN = np.ones(4)
FROZEN.flags.writeable = False


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((C, C, C), ValueError, r"input: expected shape \(n, channels, ...\), got \(4,\)"),
        ((X.astype(int), C, C), TypeError, "input: expected dtype"),
        ((X, C.astype(np.float32), C), TypeError, "running_mean: expected dtype float64"),
        ((X, C, np.ones(3)), ValueError, r"running_var: expected shape \(4,\), got \(3,\)"),
        ((X, C, C, np.ones(3)), ValueError, r"weight: expected shape \(4,\)"),
        ((X, C, C, C, np.ones(5)), ValueError, r"bias: expected shape \(4,\)"),
        ((X, None, None), ValueError, "expected arrays unless training"),
        ((X, C, None, None, None, True), ValueError, "expected both or neither"),
        ((X[:1, :, :1], C, C.copy(), None, None, True), ValueError, "more than 1 value"),
        ((X, C, FROZEN, None, None, True), ValueError, "running_var: the array is read-only"),
        ((X, [1.0] * 4, C, None, None, True), TypeError, "running_mean: expected a NumPy array"),
        ((X, C, C, None, None, True), ValueError, "share no memory"),
        ((X, C, C, None, None, False, "a"), TypeError, "momentum: expected a number"),
        ((X, C, C, None, None, False, 0.1, -1), ValueError, "eps: expected a finite number"),
        ((X, C, C.copy(), None, None, True, 0.1, 0), ValueError, "eps: expected a number above 0"),
        ((X, C, C, None, None, 1), TypeError, "training: expected True or False, got int 1"),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        F.batch_norm(*arguments)
    np.testing.assert_array_equal(C, 1)
