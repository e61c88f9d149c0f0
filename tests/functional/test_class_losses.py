import numpy as np
import piste.functional as F
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import losses as reference
from reference.differences import gradient
from reference.threads import check_same_bits
from tolerances import CENTRAL_DIFFERENCE, DIRECT

DTYPES = [np.float32, np.float64]
SHAPES = [
    (1, 1), (3, 2), (5, 7), (4, 33), (2, 3, 1), (2, 5, 7), (3, 4, 5, 6), (2, 3, 2, 1, 3),
    (1, 9, 40), (2, 1100, 3), (2, 3, 1, 2, 1, 2, 1, 2),
]  # fmt: skip
WEIGHTED = [False, True]
REDUCTIONS = ["none", "mean", "sum"]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def problem(shape, seed=0, ignored=0.2, dtype=np.float64):
    """Scores, labels of which some are -100, probabilities and class weights."""
    rng = np.random.default_rng([seed, *shape])
    x = 3 * rng.standard_normal(shape)
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    labels[rng.uniform(size=labels.shape) < ignored] = -100
    target = rng.uniform(0.1, 1, shape)
    target /= target.sum(axis=1, keepdims=True)
    weight = rng.uniform(0.5, 2, shape[1])
    return x.astype(dtype), labels, target.astype(dtype), weight.astype(dtype)


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy(dtype, shape, weighted, smoothing, reduction):
    x, labels, target, weight = problem(shape, dtype=dtype)
    labels.flat[0] = 0  # at least one that counts
    factors = weight.astype(float) if weighted else np.ones(shape[1])
    options = {
        "weight": weight if weighted else None,
        "reduction": reduction,
        "label_smoothing": smoothing,
    }
    tolerance = DIRECT[np.dtype(dtype)]
    losses, total = reference.cross_entropy(x.astype(float), labels, factors, smoothing=smoothing)
    got = F.cross_entropy(x, labels, **options)
    assert got.dtype == dtype
    tolerance.check(got, reference.reduce(losses, reduction, total), 1.0)
    losses = reference.cross_entropy_probabilities(
        x.astype(float), target.astype(float), factors, smoothing
    )
    got = F.cross_entropy(x, target, **options)
    assert got.dtype == dtype
    tolerance.check(got, reference.reduce(losses, reduction), 1.0)


@every_dtype
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll_loss(dtype, shape, weighted, reduction):
    x, labels, _, weight = problem(shape, dtype=dtype)
    labels.flat[0] = 0
    factors = weight.astype(float) if weighted else np.ones(shape[1])
    losses, total = reference.nll(x.astype(float), labels, factors)
    got = F.nll_loss(x, labels, weight if weighted else None, reduction=reduction)
    assert got.dtype == dtype
    DIRECT[np.dtype(dtype)].check(got, reference.reduce(losses, reduction, total), 1.0)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 5), (2, 3, 2, 4)])
@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradients_are_central_differences(shape, weighted, reduction, smoothing):
    x, labels, target, weight = problem(shape, seed=1)
    labels.flat[0] = 0
    factors = weight if weighted else np.ones(shape[1])
    grad = np.random.default_rng(2).standard_normal(labels.shape if reduction == "none" else ())
    options = {"weight": weight if weighted else None, "reduction": reduction}

    def by_labels(value):
        losses, total = reference.cross_entropy(value, labels, factors, smoothing=smoothing)
        return reference.reduce(losses, reduction, total)

    def by_probabilities(value, t):
        losses = reference.cross_entropy_probabilities(value, t, factors, smoothing)
        return reference.reduce(losses, reduction)

    def by_nll(value):
        losses, total = reference.nll(value, labels, factors)
        return reference.reduce(losses, reduction, total)

    (dx,) = F.cross_entropy_backward(grad, x, labels, label_smoothing=smoothing, **options)
    CENTRAL_DIFFERENCE.check(dx, gradient(by_labels, x, grad), 1e-2)
    dx, dt = F.cross_entropy_backward(grad, x, target, label_smoothing=smoothing, **options)
    CENTRAL_DIFFERENCE.check(dx, gradient(lambda v: by_probabilities(v, target), x, grad), 1e-2)
    CENTRAL_DIFFERENCE.check(dt, gradient(lambda v: by_probabilities(x, v), target, grad), 1e-2)
    (dx,) = F.nll_loss_backward(grad, x, labels, **options)
    CENTRAL_DIFFERENCE.check(dx, gradient(by_nll, x, grad), 1e-2)


