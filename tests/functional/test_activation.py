import numpy as np
import piste.functional as F
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import activation as reference
from reference.differences import gradient
from reference.threads import check_same_bits
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
    ("softsign", reference.softsign, ()),
    ("tanhshrink", reference.tanhshrink, ()),
    ("elu", reference.elu, ()),
    ("elu", reference.elu, (0.3,)),
    ("selu", reference.selu, ()),
    ("celu", reference.celu, ()),
    ("celu", reference.celu, (2.5,)),
    ("celu", reference.celu, (-3.0,)),
    ("gelu", reference.gelu, ()),
    ("silu", reference.silu, ()),
    ("mish", reference.mish, ()),
    ("softplus", reference.softplus, ()),
    ("softplus", reference.softplus, (2.0, 6.0)),
    ("softplus", reference.softplus, (-0.5, 3.0)),
    ("logsigmoid", reference.logsigmoid, ()),
    ("threshold", reference.threshold, (0.5, -2.0)),
    ("hardswish", reference.hardswish, ()),
    ("hardsigmoid", reference.hardsigmoid, ()),
]
NAMES = sorted({name for name, *_ in ACTIVATIONS} | {"relu"})
ARGUMENTS = {"threshold": (0.5, -2.0)}  # of those that have no defaults


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


INPLACE = ["relu", "relu6", "hardtanh", "leaky_relu", "silu", "elu", "selu", "celu", "mish",
           "hardswish", "hardsigmoid", "threshold", "dropout"]  # fmt: skip


@pytest.mark.parametrize("name", INPLACE)
def test_inplace(name):
    options = {"rng": 1} if name == "dropout" else {}
    arguments = ARGUMENTS.get(name, ())
    x = np.linspace(-8, 8, 33)
    expected = getattr(F, name)(x, *arguments, **options)
    assert getattr(F, name)(x, *arguments, inplace=True, **options) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate, dtype):
    rng = np.random.default_rng(8)
    x, dy = (2 * rng.standard_normal((2, 999))).astype(dtype)
    tolerance = DIRECT[np.dtype(dtype)]
    tolerance.check(
        F.gelu(x, approximate=approximate), reference.gelu(x.astype(float), approximate)
    )
    by_differences = gradient(lambda v: reference.gelu(v, approximate), x, dy.astype(float))
    (dx,) = F.gelu_backward(dy, x, approximate=approximate)
    (tolerance if dtype == np.float32 else CENTRAL_DIFFERENCE).check(dx, by_differences)


def test_gelu_of_the_far_left_is_exact_to_some_units_in_the_last_place():
    for dtype, most in ((np.float32, 12), (np.float64, 37)):
        x = np.linspace(-most, 0, 500, dtype=dtype)
        expected = reference.gelu(x.astype(float))
        error = np.abs(F.gelu(x) - expected) / np.maximum(-expected, np.finfo(dtype).tiny)
        # The rounding of x^2 / 2 in its exponential grows with x^2.
        assert (error <= np.finfo(dtype).eps * (8 + x.astype(float) ** 2)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_in_every_lane_and_tail(name, dtype):
    f, arguments = getattr(F, name), ARGUMENTS.get(name, ())
    bits = np.uint32 if dtype == np.float32 else np.uint64
    for at in range(35):
        x = np.linspace(-3, 3, 35, dtype=dtype)
        x[at] = np.nan
        x.view(bits)[at] |= bits(at)  # with any payload
        np.testing.assert_array_equal(np.isnan(f(x, *arguments)), np.arange(35) == at)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["elu", "selu", "celu", "hardswish", "silu", "gelu", "softplus"])
def test_a_slope_at_nan_is_nan_in_every_lane_and_tail(name, dtype):
    dy = np.ones(35, dtype)
    for at in range(35):
        x = np.linspace(-3, 3, 35, dtype=dtype)
        x[at] = np.nan
        (dx,) = getattr(F, f"{name}_backward")(dy, x)
        np.testing.assert_array_equal(np.isnan(dx), np.arange(35) == at)


