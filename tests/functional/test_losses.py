"""Losses of single values: each is one entry of a table that all tests run through."""

import inspect
from dataclasses import dataclass, field

import numpy as np
import piste.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import losses as reference
from reference.differences import gradient
from reference.exported import Exported
from reference.threads import check_same_bits
from tolerances import CENTRAL_DIFFERENCE, DIRECT

DTYPES = [np.float32, np.float64]


def normal(rng, shape):
    return 2 * rng.standard_normal(shape)


def positive(rng, shape):
    return rng.uniform(0.2, 5, shape)


def signs(rng, shape):
    return rng.choice([-1.0, 1.0], shape)


def probability(rng, shape):
    return rng.uniform(0.05, 0.95, shape)


@dataclass(frozen=True)
class Case:
    """A loss, the formula of one value's loss, and how arrays for it are drawn."""

    name: str
    formula: object
    options: dict = field(default_factory=dict)
    arrays: dict = field(default_factory=lambda: {"input": normal, "target": normal})
    differentiable: int = 2
    broadcasts: bool = True
    nan: tuple = ("input", "target")  # whose NaN makes a loss of NaN
    nan_slopes: bool = True  # and a slope of NaN

    def __str__(self):
        return " ".join([self.name, *map(str, self.options.items()), *list(self.arrays)[2:]])

    def problem(self, shape, dtype, seed=0):
        rng = np.random.default_rng(seed)
        return {
            name: np.asarray(make(rng, shape)).astype(dtype) for name, make in self.arrays.items()
        }

    def forward(self, arrays, **options):
        return getattr(F, self.name)(**arrays, **self.options, **options)

    def backward(self, grad_output, arrays, **options):
        return getattr(F, self.name + "_backward")(grad_output, **arrays, **self.options, **options)

    def expected(self, arrays):
        wide = [np.asarray(array, float) for array in arrays.values()]
        return self.formula(*wide, **self.options)


def pair(input, target, **more):
    return {"input": input, "target": target, **more}


CASES = [
    Case("mse_loss", reference.squared),
    Case("l1_loss", reference.absolute),
    Case("smooth_l1_loss", reference.smooth_l1),
    Case("smooth_l1_loss", reference.smooth_l1, {"beta": 0.3}),
    Case("smooth_l1_loss", reference.smooth_l1, {"beta": 0.0}),
    Case("huber_loss", reference.huber),
    Case("huber_loss", reference.huber, {"delta": 2.5}),
    Case(
        "binary_cross_entropy",
        reference.bce,
        arrays=pair(probability, probability),
        broadcasts=False,
    ),
    Case(
        "binary_cross_entropy_with_logits",
        reference.bce_with_logits,
        arrays=pair(normal, probability),
        broadcasts=False,
    ),
    Case(
        "binary_cross_entropy_with_logits",
        reference.bce_with_logits,
        arrays=pair(normal, probability, pos_weight=positive),
        broadcasts=False,
    ),
    Case("kl_div", reference.kl_div, arrays=pair(normal, probability), nan_slopes=False),
    Case("kl_div", reference.kl_div, {"log_target": True}, nan_slopes=False),
    Case("poisson_nll_loss", reference.poisson_nll, arrays=pair(normal, positive)),
    Case("poisson_nll_loss", reference.poisson_nll, {"full": True}, pair(normal, positive)),
    Case(
        "poisson_nll_loss",
        reference.poisson_nll,
        {"log_input": False, "full": True, "eps": 0.1},
        pair(positive, positive),
    ),
    Case(
        "gaussian_nll_loss",
        reference.gaussian_nll,
        arrays=pair(normal, normal, var=positive),
        differentiable=3,
    ),
    Case(
        "gaussian_nll_loss",
        reference.gaussian_nll,
        {"full": True, "eps": 1e-3},
        pair(normal, normal, var=positive),
        differentiable=3,
    ),
    Case(
        "hinge_embedding_loss",
        reference.hinge_embedding,
        arrays=pair(normal, signs),
        differentiable=1,
        nan=("input",),
        nan_slopes=False,
    ),
    Case(
        "hinge_embedding_loss",
        reference.hinge_embedding,
        {"margin": 2.5},
        pair(normal, signs),
        differentiable=1,
        nan=("input",),
        nan_slopes=False,
    ),
    Case("soft_margin_loss", reference.soft_margin, arrays=pair(normal, signs), differentiable=1),
]
SHAPES = [(), (1,), (7,), (33,), (4, 1, 3), (3, 5, 2, 1, 2), (2, 1, 2, 1, 2, 1, 3, 1), (0,), (3, 0)]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def cases_with(parameter):
    """Mark a test to run for the losses that take an argument of this name."""
    taking = [c for c in CASES if parameter in inspect.signature(getattr(F, c.name)).parameters]
    return pytest.mark.parametrize("case", taking, ids=str)


