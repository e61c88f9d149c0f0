import numpy as np
import piste.functional as F
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import activation as reference
from reference.differences import gradient
from tolerances import CENTRAL_DIFFERENCE, DIRECT

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@given(n=st.integers(0, 200), seed=st.integers(0, 2**32 - 1))
def test_relu(dtype, n, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((2, n)).astype(dtype)
    DIRECT[np.dtype(dtype)].check(F.relu(x), reference.relu(x))
    (dx,) = F.relu_backward(dy, x)
    DIRECT[np.dtype(dtype)].check(dx, reference.relu_backward(dy, x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("at", range(40))
def test_relu_keeps_nan_in_every_lane_and_tail(dtype, at):
    x = np.ones(40, dtype)
    x[at] = np.nan
    assert np.isnan(F.relu(x)[at])
    assert np.isnan(F.relu(x)).sum() == 1


ACTIVATIONS = [
    ("sigmoid", reference.sigmoid, ()),
    ("tanh", np.tanh, ()),
    ("relu6", reference.relu6, ()),
    ("hardtanh", reference.hardtanh, ()),
    ("hardtanh", reference.hardtanh, (-0.5, 2.0)),
    ("leaky_relu", reference.leaky_relu, ()),
    ("leaky_relu", reference.leaky_relu, (0.3,)),
    ("silu", reference.silu, ()),
    ("softsign", reference.softsign, ()),
    ("tanhshrink", reference.tanhshrink, ()),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "expected", "options"), ACTIVATIONS)
def test_activation_and_gradient(name, expected, options, dtype):
    rng = np.random.default_rng(3)
    x, dy = (4 * rng.standard_normal((2, 3, 37))).astype(dtype)
    forward, backward = getattr(F, name), getattr(F, name + "_backward")
    tolerance = DIRECT[np.dtype(dtype)]
    y = forward(x, *options)
    assert y.dtype == dtype
    tolerance.check(y, expected(x.astype(float), *options))
    (dx,) = backward(dy, x, *options)
    assert dx.dtype == dtype
    by_differences = gradient(lambda v: expected(v, *options), x, dy.astype(float))
    if dtype == np.float64:
        CENTRAL_DIFFERENCE.check(dx, by_differences)
    else:
        tolerance.check(dx, by_differences)


@pytest.mark.parametrize(("name", "expected", "options"), ACTIVATIONS)
def test_activation_of_any_strides_and_any_number_of_axes(name, expected, options):
    x = np.random.default_rng(4).standard_normal((2, 1, 3, 1, 2, 1, 5)).T
    out = np.empty(x.shape)
    assert getattr(F, name)(x, *options, out=out) is out
    DIRECT[x.dtype].check(out, expected(x, *options))


@pytest.mark.parametrize("name", ["relu6", "hardtanh", "leaky_relu", "silu", "dropout"])
def test_inplace(name):
    options = {"rng": 1} if name == "dropout" else {}
    x = np.linspace(-8, 8, 33)
    expected = getattr(F, name)(x, **options)
    assert getattr(F, name)(x, inplace=True, **options) is x
    np.testing.assert_array_equal(x, expected)


def test_errors_of_activations():
    x = np.ones(3)
    with pytest.raises(TypeError, match=r"negative_slope: expected a number, got str"):
        F.leaky_relu(x, "0.1")
    with pytest.raises(ValueError, match=r"negative_slope: expected a number, got NaN"):
        F.leaky_relu(x, np.nan)
    with pytest.raises(ValueError, match=r"min_val: expected at most max_val, got 2.0 and 1.0"):
        F.hardtanh(x, 2, 1)
    with pytest.raises(ValueError, match=r"grad_output: expected shape \(3,\), got \(2,\)"):
        F.silu_backward(np.ones(2), x)
    with pytest.raises(TypeError, match="out: expected a NumPy array"):
        F.silu([1.0, 2.0], inplace=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout_drops_its_share_and_scales_the_rest(p, dtype):
    x = np.random.default_rng(7).uniform(1, 2, (200, 300)).astype(dtype)
    y = F.dropout(x, p, rng=11)
    kept = y != 0
    # Six standard deviations of a binomial share.
    assert abs(kept.mean() - (1 - p)) <= 6 * (p * (1 - p) / x.size) ** 0.5
    if p < 1:
        DIRECT[np.dtype(dtype)].check(y[kept], x[kept].astype(float) / (1 - p))
    (dx,) = F.dropout_backward(x, x, p, rng=11)
    np.testing.assert_array_equal(dx, y)


def test_dropout_depends_on_its_seed():
    x = np.ones(1000)
    np.testing.assert_array_equal(F.dropout(x, rng=1), F.dropout(x, rng=1))
    assert (F.dropout(x, rng=1) != F.dropout(x, rng=2)).any()
    assert (F.dropout(x) != F.dropout(x)).any()
    np.testing.assert_array_equal(F.dropout(x, training=False), x)
    np.testing.assert_array_equal(F.dropout_backward(x, x, training=False)[0], x)


def test_errors_of_dropout():
    x = np.ones(3)
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"p: expected a probability from 0 to 1, got {p}"):
            F.dropout(x, p)
    with pytest.raises(TypeError, match="rng: expected an integer seed or None, got float"):
        F.dropout(x, rng=1.0)
    with pytest.raises(ValueError, match=r"rng: expected a seed from 0 to 2\*\*64 - 1, got -1"):
        F.dropout(x, rng=-1)
    with pytest.raises(ValueError, match="rng: expected the seed"):
        F.dropout_backward(x, x)