LIMITS = {  # at -infinity, -1e30, -90, 90, 1e30, infinity
    "sigmoid": [0, 0, 0, 1, 1, 1],
    "tanh": [-1, -1, -1, 1, 1, 1],
    "elu": [-1, -1, -1, 90, 1e30, np.inf],
    "gelu": [np.nan, 0, 0, 90, 1e30, np.inf],
    "mish": [np.nan, 0, 0, 90, 1e30, np.inf],
    "silu": [np.nan, 0, 0, 90, 1e30, np.inf],
    "softplus": [0, 0, 0, 90, 1e30, np.inf],
    "logsigmoid": [-np.inf, -1e30, -90, 0, 0, 0],
    "hardswish": [np.nan, 0, 0, 90, 1e30, np.inf],
    "hardsigmoid": [0, 0, 0, 1, 1, 1],
    "softsign": [np.nan, -1, -90 / 91, 90 / 91, 1, np.nan],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_far_away(name, dtype):
    x = np.array([-np.inf, -1e30, -90, 90, 1e30, np.inf], dtype)
    got = getattr(F, name)(x)
    np.testing.assert_allclose(got, np.array(LIMITS[name], dtype), rtol=1e-6, atol=1e-36)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponentials_up_to_the_largest_number(dtype):
    top = np.log(np.finfo(dtype).max, dtype=float)
    x = np.linspace(-top * (1 - 1e-6), 0, 1001).astype(dtype)
    expected = -np.expm1(-x.astype(float))
    np.testing.assert_allclose(F.celu(x, -1.0), expected, rtol=4 * np.finfo(dtype).eps)
    assert F.celu(np.array([-1.0001 * top], dtype), -1.0) == -np.inf


KINKS = {  # x and the derivative that PyTorch takes there
    "relu": {0: 0},
    "relu6": {0: 0, 6: 0},
    "hardtanh": {-1: 0, 1: 0},
    "leaky_relu": {0: 0.01},
    "elu": {0: 1},
    "selu": {0: 1.7580993408473766},
    "celu": {0: 1},
    "softplus": {20: 1 / (1 + np.exp(-20))},
    "threshold": {0.5: 0},
    "hardsigmoid": {-3: 0, 3: 0},
    "hardswish": {-3: 0, 3: 1},
}


@pytest.mark.parametrize("name", KINKS)
def test_gradients_at_kinks(name):
    backward, arguments = getattr(F, name + "_backward"), ARGUMENTS.get(name, ())
    for x, slope in KINKS[name].items():
        (dx,) = backward(np.array([2.0]), np.array([float(x)]), *arguments)
        np.testing.assert_allclose(dx, [2 * slope], rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "weights"), [
    ((5,), 1), ((), 1), ((0, 3), 3), ((7, 3), 3), ((2, 3, 5), 3), ((2, 3, 5), 1), ((3, 17, 9), 17),
    ((2, 3, 64), 3), ((3, 2, 10, 13), 2), ((2, 2, 1, 200, 100), 2), ((70, 1, 50), 1),
    ((1500, 40), 40), ((3, 0, 4), 0),
])  # fmt: skip
def test_prelu(shape, weights, dtype):
    rng = np.random.default_rng(9)
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    weight = rng.standard_normal(weights).astype(dtype)
    tolerance = DIRECT[np.dtype(dtype)]
    tolerance.check(F.prelu(x, weight), reference.prelu(x, weight))
    dx, dw = F.prelu_backward(dy, x, weight)
    wide = weight.reshape(-1, *[1] * (len(shape) - 2)) if weights != 1 else weight
    tolerance.check(dx, np.where(x > 0, dy, wide * dy).reshape(shape))
    slopes = np.where(x > 0, 0, x.astype(float) * dy)
    axes = None if weights == 1 else (0, *range(2, len(shape)))
    summed = slopes.sum(axes).reshape(weights)
    tolerance.check(dw, summed, (x.size / max(weights, 1)) ** 0.5)


def test_prelu_of_a_scalar_weight_and_other_memory():
    x = np.random.default_rng(10).standard_normal((4, 6, 5)).T
    weight = np.arange(12.0)[::-2]
    np.testing.assert_array_equal(F.prelu(x, np.array(0.5)), np.where(x > 0, x, 0.5 * x))
    assert F.prelu_backward(x, x, np.array(0.5))[1].shape == ()
    out = np.empty_like(x)
    assert F.prelu(x, weight, out=out) is out
    np.testing.assert_array_equal(out, reference.prelu(x, weight))


@pytest.mark.parametrize("shape", [(3, 5, 40000), (5000, 40)])
def test_prelu_has_the_same_bits_on_any_number_of_threads(shape):
    rng = np.random.default_rng(11)
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    weight = rng.standard_normal(shape[1]).astype(np.float32)
    check_same_bits(lambda: (F.prelu(x, weight), *F.prelu_backward(dy, x, weight)), (1, 2, 3, 8))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.elu(x, None), TypeError, "alpha: expected a number, got NoneType"),
        (lambda x: F.celu(x, 0), ValueError, "alpha: expected a number other than 0"),
        (lambda x: F.gelu(x, approximate="erf"), ValueError, "'none' or 'tanh', got 'erf'"),
        (lambda x: F.gelu(x, approximate=None), TypeError, "'none' or 'tanh', got NoneType"),
        (lambda x: F.softplus(x, "1"), TypeError, "beta: expected a number, got str"),
        (lambda x: F.softplus(x, 1, np.nan), ValueError, "threshold: expected a number, got NaN"),
        (lambda x: F.threshold(x, 0, [1, 2]), TypeError, "value: expected a number, got list"),
        (lambda x: F.prelu(x, np.ones((3, 1))), ValueError, r"weight: .* got shape \(3, 1\)"),
        (lambda x: F.prelu(x, np.ones(2)), ValueError, "expected 1 value or 3, .* got 2"),
        (lambda x: F.prelu(x[0], np.ones(3)), ValueError, "expected 1 value or 1, .* got 3"),
        (lambda x: F.prelu(x, np.ones(1, np.float32)), TypeError, "weight: expected dtype float64"),
        (
            lambda x: F.prelu_backward(x[0], x, np.ones(1)),
            ValueError,
            "grad_output: expected shape",
        ),
    ],
)
def test_what_further_activations_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((2, 3)))


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
    with pytest.raises(TypeError, match="training: expected True or False, got int 1"):
        F.dropout([1.0], 0.5, 1)
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