@every_case
@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
def test_reductions(case, dtype, shape):
    arrays = case.problem(shape, dtype)
    losses = case.expected(arrays)
    for reduction in ("none", "mean", "sum"):
        got = case.forward(arrays, reduction=reduction)
        assert isinstance(got, np.ndarray)
        assert got.dtype == dtype
        if losses.size or reduction != "mean":
            expected = reference.reduce(losses, reduction)
            DIRECT[np.dtype(dtype)].check(got, expected, 1.0)
        else:
            assert np.isnan(got)
            assert got.shape == ()
    np.testing.assert_array_equal(case.forward(arrays), case.forward(arrays, reduction="mean"))


@every_case
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients_are_central_differences(case, reduction):
    arrays = case.problem((3, 7), np.float64, seed=1)
    shape = (3, 7) if reduction == "none" else ()
    grad = np.random.default_rng(2).standard_normal(shape)
    gradients = case.backward(grad, arrays, reduction=reduction)
    assert len(gradients) == case.differentiable
    for name, got in zip(arrays, gradients, strict=False):

        def loss(value, name=name):
            return reference.reduce(case.expected({**arrays, name: value}), reduction)

        CENTRAL_DIFFERENCE.check(got, gradient(loss, arrays[name], grad, 1e-6), 1e-2)


@every_case
@settings(max_examples=25)  # of each case
@given(n=st.integers(0, 80), seed=st.integers(0, 2**32 - 1))
def test_float32_follows_float64(case, n, seed):
    single = case.problem((n,), np.float32, seed)
    double = {name: array.astype(float) for name, array in single.items()}
    grad = np.random.default_rng(seed + 1).standard_normal(n).astype(np.float32)
    tolerance = DIRECT[np.dtype(np.float32)]
    for reduction in ("none", "sum"):
        expected = case.forward(double, reduction=reduction)
        tolerance.check(case.forward(single, reduction=reduction), expected, 1.0)
    for got, expected in zip(
        case.backward(grad, single, reduction="none"),
        case.backward(grad.astype(float), double, reduction="none"),
        strict=True,
    ):
        assert got.dtype == np.float32
        tolerance.check(got, expected, 1.0)


@every_case
@every_dtype
def test_nan_stays_where_it_is_in_every_lane_and_tail(case, dtype):
    for name in case.nan:
        for at in range(37):
            arrays = case.problem((37,), dtype)
            arrays[name][at] = np.nan
            losses = case.forward(arrays, reduction="none")
            np.testing.assert_array_equal(np.flatnonzero(np.isnan(losses)), [at])
            assert np.isnan(case.forward(arrays))
            if not case.nan_slopes:
                continue
            dx = case.backward(np.ones(37, dtype), arrays, reduction="none")[0]
            assert set(np.flatnonzero(np.isnan(dx))) == {at}


def variants(array):
    """The same values in memory of other kinds."""
    wide = np.zeros((2 * array.shape[0], array.shape[1] + 3), array.dtype)
    wide[::2, 1:-2] = array
    yield "strided", wide[::2, 1:-2]
    yield "negative strides", array[::-1, ::-1].copy()[::-1, ::-1]
    yield "column by column", np.asfortranarray(array)
    yield "big-endian", array.astype(array.dtype.newbyteorder(">"))
    frozen = array.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen


@every_case
@every_dtype
def test_any_memory(case, dtype):
    arrays = case.problem((5, 9), dtype)
    expected = case.forward(arrays)
    gradients = case.backward(1.0, arrays)
    changed = {name: dict(variants(array)) for name, array in arrays.items()}
    for kind in changed["input"]:
        others = {name: changed[name][kind] for name in arrays}
        np.testing.assert_array_equal(case.forward(others), expected)
        for got, wanted in zip(case.backward(1.0, others), gradients, strict=True):
            np.testing.assert_array_equal(got, wanted)
            assert got.dtype == dtype