@given(
    n=st.integers(0, 9),
    classes=st.integers(1, 40),
    pixels=st.integers(0, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_float32_follows_float64(n, classes, pixels, seed):
    x, labels, target, weight = problem((n, classes, pixels), seed, dtype=np.float32)
    grad = np.random.default_rng(seed).standard_normal((n, pixels)).astype(np.float32)
    wide = [array.astype(float) for array in (grad, x, target, weight)]
    tolerance = DIRECT[np.dtype(np.float32)]
    for goal, wide_goal in ((labels, labels), (target, wide[2])):
        options = {"label_smoothing": 0.1, "reduction": "none"}
        tolerance.check(
            F.cross_entropy(x, goal, weight, **options),
            F.cross_entropy(wide[1], wide_goal, wide[3], **options),
            1.0,
        )
        for got, expected in zip(
            F.cross_entropy_backward(grad, x, goal, weight, **options),
            F.cross_entropy_backward(wide[0], wide[1], wide_goal, wide[3], **options),
            strict=True,
        ):
            assert got.dtype == np.float32
            tolerance.check(got, expected, 1.0)


@pytest.mark.parametrize("op", ["cross_entropy", "nll_loss"])
def test_one_sample_without_a_batch_axis(op):
    x, labels, target, weight = problem((1, 6), ignored=0)
    forward, backward = getattr(F, op), getattr(F, op + "_backward")
    for reduction in REDUCTIONS:
        got = forward(x[0], labels[0], weight, reduction=reduction)
        assert got.shape == ()
        assert got == forward(x, labels, weight, reduction=reduction).reshape(())
        listed = forward(x[0], labels, weight, reduction=reduction)  # a label of shape (1,)
        assert listed.shape == ()
        assert listed == got
        (dx,) = backward(1.0, x[0], labels[0], weight, reduction=reduction)
        grad = np.ones(1) if reduction == "none" else 1.0
        np.testing.assert_array_equal(
            dx, backward(grad, x, labels, weight, reduction=reduction)[0][0]
        )
    if op == "cross_entropy":
        assert forward(x[0], target[0]) == forward(x, target)


@pytest.mark.parametrize("op", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("labels", [[-100] * 3, []], ids=["ignored", "none"])
def test_where_no_label_counts(op, labels):
    forward, backward = getattr(F, op), getattr(F, op + "_backward")
    labels = np.array(labels, np.int64)
    x = np.ones((len(labels), 4))
    assert np.isnan(forward(x, labels))
    assert forward(x, labels, all_ignored="zero") == 0
    assert forward(x, labels, reduction="sum") == 0
    np.testing.assert_array_equal(forward(x, labels, reduction="none"), np.zeros(len(labels)))
    for option in ("nan", "zero"):
        np.testing.assert_array_equal(backward(1.0, x, labels, all_ignored=option)[0], 0 * x)
    counted = np.zeros(len(labels) + 1, np.int64)
    assert forward(np.ones((len(counted), 4)), counted, all_ignored="zero") != 0


@pytest.mark.parametrize("op", ["cross_entropy", "nll_loss"])
def test_a_class_may_be_ignored(op):
    x, labels, _, weight = problem((6, 5), ignored=0)
    labels[:2] = 3
    forward, backward = getattr(F, op), getattr(F, op + "_backward")
    kept = labels != 3
    DIRECT[x.dtype].check(
        forward(x, labels, weight, ignore_index=3), forward(x[kept], labels[kept], weight)
    )
    (dx,) = backward(1.0, x, labels, weight, ignore_index=3)
    assert not dx[~kept].any()
    assert dx[kept].any()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.uint64])
def test_any_integers_are_labels(dtype):
    x, labels, _, _ = problem((5, 4), ignored=0)
    np.testing.assert_array_equal(
        F.cross_entropy(x, labels.astype(dtype)), F.cross_entropy(x, labels)
    )
    assert F.cross_entropy(x, labels.tolist()) == F.cross_entropy(x, labels)


def test_any_memory():
    x, labels, target, _ = problem((4, 5, 6), ignored=0)
    expected = F.cross_entropy_backward(1.0, x, labels)[0]
    for other in (
        np.asfortranarray(x),
        x[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
        x.astype(">f8"),
        np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1),
    ):
        other.flags.writeable = False
        np.testing.assert_array_equal(F.cross_entropy_backward(1.0, other, labels)[0], expected)
    strided = np.zeros((4, 12), np.int32)
    strided[:, ::2] = labels
    np.testing.assert_array_equal(F.cross_entropy_backward(1.0, x, strided[:, ::2])[0], expected)
    np.testing.assert_array_equal(
        F.cross_entropy(x, np.asfortranarray(target)), F.cross_entropy(x, target)
    )


@pytest.mark.parametrize("shape", [(3, 0), (0,), (0, 4), (0, 0)])
def test_the_mean_without_classes_or_rows_is_nan(shape):
    x = np.ones(shape)
    assert np.isnan(F.cross_entropy(x, x))
    assert F.cross_entropy(x, x, reduction="sum") == 0
    assert [g.shape for g in F.cross_entropy_backward(1.0, x, x)] == [shape, shape]


@every_dtype
@pytest.mark.parametrize("classes", [5, 19])
def test_nan_stays_in_its_row(dtype, classes):
    x, labels, target, _ = problem((3, classes), ignored=0, dtype=dtype)
    for at in range(classes):
        broken = x.copy()
        broken[1, at] = np.nan
        for goal in (labels, target):
            losses = F.cross_entropy(broken, goal, reduction="none")
            np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
            dx = F.cross_entropy_backward(1.0, broken, goal)[0]
            np.testing.assert_array_equal(np.isnan(dx).all(axis=1), [False, True, False])
            np.testing.assert_array_equal(np.isnan(dx).any(axis=1), [False, True, False])


@every_dtype
def test_large_and_infinite_logits(dtype):
    x = np.array([[1e4, 0, -1e4], [-np.inf, 0, 0]], dtype)
    losses = F.cross_entropy(x, [0, 1], reduction="none")
    DIRECT[np.dtype(dtype)].check(losses, [0, np.log(2)])
    assert F.cross_entropy(x, [2, 1], reduction="none")[0] == 2e4
    assert F.cross_entropy(x, [0, 0], reduction="none")[1] == np.inf
    # A class of probability 0 that was not asked for costs nothing.
    target = np.array([[1, 0, 0], [0, 0.5, 0.5]], dtype)
    DIRECT[np.dtype(dtype)].check(F.cross_entropy(x, target, reduction="none"), [0, np.log(2)])


@pytest.mark.parametrize("shape", [(70000, 3), (3, 5, 20011), (2, 3000, 40)])
def test_same_bits_on_any_number_of_threads(shape):
    x, labels, target, weight = problem(shape, dtype=np.float32)

    def compute():
        return [
            F.cross_entropy(x, labels, weight, reduction="none"),
            F.cross_entropy(x, labels, weight),
            F.cross_entropy(x, target),
            F.nll_loss(x, labels, weight),
            *F.cross_entropy_backward(1.0, x, labels, weight),
            *F.cross_entropy_backward(1.0, x, target),
            *F.nll_loss_backward(1.0, x, labels, weight),
        ]

    check_same_bits(compute)


X, P = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
MAP = np.zeros((1, 3, 2, 2))


@pytest.mark.parametrize("op", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, [0, 3]), ValueError, r"target: label 3 at index 1 is not in \[0, 3\)"),
        (
            (X, np.array([0, 2**64 - 100], np.uint64)),  # as int64 the default ignore_index
            ValueError,
            r"target: label 18446744073709551516 at index 1 is not in \[0, 3\)",
        ),
        ((X, [-1, 3]), ValueError, r"target: label -1 at index 0 is not in \[0, 3\)"),
        (
            (MAP, [[[0, 1], [7, 2]]]),
            ValueError,
            r"target: label 7 at index \(0, 1, 0\) is not in \[0, 3\)",
        ),
        ((X[0], 5), ValueError, r"target: label 5 at index 0 is not in \[0, 3\)"),
        ((X, [0, 1, 2]), ValueError, r"target: expected shape \(2,\), got \(3,\)"),
        ((X, [[0, 1]]), ValueError, r"target: expected shape \(2,\), got \(1, 2\)"),
        ((X, [True, False]), TypeError, "target: expected integer labels"),
        ((X, [0.0, 1.0]), TypeError, "target: expected integer labels"),
        ((np.zeros(()), 0), ValueError, r"input: expected shape \(C,\), \(n, C\) or"),
        ((X.astype(int), [0, 1]), TypeError, "input: expected dtype"),
        ((X, [0, 1], np.ones(2)), ValueError, r"weight: expected shape \(3,\), got \(2,\)"),
        ((X, [0, 1], np.ones(3, np.float32)), TypeError, "weight: expected dtype float64"),
        ((X, [0, 1], None, None, 0.5), TypeError, "ignore_index: expected an integer, got float"),
        ((X, [0, 1], None, None, 2**63), ValueError, "ignore_index: expected an integer of 64"),
        ((X, [0, 1], None, None, -100, None, "all"), ValueError, "reduction: expected one of"),
    ],
)
def test_what_is_refused(op, arguments, error, message):
    with pytest.raises(error, match=message):
        getattr(F, op)(*arguments)
    with pytest.raises(error, match=message):
        getattr(F, op + "_backward")(1.0, *arguments)


