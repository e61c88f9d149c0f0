import numpy as np
import piste.functional as F
import pytest
from reference import activation as reference
from reference.differences import gradient
from reference.threads import check_same_bits
from tolerances import CENTRAL_DIFFERENCE, DIRECT

DTYPES = [np.float32, np.float64]
NAMES = ["softmax", "log_softmax"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "dim"), [
    ((7,), 0), ((5, 19), 1), ((5, 19), 0), ((2, 3, 4), 1), ((2, 3, 4), -3), ((2, 3, 4, 5), 1),
    ((2, 1, 2, 1, 3, 1, 2), 4), ((0, 3), 1), ((3, 1), 1),
])  # fmt: skip
def test_softmax_over_any_axis(name, dtype, shape, dim):
    rng = np.random.default_rng(5)
    x, dy = (3 * rng.standard_normal((2, *shape))).astype(dtype)
    f = getattr(reference, name)
    tolerance = DIRECT[np.dtype(dtype)]
    tolerance.check(getattr(F, name)(x, dim), f(x.astype(float), dim), 1e-2)
    (dx,) = getattr(F, name + "_backward")(dy, x, dim)
    assert dx.dtype == dtype
    by_differences = gradient(lambda v: f(v, dim), x, dy.astype(float))
    (tolerance if dtype == np.float32 else CENTRAL_DIFFERENCE).check(dx, by_differences, 1.0)


@pytest.mark.parametrize(("shape", "dim"), [((4,), 0), ((4, 3), 1), ((4, 3, 2), 0),
                                            ((4, 3, 2, 2), 1)])  # fmt: skip
def test_softmax_without_an_axis_takes_that_of_pytorch(shape, dim):
    x = np.random.default_rng(6).standard_normal(shape)
    np.testing.assert_array_equal(F.softmax(x), F.softmax(x, dim))


def test_softmax_of_a_scalar_and_of_large_values():
    assert F.softmax(np.array(3.0)) == 1
    assert F.softmax(np.array(3.0)).shape == ()
    np.testing.assert_array_equal(F.softmax(np.array([1e4, 0.0, 1e4])), [0.5, 0, 0.5])
    assert F.log_softmax(np.array([1e4, 0.0]))[1] == -1e4


@pytest.mark.parametrize("dim", [2, -3])
def test_softmax_names_the_axes_there_are(dim):
    with pytest.raises(ValueError, match=rf"dim: expected an axis from -2 to 1, got {dim}"):
        F.softmax(np.ones((2, 3)), dim)
    with pytest.raises(TypeError, match="dim: expected an integer"):
        F.softmax(np.ones((2, 3)), 0.5)


# Rows, columns and short pieces, with whole and partial vectors and blocks.
SHAPES = [
    ((3, 200), 1),
    ((300, 7), 1),
    ((1000, 64), 1),
    ((2, 65), 1),
    ((5, 33, 40), 1),
    ((2, 900, 8), 1),
    ((3, 10, 1100), 1),
    ((4, 3, 5), 1),
    ((50, 30, 3), 1),
    ((2, 5000, 3), 1),
    ((700, 1, 2), 1),
    ((40_000, 2), 0),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_every_way_through_memory(name, dtype, shape, dim):
    # A softmax without peaks: the errors are those of its sums, not of its largest values.
    x, dy = np.random.default_rng(15).uniform(-1, 1, (2, *shape)).astype(dtype)
    y = getattr(reference, name)(x.astype(float), dim)
    tolerance = DIRECT[np.dtype(dtype)]
    tolerance.check(getattr(F, name)(x, dim), y)
    (dx,) = getattr(F, name + "_backward")(dy, x, dim)
    if name == "softmax":
        expected = y * (dy - (dy * y).sum(dim, keepdims=True))
    else:
        expected = dy - np.exp(y) * dy.sum(dim, keepdims=True, dtype=float)
    tolerance.check(dx, expected, 1 / shape[dim])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 70), (6, 9), (6, 9, 20), (6, 3, 5)])
def test_nan_and_infinity_stay_in_their_row(shape, dtype):
    dim = 1
    x = np.random.default_rng(16).standard_normal(shape).astype(dtype)
    x = np.moveaxis(x, dim, -1)
    x[0, ..., 3 % x.shape[-1]], x[1, ..., 0] = np.nan, np.inf
    x[2], x[3, ..., 1] = -np.inf, -np.inf
    x = np.moveaxis(x, -1, dim)
    for name in NAMES:
        got = np.moveaxis(getattr(F, name)(x, dim), dim, -1)
        broken = np.isnan(got).reshape(len(got), -1)
        assert broken[:3].all()
        assert not broken[3:].any()
        assert (got[3, ..., 1] == (0 if name == "softmax" else -np.inf)).all()


@pytest.mark.parametrize(("shape", "dim"), [((3000, 50), 1), ((300, 700), 1), ((9, 40, 3000), 1)])
def test_same_bits_on_any_number_of_threads(shape, dim):
    x = np.random.default_rng(17).standard_normal(shape).astype(np.float32)
    check_same_bits(lambda: (F.softmax(x, dim), *F.log_softmax_backward(x, x, dim)), (1, 2, 3, 8))


def test_out_and_other_memory():
    x = np.random.default_rng(18).standard_normal((4, 6, 5)).T
    expected = F.softmax(np.ascontiguousarray(x), 1)
    out = np.empty(x.shape[::-1]).T
    assert F.softmax(x, 1, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(F.softmax(x.astype(">f8"), 1), expected)
    (dx,) = F.softmax_backward(x, x.astype(">f8"), 1)
    assert dx.dtype.isnative
    np.testing.assert_array_equal(dx, F.softmax_backward(x, x, 1)[0])
    assert F.softmax(x, 1, out=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("name", NAMES)
def test_an_input_is_converted_first_where_a_dtype_is_given(name):
    x = np.random.default_rng(17).standard_normal((3, 5)).astype(np.float32)
    op, backward = getattr(F, name), getattr(F, name + "_backward")
    np.testing.assert_array_equal(op(x, 1, dtype=np.float64), op(x.astype(float), 1))
    np.testing.assert_array_equal(op([[1, 2]], 1, dtype="f4"), op(np.float32([[1, 2]]), 1))
    (dx,) = backward(x.astype(float), x, 1, dtype=np.float64)
    assert dx.dtype == np.float32
    np.testing.assert_allclose(dx, backward(x, x, 1)[0], rtol=1e-4, atol=1e-6)
    with pytest.raises(TypeError, match="dtype: expected float32 or float64, got int64"):
        op(x, 1, dtype=int)