@every_case
def test_same_bits_on_any_number_of_threads(case):
    arrays = case.problem((3, 70001), np.float32)
    grad = np.random.default_rng(3).standard_normal((3, 70001)).astype(np.float32)

    def compute():
        values = [case.forward(arrays, reduction=r) for r in ("none", "sum")]
        return [*values, *case.backward(grad, arrays, reduction="none")]

    check_same_bits(compute)


@cases_with("weight")
def test_a_weight_multiplies_each_loss(case):
    arrays = case.problem((4, 6), np.float64)
    weight = np.random.default_rng(5).uniform(0.5, 2, (4, 1))
    losses = case.expected(arrays) * weight
    means = {"mse_loss": 6 * weight.sum(), "l1_loss": 6 * weight.sum()}
    tolerance = DIRECT[np.dtype(float)]
    for reduction in ("none", "mean", "sum"):
        expected = reference.reduce(losses, reduction, means.get(case.name))
        tolerance.check(case.forward(arrays, weight=weight, reduction=reduction), expected)
        grad = np.ones(losses.shape if reduction == "none" else ())
        got = case.backward(grad, arrays, weight=weight, reduction=reduction)
        plain = case.backward(np.ones((4, 6)), arrays, reduction="none")
        divisor = means.get(case.name, losses.size) if reduction == "mean" else 1
        for dx, unweighted in zip(got, plain, strict=True):
            tolerance.check(dx, unweighted * weight / divisor)


@cases_with("reduce")
def test_older_arguments_of_the_reduction(case):
    arrays = case.problem((5,), np.float64)
    for old, new in [
        ({"size_average": False}, "sum"),
        ({"size_average": True}, "mean"),
        ({"reduce": False}, "none"),
        ({"reduce": True}, "mean"),
        ({"size_average": False, "reduce": True}, "sum"),
        ({"size_average": False, "reduce": False}, "none"),
    ]:
        np.testing.assert_array_equal(
            case.forward(arrays, **old), case.forward(arrays, reduction=new)
        )