@pytest.mark.parametrize("op", ["cross_entropy", "nll_loss"])
def test_what_is_refused_by_name(op):
    with pytest.raises(ValueError, match="all_ignored: expected 'nan' or 'zero', got 'one'"):
        getattr(F, op)(X, [0, 1], all_ignored="one")
    with pytest.raises(ValueError, match=r"grad_output: expected shape \(2,\), got \(\)"):
        getattr(F, op + "_backward")(1.0, X, [0, 1], reduction="none")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, P[:, :2]), {}, ValueError, r"target: expected shape \(2, 3\), got \(2, 2\)"),
        ((X, P.astype(np.float32)), {}, TypeError, "target: expected dtype float64"),
        ((X, P), {"ignore_index": 1}, ValueError, "ignore_index: expected labels for it"),
        ((X, P), {"label_smoothing": 1.5}, ValueError, "label_smoothing: expected .* 0 to 1, got"),
        ((X, [0, 1]), {"label_smoothing": "a"}, TypeError, "label_smoothing: expected a number"),
    ],
)
def test_what_cross_entropy_refuses(arguments, options, error, message):
    with pytest.raises(error, match=message):
        F.cross_entropy(*arguments, **options)


def test_older_arguments_of_the_reduction():
    for op in (F.cross_entropy, F.nll_loss):
        assert op(X, [0, 1], size_average=False) == op(X, [0, 1], reduction="sum")
        assert op(X, [0, 1], reduce=False).shape == (2,)


