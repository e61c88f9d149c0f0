import numpy as np
import piste.functional as F
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import norm as reference
from reference.differences import gradient
from reference.threads import check_same_bits
from tolerances import CENTRAL_DIFFERENCE, DIRECT

DTYPES = [np.float32, np.float64]
seeds = st.integers(0, 2**32 - 1)


def affine(rng, shape, dtype, weighted, biased):
    weight = rng.uniform(0.5, 2, shape).astype(dtype) if weighted else None
    bias = rng.standard_normal(shape).astype(dtype) if biased else None
    return weight, bias


def wide(*arrays):
    return [None if array is None else array.astype(float) for array in arrays]


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    lead=st.lists(st.integers(1, 5), max_size=3),
    shape=st.lists(st.integers(2, 9), min_size=1, max_size=3),
    weighted=st.booleans(),
    biased=st.booleans(),
    seed=seeds,
)
def test_layer_norm(dtype, lead, shape, weighted, biased, seed):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((*lead, *shape)) + 3).astype(dtype)
    weight, bias = affine(rng, shape, dtype, weighted, biased)
    y = F.layer_norm(x, shape, weight, bias, 1e-3)
    w, b = np.ones(shape) if weight is None else weight, 0 if bias is None else bias
    expected = reference.layer_norm(x.astype(float), shape, w, b, 1e-3)
    assert y.dtype == dtype
    DIRECT[np.dtype(dtype)].check(y, expected, 3)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    n=st.integers(1, 3),
    groups=st.integers(1, 4),
    per_group=st.integers(1, 5),
    extents=st.sampled_from([(), (1,), (7,), (2, 3), (8, 8), (5, 17), (2, 3, 13)]),
    weighted=st.booleans(),
    biased=st.booleans(),
    seed=seeds,
)
def test_group_norm(dtype, n, groups, per_group, extents, weighted, biased, seed):
    rng = np.random.default_rng(seed)
    channels = groups * per_group
    x = (rng.standard_normal((n, channels, *extents)) + 3).astype(dtype)
    if n * per_group * np.prod(extents) == 1:
        with pytest.raises(ValueError, match="more than 1 value per group"):
            F.group_norm(x, groups)
        return
    weight, bias = affine(rng, channels, dtype, weighted, biased)
    y = F.group_norm(x, groups, weight, bias, 1e-3)
    expected = reference.group_norm(x.astype(float), groups, *wide(weight, bias), 1e-3)
    DIRECT[np.dtype(dtype)].check(y, expected, 3)


# Whole and partial vectors, planes as rows and as themselves, runs that are cut for threads.
LAYERS = [((3, 7), (7,)), ((2, 3, 4, 5), (4, 5)), ((4, 33), (33,)), ((2, 4, 5), (2, 4, 5))]
GROUPS = [((2, 6), 2), ((3, 4, 5), 2), ((2, 6, 3, 4), 6), ((2, 4, 9, 8), 2), ((2, 2, 70), 1)]


@pytest.mark.parametrize(("shape", "normalized"), LAYERS)
def test_gradients_of_layer_norm(shape, normalized):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, *shape))
    weight, bias = affine(rng, normalized, float, True, True)
    got = F.layer_norm_backward(dy, x, normalized, weight, bias)
    rule = reference.layer_norm
    for array, expected in zip(got, (
        gradient(lambda v: rule(v, normalized, weight, bias), x, dy),
        gradient(lambda v: rule(x, normalized, v, bias), weight, dy),
        gradient(lambda v: rule(x, normalized, weight, v), bias, dy),
    ), strict=True):  # fmt: skip
        CENTRAL_DIFFERENCE.check(array, expected)
    dx, dw, db = F.layer_norm_backward(dy, x, normalized)
    CENTRAL_DIFFERENCE.check(dx, gradient(lambda v: rule(v, normalized), x, dy))
    assert dw is db is None
    _, dw, db = F.layer_norm_backward(dy, x, normalized, None, bias)
    assert dw is None
    np.testing.assert_array_equal(db, got[2])