@every_case
def test_what_every_loss_refuses(case):
    arrays = case.problem((3,), np.float64)
    with pytest.raises(ValueError, match="reduction: expected one of 'none', 'mean', 'sum'"):
        case.forward(arrays, reduction="median")
    with pytest.raises(TypeError, match="input: expected dtype float32 or float64, got int64"):
        case.forward({**arrays, "input": np.ones(3, int)})
    with pytest.raises(TypeError, match="target: expected dtype float64 as the input has, got"):
        case.forward({**arrays, "target": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match=r"target: expected .*\(3,\), got \(2,\)"):
        case.forward({**arrays, "target": np.ones(2)})
    with pytest.raises(ValueError, match=r"grad_output: expected shape \(3,\), got \(\)"):
        case.backward(np.ones(()), arrays, reduction="none")
    with pytest.raises(ValueError, match=r"grad_output: expected shape \(\), got \(3,\)"):
        case.backward(np.ones(3), arrays)
    with pytest.raises(TypeError, match="grad_output: expected dtype float64"):
        case.backward(np.ones((), np.float32), arrays)
    for name in [n for n in arrays if n not in ("input", "target")]:
        with pytest.raises(ValueError, match=rf"{name}: expected a shape that .*, got \(2,\)"):
            case.forward({**arrays, name: np.ones(2)})


def of_whole_numbers(case):
    """The arrays of a case as integers, as floats, and whether the loss takes integers."""
    arrays = case.problem((4, 3), np.float32)
    arrays["target"] = np.sign(arrays["target"]).astype(np.int64)
    wide = {**arrays, "target": arrays["target"].astype(np.float32)}
    return arrays, wide, case.broadcasts and case.name != "kl_div"


@every_case
def test_integers_are_targets_without_a_gradient(case):
    whole, wide, taken = of_whole_numbers(case)
    if not taken:
        with pytest.raises(TypeError, match="target: expected dtype float32 or float64, got int64"):
            case.forward(whole)
        return
    for kind in (np.int64, np.int32, np.uint8, bool):
        whole["target"] = whole["target"].astype(kind)
        wide["target"] = whole["target"].astype(np.float32)
        for reduction in ("mean", "none"):
            got = case.forward(whole, reduction=reduction)
            np.testing.assert_array_equal(got, case.forward(wide, reduction=reduction))
            assert got.dtype == np.float32
            grad = np.ones(got.shape, np.float32)
            gradients = case.backward(grad, whole, reduction=reduction)
            expected = list(case.backward(grad, wide, reduction=reduction))
            del expected[1:2]
            for gradient_, wanted in zip(gradients, expected, strict=True):
                np.testing.assert_array_equal(gradient_, wanted)


REPEATING = [case for case in CASES if case.broadcasts]
every_broadcast = pytest.mark.parametrize("case", REPEATING, ids=str)


@every_broadcast
def test_target_broadcasts_to_the_input(case):
    arrays = case.problem((4, 3), np.float64)
    arrays["target"] = arrays["target"][1]
    whole = {**arrays, "target": np.broadcast_to(arrays["target"], (4, 3))}
    np.testing.assert_array_equal(case.forward(arrays), case.forward(whole))
    gradients, expected = case.backward(1.0, arrays), case.backward(1.0, whole)
    np.testing.assert_array_equal(gradients[0], expected[0])
    if case.differentiable > 1:
        DIRECT[np.dtype(float)].check(gradients[1], expected[1].sum(0), 1.0)
        arrays["target"] = np.array(0.5)
        assert case.backward(1.0, arrays)[1].shape == ()


@pytest.mark.parametrize("case", [c for c in REPEATING if c.name != "soft_margin_loss"], ids=str)
def test_an_input_repeated_for_its_target_is_worth_a_warning(case):
    arrays = case.problem((4, 5), np.float64)
    arrays["input"] = arrays["input"][:, :1]
    whole = {**arrays, "input": np.broadcast_to(arrays["input"], (4, 5))}
    if "var" in arrays:
        arrays["var"] = whole["var"] = np.ones((4, 1))
    with pytest.warns(UserWarning, match=r"input of shape \(4, 1\) is broadcast to \(4, 5\)") as w:
        loss = getattr(F, case.name)(**arrays, **case.options)
    assert w[0].filename == __file__
    assert loss == case.forward(whole)
    with pytest.warns(UserWarning, match="broadcast"):
        dx = case.backward(1.0, arrays)[0]
    expected = case.backward(1.0, whole)[0].sum(1, keepdims=True)
    DIRECT[np.dtype(float)].check(dx, expected, 1.0)


@every_dtype
def test_least_squares_divides_by_nothing(dtype):
    x, t = normal(np.random.default_rng(1), (2, 5, 7)).astype(dtype)
    np.testing.assert_array_equal(F.least_squares_loss(x, t), F.mse_loss(x, t, reduction="sum"))
    for got, expected in zip(
        F.least_squares_loss_backward(1.0, x, t), (2 * (x - t), 2 * (t - x)), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    weight = np.full(7, 3, dtype)
    DIRECT[np.dtype(dtype)].check(
        F.least_squares_loss(x, t, weight), 3 * np.sum((x.astype(float) - t) ** 2)
    )


@every_dtype
def test_sums_are_taken_in_double(dtype):
    x = np.full(3_000_001, 0.1, dtype)
    expected = len(x) * float(x[0] * x[0])
    got = float(F.mse_loss(x, np.zeros_like(x), reduction="sum"))
    # One rounding of each square and one of the sum: in float32 the sum would lose three digits.
    assert abs(got / expected - 1) < 2 * np.finfo(dtype).eps + 1e-12
    big = np.full(4, 1e19, np.float32)  # the squares add up to more than float32 holds
    DIRECT[np.dtype(np.float32)].check(F.mse_loss(big, 0 * big), 1e38)
    assert F.mse_loss(big, 0 * big, reduction="sum") == np.inf


@every_dtype
def test_infinity(dtype):
    inf = np.array([np.inf, -np.inf, np.inf], dtype)
    zero = np.array([0, 0, np.inf], dtype)
    np.testing.assert_array_equal(F.mse_loss(inf, zero, reduction="none"), [np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(F.l1_loss(inf, zero, reduction="none"), [np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(F.l1_loss_backward(1.0, inf, zero, reduction="sum")[0],
                                  [1, -1, np.nan])  # fmt: skip


def test_l1_has_gradient_0_where_there_is_no_difference():
    dx, dt = F.l1_loss_backward(1.0, [1.0, 2.0], [1.0, 1.0])
    np.testing.assert_array_equal(dx, [0, 0.5])
    np.testing.assert_array_equal(dt, [0, -0.5])


@every_dtype
def test_logits_keep_their_relative_accuracy(dtype):
    x = np.array([-80, -30, -20, -10, -1, -1e-6, 0, 1e-6, 1, 10, 20, 30, 80], dtype)
    wide = x.astype(float)
    bound = 8 * np.finfo(dtype).eps
    for t, exact, slope in [
        (0, np.logaddexp(0, wide), 1 / (1 + np.exp(-wide))),
        (1, np.logaddexp(0, -wide), -1 / (1 + np.exp(wide))),
    ]:
        target = np.full_like(x, t)
        losses = F.binary_cross_entropy_with_logits(x, target, reduction="none")
        np.testing.assert_allclose(losses, exact, rtol=bound)
        dx, dt = F.binary_cross_entropy_with_logits_backward(1.0, x, target, reduction="sum")
        np.testing.assert_allclose(dx, slope, rtol=bound)
        np.testing.assert_allclose(dt, -wide, rtol=bound)


@every_dtype
def test_small_probabilities_keep_their_relative_accuracy(dtype):
    x = np.array([1e-30, 1e-10, 1e-6, 1e-3, 0.4], dtype)
    got = F.binary_cross_entropy(x, np.zeros_like(x), reduction="none")
    np.testing.assert_allclose(got, -np.log1p(-x.astype(float)), rtol=8 * np.finfo(dtype).eps)


@every_dtype
def test_huge_logits(dtype):
    x = np.array([-1e30, 1e30, -1e30, 1e30], dtype)
    t = np.array([0, 1, 1, 0], dtype)
    losses = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_array_equal(losses, np.array([0, 0, 1e30, 1e30], dtype))
    dx, _ = F.binary_cross_entropy_with_logits_backward(1.0, x, t, reduction="sum")
    np.testing.assert_array_equal(dx, [0, 0, -1, 1])


@every_dtype
def test_certain_probabilities_cost_a_hundred_at_most(dtype):
    x, t = np.array([0, 1, 0, 1], dtype), np.array([0, 1, 1, 0], dtype)
    np.testing.assert_array_equal(F.binary_cross_entropy(x, t, reduction="none"), [0, 0, 100, 100])
    dx, dt = F.binary_cross_entropy_backward(1.0, x, t, reduction="sum")
    np.testing.assert_allclose(dx, [0, 0, -1e12, 1e12], rtol=1e-6)
    np.testing.assert_array_equal(dt, [100, -100, 100, -100])


@pytest.mark.parametrize("value", [-0.25, 1.5, np.inf, -np.inf])
def test_binary_cross_entropy_refuses_what_is_no_probability(value):
    x, zero = np.array([0.5, value, np.nan]), np.zeros(3)
    with pytest.raises(ValueError, match=f"input: expected probabilities from 0 to 1, got {value}"):
        F.binary_cross_entropy(x, zero)
    with pytest.raises(ValueError, match="input: expected probabilities"):
        F.binary_cross_entropy_backward(1.0, x, zero)
    with pytest.raises(
        ValueError, match=f"target: expected probabilities from 0 to 1, got {value}"
    ):
        F.binary_cross_entropy(zero, x)


def test_a_weight_that_does_not_fit():
    x = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"weight: expected a shape that broadcasts to \(2, 3\)"):
        F.mse_loss(x, x, weight=np.ones((4, 2, 3)))
    with pytest.raises(TypeError, match="weight: expected dtype float64"):
        F.l1_loss(x, x, weight=np.ones(3, np.float32))


@pytest.mark.parametrize("grad", [2, 2.0, np.float64(2), np.array(2.0), [2.0]])
def test_gradient_of_a_number(grad):
    if isinstance(grad, list):
        with pytest.raises(ValueError, match=r"grad_output: expected shape \(\), got \(1,\)"):
            F.mse_loss_backward(grad, [1.0], [0.0])
    else:
        assert F.mse_loss_backward(grad, [1.0], [0.0])[0] == 4


def test_smooth_l1_and_huber_where_their_pieces_meet():
    x, zero = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]), np.zeros(7)
    for op, options, scale in (("smooth_l1_loss", {"beta": 1}, 1), ("huber_loss", {"delta": 1}, 1)):
        losses = getattr(F, op)(x, zero, reduction="none", **options)
        np.testing.assert_array_equal(losses, [1.5, 0.5, 0.125, 0, 0.125, 0.5, 1.5])
        dx = getattr(F, op + "_backward")(1.0, x, zero, reduction="sum", **options)[0]
        np.testing.assert_array_equal(dx, scale * np.clip(x, -1, 1))
    DIRECT[x.dtype].check(
        F.huber_loss(x, zero, delta=0.7), 0.7 * F.smooth_l1_loss(x, zero, beta=0.7)
    )


@every_dtype
def test_divergence_where_a_probability_is_0(dtype):
    x = np.array([-np.inf, -1, -np.inf], dtype)
    t = np.array([0, 0, 0.5], dtype)
    np.testing.assert_array_equal(F.kl_div(x, t, reduction="none"), [0, 0, np.inf])
    dx, dt = F.kl_div_backward(1.0, x, t, reduction="sum")
    np.testing.assert_array_equal(dx, -t)
    assert dt[1] == -np.inf
    log_t = np.array([-np.inf, -np.inf, np.log(0.5)], dtype)
    np.testing.assert_array_equal(
        F.kl_div(x, log_t, reduction="none", log_target=True), [0, 0, np.inf]
    )
    dx, dt = F.kl_div_backward(1.0, x, log_t, reduction="sum", log_target=True)
    np.testing.assert_array_equal(dx[:2], [0, 0])
    np.testing.assert_array_equal(dt, [0, 0, np.inf])


def test_divergence_as_a_mean_over_samples():
    case = next(case for case in CASES if case.name == "kl_div")
    arrays = case.problem((4, 3, 2), np.float64)
    losses = case.expected(arrays)
    tolerance = DIRECT[np.dtype(float)]
    tolerance.check(case.forward(arrays, reduction="batchmean"), losses.sum() / 4)
    for got, whole in zip(
        case.backward(1.0, arrays, reduction="batchmean"),
        case.backward(1.0, arrays, reduction="sum"),
        strict=True,
    ):
        tolerance.check(got, whole / 4)
    single = {name: array[0, 0, 0] for name, array in arrays.items()}
    assert case.forward(single, reduction="batchmean") == case.forward(single)
    x = case.problem((4,), np.float64)["input"]
    t = case.problem((3, 4), np.float64)["target"]
    with pytest.warns(UserWarning, match="is broadcast"):  # the input's extent still divides
        mean = F.kl_div(x, t, reduction="batchmean")
    tolerance.check(mean, F.kl_div(np.tile(x, (3, 1)), t, reduction="sum") / 4)
    with pytest.raises(ValueError, match="'sum', 'batchmean', got 'median'"):
        case.forward(arrays, reduction="median")
    with pytest.raises(ValueError, match="reduction: expected one of"):
        F.mse_loss([1.0], [1.0], reduction="batchmean")


@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 3), (4, 3, 1), (4, 1, 2), (1, 1, 1), ()])
def test_variances_of_several_shapes(shape):
    rng = np.random.default_rng(3)
    x, t, var = normal(rng, (4, 3, 2)), normal(rng, (4, 3, 2)), np.asarray(positive(rng, shape))
    whole = np.broadcast_to(var[..., None] if shape == (4, 3) else var, x.shape)
    assert F.gaussian_nll_loss(x, t, var) == F.gaussian_nll_loss(x, t, whole)
    dvar = F.gaussian_nll_loss_backward(1.0, x, t, var)[2]
    assert dvar.shape == shape
    np.testing.assert_array_equal(F.gaussian_nll_loss_backward(1.0, x, t, Exported(var))[2], dvar)
    expected = F.gaussian_nll_loss_backward(1.0, x, t, whole)[2]
    axes = tuple(i for i in range(3) if i >= len(shape) or shape[i] == 1) if shape else None
    DIRECT[x.dtype].check(dvar, expected.sum(axis=axes).reshape(shape), 1.0)