@every_dtype
@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 7), (4, 33), (6, 8)])
@pytest.mark.parametrize("weighted", WEIGHTED)
@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin(dtype, shape, weighted, p):
    x, labels, _, weight = problem(shape, ignored=0, dtype=dtype)
    factors = weight.astype(float) if weighted else np.ones(shape[1])
    options = {"p": p, "margin": 0.75, "weight": weight if weighted else None}
    tolerance = DIRECT[np.dtype(dtype)]
    wide = x.astype(float)
    losses = reference.multi_margin(wide, labels, factors, p, 0.75)
    for reduction in REDUCTIONS:
        got = F.multi_margin_loss(x, labels, reduction=reduction, **options)
        assert got.dtype == dtype
        tolerance.check(got, reference.reduce(losses, reduction), 1.0)
        grad = np.random.default_rng(1).standard_normal(losses.shape if reduction == "none" else ())
        (dx,) = F.multi_margin_loss_backward(
            grad.astype(dtype), x, labels, reduction=reduction, **options
        )

        def loss(value, reduction=reduction):
            return reference.reduce(
                reference.multi_margin(value, labels, factors, p, 0.75), reduction
            )

        expected = gradient(loss, wide, grad.astype(dtype).astype(float), 1e-6)
        (CENTRAL_DIFFERENCE if dtype == np.float64 else tolerance).check(dx, expected, 1.0)