@pytest.mark.parametrize(("shape", "groups"), GROUPS)
def test_gradients_of_group_norm(shape, groups):
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, *shape))
    weight, bias = affine(rng, shape[1], float, True, True)
    got = F.group_norm_backward(dy, x, groups, weight, bias)
    rule = reference.group_norm
    for array, expected in zip(got, (
        gradient(lambda v: rule(v, groups, weight, bias), x, dy),
        gradient(lambda v: rule(x, groups, v, bias), weight, dy),
        gradient(lambda v: rule(x, groups, weight, v), bias, dy),
    ), strict=True):  # fmt: skip
        CENTRAL_DIFFERENCE.check(array, expected)
    dx, dw, db = F.group_norm_backward(dy, x, groups)
    CENTRAL_DIFFERENCE.check(dx, gradient(lambda v: rule(v, groups), x, dy))
    assert dw is db is None
    _, dw, db = F.group_norm_backward(dy, x, groups, None, bias)
    assert dw is None
    np.testing.assert_array_equal(db, got[2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mean_far_above_the_deviation(dtype):
    x = (np.random.default_rng(3).standard_normal((2, 4, 50, 50)) + 4096).astype(dtype)
    error = 4 * 4096 * np.finfo(dtype).eps  # the mean itself is rounded to the dtype
    expected = reference.group_norm(x.astype(float), 2)
    np.testing.assert_allclose(F.group_norm(x, 2), expected, atol=error)
    expected = reference.layer_norm(x.astype(float), (50, 50))
    np.testing.assert_allclose(F.layer_norm(x, (50, 50)), expected, atol=error)


@pytest.mark.parametrize("use_input_stats", [True, False])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 9, 8)])
def test_instance_norm(shape, use_input_stats):
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((2, *shape))
    weight, bias = affine(rng, shape[1], float, True, True)
    mean, var = rng.standard_normal(shape[1]), rng.uniform(0.5, 2, shape[1])
    kept = mean.copy(), var.copy()
    y = F.instance_norm(x, mean, var, weight, bias, use_input_stats, 0.3)
    gradients = F.instance_norm_backward(dy, x, *kept, weight, bias, use_input_stats)
    if not use_input_stats:
        np.testing.assert_array_equal((mean, var), kept)
        np.testing.assert_array_equal(y, F.batch_norm(x, *kept, weight, bias))
        expected = F.batch_norm_backward(dy, x, *kept, weight, bias)
    else:
        axes = tuple(range(2, x.ndim))
        np.testing.assert_array_equal(y, F.group_norm(x, shape[1], weight, bias))
        np.testing.assert_allclose(mean, 0.7 * kept[0] + 0.3 * x.mean(axes).mean(0))
        np.testing.assert_allclose(var, 0.7 * kept[1] + 0.3 * x.var(axes, ddof=1).mean(0))
        expected = F.group_norm_backward(dy, x, shape[1], weight, bias)
        np.testing.assert_array_equal(F.instance_norm(x, weight=weight, bias=bias), y)
    for got, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    shape=st.tuples(*(st.integers(1, top) for top in (2, 9, 3, 40))),
    size=st.integers(1, 12),
    numbers=st.sampled_from([(1e-4, 0.75, 1.0), (1.0, 0.5, 2.0), (0.3, 1.25, 0.5)]),
    seed=seeds,
)
def test_local_response_norm(dtype, shape, size, numbers, seed):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    expected = reference.local_response_norm(x.astype(float), size, *numbers)
    DIRECT[np.dtype(dtype)].check(F.local_response_norm(x, size, *numbers), expected, 0.3)