def test_a_variance_may_be_a_number():
    x, t = normal(np.random.default_rng(1), (2, 3, 4)).astype(np.float32)
    for var in (2, 2.0):
        assert F.gaussian_nll_loss(x, t, var) == F.gaussian_nll_loss(x, t, np.full_like(x, 2))
        assert len(F.gaussian_nll_loss_backward(1.0, x, t, var)) == 2


def test_small_variances_count_as_eps():
    x, t = np.array([1.0, 1.0]), np.array([0.0, 0.5])
    var, floor = np.array([0.0, 1e-9]), np.full(2, 0.25)
    assert F.gaussian_nll_loss(x, t, var, eps=0.25) == F.gaussian_nll_loss(x, t, floor)
    for got, expected in zip(
        F.gaussian_nll_loss_backward(1.0, x, t, var, eps=0.25),
        F.gaussian_nll_loss_backward(1.0, x, t, floor),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)


@every_dtype
def test_soft_margin_of_large_numbers(dtype):
    x, t = np.array([1e30, 1e30, -1e30, 20], dtype), np.array([1, -1, 1, 1], dtype)
    losses = F.soft_margin_loss(x, t, reduction="none")
    expected = [0, dtype(1e30), dtype(1e30), np.log1p(np.exp(-20))]
    np.testing.assert_allclose(losses, expected, rtol=8 * np.finfo(dtype).eps)
    dx = F.soft_margin_loss_backward(1.0, x, t, reduction="sum")[0]
    np.testing.assert_allclose(dx, [0, 1, -1, -np.exp(-20)], rtol=1e-6)