def test_multi_margin_of_one_sample_nan_and_the_margin():
    x = np.array([0.5, 1.5, -3.0])
    assert F.multi_margin_loss(x, 1) == 0
    np.testing.assert_array_equal(F.multi_margin_loss_backward(1.0, x, 1)[0], [0, 0, 0])
    assert F.multi_margin_loss(x, [0]) == F.multi_margin_loss(x, 0)
    for scores in (x, x[None]):
        for label in (0, [0]):  # the losses have the labels' shape, with a batch or without
            losses = F.multi_margin_loss(scores, label, reduction="none")
            np.testing.assert_array_equal(losses, np.full(np.shape(label), 2 / 3))
            grad = np.ones_like(losses)
            (dx,) = F.multi_margin_loss_backward(grad, scores, label, reduction="none")
            np.testing.assert_allclose(dx, np.reshape([-1 / 3, 1 / 3, 0], scores.shape))
    assert F.multi_margin_loss(x, 0, 2.0) == F.multi_margin_loss(x, 0, 2)
    with pytest.raises(ValueError, match=r"target: expected shape \(2,\), got \(1,\)"):
        F.multi_margin_loss(np.zeros((2, 3)), [0])
    assert F.multi_margin_loss(np.array(2.0), 0) == 0  # of a single class
    assert F.multi_margin_loss_backward(1.0, np.array(2.0), 0)[0].shape == ()
    for at in range(19):
        broken = np.zeros((3, 19), np.float32)
        broken[1, at] = np.nan
        losses = F.multi_margin_loss(broken, [4, 4, 4], reduction="none")
        np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
    assert np.isnan(F.multi_margin_loss(np.ones((0, 3)), np.zeros(0, int)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, [0, -100]), ValueError, r"target: label -100 at index 1 is not in \[0, 3\)"),
        ((X, [0, -1]), ValueError, r"target: label -1 at index 1 is not in \[0, 3\)"),
        ((X, [0, -(2**63)]), ValueError, r"target: label -9223372036854775808 at index 1 is not"),
        ((X, [0, 1], 3), ValueError, "p: expected 1 or 2, got 3"),
        ((X, [0, 1], 1.5), TypeError, "p: expected an integer"),
        ((X, [0, 1], 1, np.inf), ValueError, "margin: expected a finite number"),
        ((MAP, [[[0, 1], [1, 2]]]), ValueError, r"input: expected shape \(C,\) or \(n, C\), got"),
        ((X, P), TypeError, "target: expected integer labels, got dtype float64"),
        ((X[:0, :0], X[:0, 0].astype(int)), ValueError, "input: expected at least one class, got"),
    ],
)
def test_what_multi_margin_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        F.multi_margin_loss(*arguments)
    with pytest.raises(error, match=message):
        F.multi_margin_loss_backward(1.0, *arguments)