@pytest.mark.parametrize(("shape", "size"), [((2, 7, 3), 5), ((1, 4, 5, 13), 2), ((2, 2, 3), 9)])
def test_gradient_of_local_response_norm(shape, size):
    x, dy = np.random.default_rng(5).standard_normal((2, *shape))
    (dx,) = F.local_response_norm_backward(dy, x, size, 0.7, 0.75, 1.5)
    rule = lambda v: reference.local_response_norm(v, size, 0.7, 0.75, 1.5)  # noqa: E731
    CENTRAL_DIFFERENCE.check(dx, gradient(rule, x, dy))


LAYER, GROUP = (F.layer_norm, F.layer_norm_backward), (F.group_norm, F.group_norm_backward)
OPERATIONS = {
    "layer_norm": (*LAYER, lambda s: (s[-1:],), s := (5, 9, 6, 300)),
    "layer_norm of long runs": (*LAYER, lambda s: (s[1:],), (3, 90_000)),
    "group_norm": (*GROUP, lambda s: (3,), s),
    "group_norm of short planes": (*GROUP, lambda s: (3,), (50, 66, 7)),
    "group_norm of long runs": (*GROUP, lambda s: (1,), (2, 3, 40_000)),
    "local_response_norm": (F.local_response_norm, F.local_response_norm_backward,
                            lambda s: (5, 0.5), s),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_same_bits_on_any_number_of_threads(name):
    forward, backward, arguments, shape = OPERATIONS[name]
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    options = arguments(shape)
    if "response" not in name:
        options += affine(rng, options[0] if "layer" in name else shape[1], np.float32, True, True)
    check_same_bits(lambda: (forward(x, *options), *backward(dy, x, *options)), (1, 2, 3, 8))


@pytest.mark.parametrize("name", OPERATIONS)
def test_float32_follows_float64(name):
    forward, backward, arguments, shape = OPERATIONS[name]
    rng = np.random.default_rng(7)
    x, dy = rng.standard_normal((2, *shape)).astype(np.float32)
    options = arguments(shape)
    if "response" not in name:
        options += affine(rng, options[0] if "layer" in name else shape[1], np.float32, True, True)
    doubles = [v.astype(float) if isinstance(v, np.ndarray) else v for v in options]
    tolerance = DIRECT[np.dtype(np.float32)]
    tolerance.check(forward(x, *options), forward(x.astype(float), *doubles))
    got = backward(dy, x, *options)
    for array, expected in zip(got, backward(*wide(dy, x), *doubles), strict=True):
        tolerance.check(array, expected)


def test_gradients_by_any_kind_of_array_are_plain_ones():
    class Kind(np.ndarray):
        pass

    x, weight = np.random.default_rng(9).standard_normal((3, 4, 5)), np.ones(4).view(Kind)
    for gradients in (
        F.group_norm_backward(x, x, 2, weight, weight),
        F.instance_norm_backward(x, x, None, None, weight, weight),
    ):
        assert [type(gradient) for gradient in gradients] == [np.ndarray] * 3


def test_other_memory_and_out():
    x = np.random.default_rng(8).standard_normal((5, 6, 4)).T
    expected = F.group_norm(np.ascontiguousarray(x), 2)
    np.testing.assert_array_equal(F.group_norm(x, 2), expected)
    out = np.empty(x.shape[::-1]).T
    for call in (
        lambda x, out: F.group_norm(x, 2, out=out),
        lambda x, out: F.layer_norm(x, x.shape[1:], out=out),
        lambda x, out: F.local_response_norm(x, 3, out=out),
    ):
        expected = call(x, None)
        assert call(x, out) is out
        np.testing.assert_array_equal(out, expected)
        swapped = x.astype(">f8")
        np.testing.assert_array_equal(call(swapped, None), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_single_value_has_no_gradient(dtype):
    x, dy = np.random.default_rng(5).standard_normal((2, 7, 1)).astype(dtype)
    weight = np.array([-8.47], dtype)
    dx, dweight, dbias = F.layer_norm_backward(dy, x, (1,), weight, weight)
    np.testing.assert_array_equal(dx, np.zeros_like(x))
    np.testing.assert_array_equal(dweight, [0])
    np.testing.assert_allclose(dbias, dy.sum(0), rtol=1e-5)
    np.testing.assert_array_equal(F.layer_norm_backward(dy, x, (1,))[0], np.zeros_like(x))
    dy[3] = np.nan
    np.testing.assert_array_equal(np.isnan(F.layer_norm_backward(dy, x, (1,))[0]), np.isnan(dy))


def test_nothing_to_normalise():
    empty = np.ones((0, 4, 3))
    assert F.group_norm(empty, 2).shape == empty.shape
    assert F.instance_norm(empty).shape == empty.shape
    assert F.layer_norm(empty, (3,)).shape == empty.shape
    assert F.local_response_norm(empty, 3).shape == empty.shape
    weight = np.ones(4)
    for gradient_ in F.group_norm_backward(empty, empty, 2, weight, weight)[1:]:
        np.testing.assert_array_equal(gradient_, np.zeros(4))
    for gradient_ in F.layer_norm_backward(empty, empty, (3,), weight[:3], weight[:3])[1:]:
        np.testing.assert_array_equal(gradient_, np.zeros(3))


X, C = np.zeros((2, 4, 3)), np.ones(4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.layer_norm(X, 3), TypeError, "normalized_shape: expected a tuple"),
        (lambda: F.layer_norm(X, ()), ValueError, r"normalized_shape: .* got \(\)"),
        (lambda: F.layer_norm(X, (4,)), ValueError, r"last extents of \(2, 4, 3\).* got \(4,\)"),
        (
            lambda: F.layer_norm(X, (3,), C),
            ValueError,
            r"weight: expected shape \(3,\)",
        ),
        (lambda: F.layer_norm(X, (3.0,)), TypeError, "normalized_shape: expected an integer"),
        (lambda: F.layer_norm(X, (3,), eps=np.inf), ValueError, "eps: expected a finite number"),
        (lambda: F.layer_norm_backward(C, X, (3,)), ValueError, "grad_output: expected shape"),
        (lambda: F.group_norm(C, 2), ValueError, r"input: expected shape \(n, channels, ...\)"),
        (lambda: F.group_norm(X, 3), ValueError, "4 channels cannot be split into 3 groups"),
        (lambda: F.group_norm(X, 0), ValueError, "num_groups: expected an integer from 1"),
        (lambda: F.group_norm(X, None), TypeError, "num_groups: expected an integer, got NoneType"),
        (lambda: F.group_norm(X, 2, C[:3]), ValueError, "weight: expected shape"),
        (lambda: F.group_norm(X, 2, None, C.astype(int)), TypeError, "bias: expected dtype"),
        (lambda: F.instance_norm(X[..., :1]), ValueError, "more than 1 spatial value"),
        (lambda: F.instance_norm(X, use_input_stats=False), ValueError, "expected arrays unless"),
        (lambda: F.instance_norm(X, C), ValueError, "expected both or neither"),
        (lambda: F.instance_norm(X, use_input_stats=1), TypeError, "use_input_stats: expected Tr"),
        (lambda: F.instance_norm(X, C[1:], C), ValueError, "running_mean: expected shape"),
        (lambda: F.instance_norm(X, [1.0] * 4, C), TypeError, "expected a NumPy array to update"),
        (lambda: F.local_response_norm(X[0], 3), ValueError, r"input: .*got \(4, 3\)"),
        (lambda: F.local_response_norm(X, 0), ValueError, "size: expected an integer from 1"),
        (lambda: F.local_response_norm(X, 3, "a"), TypeError, "alpha: expected a number"),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_eps_below_zero_is_added_as_it_stands():
    x = np.array([[1.0, 3.0]])
    np.testing.assert_allclose(F.layer_norm(x, (2,), eps=-0.75), [[-2.0, 2.0]])
    np.testing.assert_allclose(F.group_norm(x[..., None], 1, eps=-0.75)[..., 0], [[-2.0, 2.0]])
    assert np.isnan(F.layer_norm(x, (2,), eps=-2.0)).all()