@pytest.mark.parametrize(("x", "t"), [((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3,)), ((1,), (0,))])
def test_soft_margin_repeats_no_input(x, t):
    with pytest.raises(ValueError, match=r"target: expected a shape that broadcasts to the input"):
        F.soft_margin_loss(np.ones(x), np.ones(t))


def test_hinge_at_the_margin_and_with_another_target():
    x, t = np.array([1.0, 0.5, 2.0]), np.array([-1.0, 0.0, -1.0])
    np.testing.assert_array_equal(F.hinge_embedding_loss(x, t, reduction="none"), [0, 1, 0])
    np.testing.assert_array_equal(
        F.hinge_embedding_loss_backward(1.0, x, t, reduction="sum")[0], [-1, 0, 0]
    )


@every_dtype
def test_pieces_of_infinite_width(dtype):
    x, t = normal(np.random.default_rng(2), (2, 33)).astype(dtype)
    for reduction in ("mean", "sum"):
        half = F.mse_loss(x, t, reduction=reduction) / 2
        DIRECT[np.dtype(dtype)].check(F.huber_loss(x, t, reduction, np.inf), half)
        assert F.smooth_l1_loss(x, t, reduction=reduction, beta=np.inf) == 0
    (dx, dt) = F.huber_loss_backward(1.0, x, t, "sum", np.inf)
    np.testing.assert_array_equal(dx, x - t)
    np.testing.assert_array_equal(dt, t - x)
    for gradient_ in F.smooth_l1_loss_backward(1.0, x, t, beta=np.inf):
        np.testing.assert_array_equal(gradient_, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: F.smooth_l1_loss(x, x, beta=-1), ValueError, "beta: expected .* at least 0"),
        (lambda x: F.smooth_l1_loss(x, x, beta=np.nan), ValueError, "beta: expected a number, got"),
        (lambda x: F.smooth_l1_loss(x, x, beta="a"), TypeError, "beta: expected a number"),
        (lambda x: F.huber_loss(x, x, delta=0), ValueError, "delta: expected a number above 0"),
        (
            lambda x: F.huber_loss(x, x, delta=np.nan),
            ValueError,
            "delta: expected a number, got NaN",
        ),
        (lambda x: F.poisson_nll_loss(x, x, eps=-1), ValueError, "eps: expected a finite"),
        (lambda x: F.gaussian_nll_loss(x, x, x, eps=-1), ValueError, "eps: expected a finite"),
        (lambda x: F.gaussian_nll_loss(x, x, -x), ValueError, "var: expected .* at least 0, got -"),
        (lambda x: F.gaussian_nll_loss(x, x, -1), ValueError, "var: expected .* at least 0, got -"),
        (lambda x: F.gaussian_nll_loss(x, x, x[0]), ValueError, r"var: .*\(2, 3\).* got \(3,\)"),
        (lambda x: F.gaussian_nll_loss(x, x, True), TypeError, "var: expected dtype float32 or"),
        (lambda x: F.kl_div(x, x, log_target=1), TypeError, "log_target: expected True or False"),
        (lambda x: F.poisson_nll_loss(x, x, 1), TypeError, "log_input: expected True or False"),
        (lambda x: F.poisson_nll_loss(x, x, full=0), TypeError, "full: expected True or False"),
        (lambda x: F.gaussian_nll_loss(x, x, None), TypeError, "var: expected an array"),
        (lambda x: F.hinge_embedding_loss(x, x, np.nan), ValueError, "margin: expected a number"),
    ],
)
def test_options_that_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((2, 3)))
