"""Loss classes: what they compute is the functions', and what a Trainer does with them too."""

import inspect

import numpy as np
import piste
import piste.functional as F
import pytest
from piste import nn
from piste.optim import SGD
from piste.serialize import build, describe
from reference.threads import check_same_bits
from tolerances import DIRECT

CLASSES = 5
WEIGHT = np.linspace(0.5, 2, CLASSES)


def labels(rng, shape):
    return rng.integers(0, shape[1], (shape[0], *shape[2:]))


def some_ignored(rng, shape):
    result = labels(rng, shape)
    result.flat[1] = -100
    return result


def numbers(rng, shape):
    return rng.standard_normal(shape)


def probabilities(rng, shape):
    p = rng.uniform(0.1, 1, shape)
    return p / p.sum(axis=1, keepdims=True)


def counts(rng, shape):
    return rng.integers(0, 5, shape).astype(float)


def signs(rng, shape):
    return rng.choice([-1.0, 1.0], shape)


# A loss, its targets, and the layer that makes outputs it can take.
CASES = [
    (nn.MSELoss(), numbers, None),
    (nn.MSELoss(reduction="sum"), numbers, None),
    (nn.LeastSquaresLoss(), numbers, None),
    (nn.L1Loss(), numbers, None),
    (nn.SmoothL1Loss(beta=0.3), numbers, None),
    (nn.HuberLoss(delta=0.7), numbers, None),
    (nn.CrossEntropyLoss(), labels, None),
    (nn.CrossEntropyLoss(), probabilities, None),
    (nn.CrossEntropyLoss(WEIGHT, label_smoothing=0.1), some_ignored, None),
    (nn.CrossEntropyLoss(WEIGHT, reduction="sum", label_smoothing=0.1), probabilities, None),
    (nn.NLLLoss(), labels, nn.LogSoftmax),
    (nn.NLLLoss(WEIGHT), some_ignored, nn.LogSoftmax),
    (nn.BCELoss(), probabilities, nn.Sigmoid),
    (nn.BCEWithLogitsLoss(), probabilities, None),
    (nn.KLDivLoss(reduction="batchmean"), probabilities, nn.LogSoftmax),
    (nn.KLDivLoss(log_target=True), numbers, nn.LogSoftmax),
    (nn.PoissonNLLLoss(full=True), counts, None),
    (nn.PoissonNLLLoss(False, eps=1e-2), counts, nn.Sigmoid),
    (nn.HingeEmbeddingLoss(0.5), signs, None),
    (nn.SoftMarginLoss(), signs, None),
]
ROWS = [
    (nn.BCELoss(WEIGHT), probabilities, nn.Sigmoid),
    (nn.BCEWithLogitsLoss(WEIGHT, pos_weight=WEIGHT[::-1]), probabilities, None),
    (nn.MultiMarginLoss(), labels, None),
    (nn.MultiMarginLoss(2, 0.5, WEIGHT, reduction="sum"), labels, None),
]
MAPS = [
    (nn.BCEWithLogitsLoss(pos_weight=WEIGHT[:, None, None]), probabilities, None),
    (nn.BCELoss(np.linspace(1, 2, 6).reshape(2, 3)), probabilities, nn.Sigmoid),
]
SAMPLES = 6


def identify(case):
    return f"{case[0]} {case[1].__name__}"


def models(kind, tail, dtype=float):
    """Two alike, and inputs for them."""
    rng = np.random.default_rng(3)
    pair = []
    for _ in range(2):
        nn.manual_seed(1)
        if kind == "rows":
            layers, x = [nn.Linear(7, CLASSES, dtype=dtype)], rng.standard_normal((SAMPLES, 7))
        else:
            layers = [nn.Conv2d(2, CLASSES, 1, dtype=dtype)]
            x = rng.standard_normal((SAMPLES, 2, 2, 3))
        if tail is not None:
            layers.append(tail())
        if kind == "flattened":
            layers.append(nn.Flatten())
        pair.append(nn.Sequential(*layers))
    return *pair, x.astype(dtype)


def check_step(kind, case, weights=None):
    """One step of a Trainer against the loss's own gradient through a second model."""
    loss, make, tail = case
    trained, by_hand, x = models(kind, tail)
    y = by_hand.forward(x)
    target = make(np.random.default_rng(4), y.shape)
    if weights is None:
        expected = loss.forward(y, target)
        dy = loss.backward()
    else:
        expected, dy = weighted(loss, y, target, weights)
    by_hand.backward(dy)
    tolerance = DIRECT[np.dtype(float)]
    trainer = piste.Trainer(trained, loss, SGD(0.1))
    tolerance.check(trainer.evaluate(x, target, weights)[0], expected, 1.0)
    if weights is None:
        value = trainer.step(x, target)
    else:  # the same step as a whole fit, whose order does not matter
        history = trainer.fit(
            x, target, batch_size="full", sample_weight=weights,
            validation_data=(x, target, weights),
        )  # fmt: skip
        value = history.loss[0]
        assert history.val_loss == [trainer.evaluate(x, target, weights)[0]]
    tolerance.check(value, expected, 1.0)
    gradients = by_hand.gradients()
    for name, parameter in by_hand.named_parameters():
        after = dict(trained.named_parameters())[name]
        tolerance.check(after, parameter - 0.1 * gradients[name], 1.0)


def weighted(loss, y, target, weights):
    """The loss of weighted samples and its gradient by y."""
    if isinstance(loss, nn.LeastSquaresLoss):
        each = nn.MSELoss(reduction="none")
    else:
        each = type(loss)(**{**describe(loss)["arguments"], "reduction": "none"})
    losses = each.forward(y, target)
    factors = np.broadcast_to(weights.reshape(-1, *[1] * (losses.ndim - 1)), losses.shape)
    counted = factors
    if loss.labels and target.dtype.kind in "iu":
        by_class = np.ones(y.shape[1])
        if loss.weight is not None and not isinstance(loss, nn.MultiMarginLoss):
            by_class = loss.weight
        kept = target != loss.ignore_index
        counted = np.where(kept, factors * by_class[np.where(kept, target, 0)], 0)
    divisor = {"mean": counted.sum(), "sum": 1, "batchmean": weights.sum()}[loss.reduction]
    return (losses * factors).sum() / divisor, each.backward(factors / divisor)


@pytest.mark.parametrize("case", CASES + ROWS, ids=identify)
def test_a_step_on_rows(case):
    check_step("rows", case)


@pytest.mark.parametrize("case", CASES + MAPS, ids=identify)
def test_a_step_on_maps(case):
    check_step("maps", case)


# Not those whose layer normalises the rows of the map.
@pytest.mark.parametrize("case", [c for c in CASES if c[2] is not nn.LogSoftmax], ids=identify)
def test_a_step_on_flattened_maps(case):
    loss = case[0]
    if getattr(loss, "weight", None) is not None:
        loss = type(loss)(np.linspace(0.5, 2, 6 * CLASSES))
    check_step("flattened", (loss, *case[1:]))


@pytest.mark.parametrize("kind", ["rows", "maps"])
@pytest.mark.parametrize("case", CASES, ids=identify)
def test_a_step_with_weighted_samples(case, kind):
    check_step(kind, case, np.linspace(0.5, 2, SAMPLES))


@pytest.mark.parametrize("case", ROWS, ids=identify)
def test_a_step_on_rows_with_weighted_samples(case):
    check_step("rows", case, np.linspace(0.5, 2, SAMPLES))


@pytest.mark.parametrize("case", CASES + ROWS, ids=identify)
def test_evaluation_and_calls_agree(case):
    loss, make, tail = case
    model, _, x = models("rows", tail, np.float32)
    y = model(x)
    target = make(np.random.default_rng(4), y.shape)
    value, accuracy = piste.Trainer(model, loss, SGD(0.1)).evaluate(x, target)
    DIRECT[np.dtype(np.float32)].check(value, loss(y, target), 1.0)
    assert np.isnan(accuracy) == (target.dtype.kind == "f")


@pytest.mark.parametrize("case", CASES + ROWS + MAPS, ids=identify)
def test_a_loss_is_saved_and_built_anew(case):
    loss = case[0]
    again = build(describe(loss))
    assert repr(again) == repr(loss)
    assert type(again) is type(loss)


def test_calls_are_those_of_the_functions():
    rng = np.random.default_rng(0)
    x, t, var = numbers(rng, (3, 4)), numbers(rng, (3, 4)), np.abs(numbers(rng, (3, 4)))
    assert nn.MSELoss()(x, t) == F.mse_loss(x, t)
    assert nn.HuberLoss("sum", 0.5)(x, t) == F.huber_loss(x, t, "sum", 0.5)
    assert nn.CrossEntropyLoss(ignore_index=1)(x, [0, 1, 2]) == F.cross_entropy(
        x, [0, 1, 2], ignore_index=1
    )
    loss = nn.GaussianNLLLoss(full=True)
    assert loss.forward(x, t, var) == F.gaussian_nll_loss(x, t, var, full=True)
    expected = F.gaussian_nll_loss_backward(2.0, x, t, var, full=True)[0]
    np.testing.assert_array_equal(loss.backward(2.0), expected)
    each = nn.L1Loss(reduction="none")
    assert each.forward(x, t).shape == (3, 4)
    np.testing.assert_array_equal(each.backward(np.ones((3, 4))), np.sign(x - t))


def test_targets_and_weights_are_taken_in_the_inputs_dtype():
    x = np.zeros((2, 3), np.float32)
    assert nn.MSELoss()(x, np.ones((2, 3), int)).dtype == np.float32
    assert nn.BCEWithLogitsLoss(np.ones(3))(x, np.ones((2, 3), bool)).dtype == np.float32
    assert nn.CrossEntropyLoss([1.0, 2.0, 3.0])(x, np.full((2, 3), 1 / 3)).dtype == np.float32


def test_constructors_take_the_arguments_of_pytorch_in_order():
    older = "size_average reduce reduction"
    expected = {
        "MSELoss": older,
        "L1Loss": older,
        "SmoothL1Loss": f"{older} beta",
        "HuberLoss": "reduction delta",
        "CrossEntropyLoss": "weight size_average ignore_index reduce reduction label_smoothing",
        "NLLLoss": "weight size_average ignore_index reduce reduction",
        "BCELoss": f"weight {older}",
        "BCEWithLogitsLoss": f"weight {older} pos_weight",
        "KLDivLoss": f"{older} log_target",
        "PoissonNLLLoss": "log_input full size_average eps reduce reduction",
        "GaussianNLLLoss": "full eps reduction",
        "HingeEmbeddingLoss": f"margin {older}",
        "SoftMarginLoss": older,
        "MultiMarginLoss": f"p margin weight {older}",
    }
    for name, arguments in expected.items():
        kind = getattr(nn, name)
        assert " ".join(inspect.signature(kind).parameters) == arguments
        assert kind().reduction == "mean"
        if "reduce " in arguments:
            assert kind(size_average=False).reduction == "sum"
            assert kind(reduce=False).reduction == "none"
    assert repr(nn.SmoothL1Loss(beta=0.5)) == "SmoothL1Loss(reduction='mean', beta=0.5)"


def test_negative_weights_by_hand_are_those_of_the_functions():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 5, 3)).astype(np.float32)
    labels, weight = np.array([0, 2, 1, 2, 0]), np.array([0.5, -2, -1], np.float32)
    for loss, target, function in (
        (nn.CrossEntropyLoss(weight), labels, F.cross_entropy),
        (nn.NLLLoss(weight), labels, F.nll_loss),
        (nn.MultiMarginLoss(weight=weight), labels, F.multi_margin_loss),
        (nn.BCEWithLogitsLoss(weight, pos_weight=-weight), y, F.binary_cross_entropy_with_logits),
    ):
        options = {"weight": weight}
        if target is y:
            options["pos_weight"] = -weight
        np.testing.assert_array_equal(loss.forward(x, target), function(x, target, **options))


def test_accuracy_is_counted_for_labels():
    model = nn.Linear(2, 2, bias=False)
    model.weight = np.eye(2)
    x = np.array([[1, 0], [0, 1], [0.5, 0], [0, 2]], np.float32)
    for loss in (nn.NLLLoss(), nn.MultiMarginLoss(), nn.CrossEntropyLoss()):
        _, accuracy = piste.Trainer(model, loss, SGD(0.1)).evaluate(x, [0, 1, 1, 1])
        assert accuracy == 0.75


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.MSELoss(reduction="avg"), ValueError, "reduction: expected one of 'none', 'm"),
        (lambda: nn.SmoothL1Loss(beta=-1), ValueError, "beta: expected a number of at least 0"),
        (lambda: nn.HuberLoss(delta=0), ValueError, "delta: expected a number above 0"),
        (lambda: nn.MultiMarginLoss(3), ValueError, "p: expected 1 or 2, got 3"),
        (lambda: nn.HingeEmbeddingLoss("a"), TypeError, "margin: expected a number"),
        (lambda: nn.PoissonNLLLoss(eps=-1), ValueError, "eps: expected a finite number"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=2), ValueError, "label_smoothing: expected"),
        (lambda: nn.CrossEntropyLoss(ignore_index=0.5), TypeError, "ignore_index: expected an int"),
        (
            lambda: nn.NLLLoss([[1.0]]),
            ValueError,
            r"weight: expected one per class, got .*\(1, 1\)",
        ),
        (lambda: nn.BCELoss([np.inf]), ValueError, "weight: expected finite values"),
        (lambda: nn.BCELoss(["a"]), TypeError, "weight: expected numbers, got dtype"),
        (lambda: nn.BCEWithLogitsLoss(pos_weight=[np.inf]), ValueError, "pos_weight: expected fin"),
        (lambda: nn.L1Loss().backward(), RuntimeError, "backward: call forward first"),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "y", "error", "message"),
    [
        (nn.MSELoss(reduction="none"), np.ones((2, 3)), ValueError, "training needs 'mean' or"),
        (nn.GaussianNLLLoss(), np.ones((2, 3)), TypeError, "GaussianNLLLoss needs variances"),
        (nn.BCELoss([-1.0]), np.ones((2, 3)), ValueError, "weight: training needs values of at le"),
        (nn.CrossEntropyLoss([1, -2, 1]), np.array([0, 1]), ValueError, "at least 0, got -2.0"),
        (nn.NLLLoss(), np.ones((2, 3)), TypeError, "y: expected integer labels, got dtype float"),
        (nn.MultiMarginLoss(), np.array([0, -100]), ValueError, r"y: label -100 at index 1 is not"),
        (nn.MultiMarginLoss(), np.array([-(2**63), 0]), ValueError, r"y: label -9\d* at index 0"),
        (nn.MSELoss(), np.array([0, 1]), ValueError, r"y: expected shape \(2, 3\), got \(2,\)"),
        (nn.BCELoss(np.ones(4)), np.ones((2, 3)), ValueError, r"weight: expected .*\(3,\), got"),
        (nn.CrossEntropyLoss(np.ones(4)), np.array([0, 1]), ValueError, "expected 3 class weights"),
    ],
)
def test_what_a_trainer_refuses(loss, y, error, message):
    model = nn.Linear(4, 3)
    before = model.state_dict()
    with pytest.raises(error, match=message):
        piste.Trainer(model, loss, SGD(0.1)).step(np.ones((2, 4), np.float32), y)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_margin_needs_one_row_of_classes():
    x = np.ones((2, 1, 2, 2), np.float32)
    with pytest.raises(ValueError, match="expected an output of one row of classes per sample"):
        piste.Trainer(nn.Conv2d(1, 3, 1), nn.MultiMarginLoss(), SGD(0.1)).step(
            x, np.zeros((2, 2, 2), int)
        )


def test_same_bits_on_any_number_of_threads():
    loss = nn.BCEWithLogitsLoss(WEIGHT, pos_weight=WEIGHT)
    x = np.random.default_rng(0).standard_normal((300, 7)).astype(np.float32)
    target = probabilities(np.random.default_rng(1), (300, CLASSES))

    def compute():
        model, _, _ = models("rows", None, np.float32)
        value = piste.Trainer(model, loss, SGD(0.1)).step(x, target)
        return [value, *model.parameters()]

    check_same_bits(compute)


@pytest.mark.parametrize(
    ("loss", "option"), [(nn.PoissonNLLLoss(), "log_input"), (nn.KLDivLoss(), "log_target")]
)
def test_a_trainer_follows_options_that_say_what_are_logarithms(loss, option):
    x = np.full((4, 3), 0.5, np.float32)
    y = np.full((4, 2), 0.25, np.float32)
    model = nn.Sequential(nn.Linear(3, 2))
    model[0].bias[:] = 5
    trainer = piste.Trainer(model, loss, SGD(lr=0.0))
    for value in (True, False, True):
        setattr(loss, option, value)
        DIRECT[np.dtype(np.float32)].check(trainer.step(x, y), loss(model(x), y))


@pytest.mark.parametrize(
    ("loss", "option", "given", "kept"),
    [
        (nn.CrossEntropyLoss(), "weight", [1, 2], np.array([1.0, 2.0])),
        (nn.CrossEntropyLoss(), "label_smoothing", np.float32(0.5), 0.5),
        (nn.CrossEntropyLoss(np.ones(2)), "weight", None, None),
        (nn.BCEWithLogitsLoss(), "pos_weight", (3, 1), np.array([3.0, 1.0])),
        (nn.HuberLoss(), "delta", 2, 2.0),
        (nn.NLLLoss(), "ignore_index", 3, 3),
        (nn.MSELoss(), "reduction", "sum", "sum"),
    ],
)
def test_options_set_later_are_those_of_the_constructor(loss, option, given, kept):
    setattr(loss, option, given)
    value = getattr(loss, option)
    assert type(value) is type(kept)
    np.testing.assert_array_equal(value, kept)


@pytest.mark.parametrize(
    ("loss", "option", "value", "error", "message"),
    [
        (nn.CrossEntropyLoss(), "weight", [1, np.nan], ValueError, "weight: expected finite"),
        (nn.CrossEntropyLoss(), "weight", np.ones((2, 2)), ValueError, "weight: expected one per"),
        (nn.CrossEntropyLoss(), "label_smoothing", 2, ValueError, "label_smoothing: expected"),
        (nn.BCELoss(), "weight", "a", TypeError, "weight: expected"),
        (nn.HuberLoss(), "delta", -1, ValueError, "delta: expected"),
        (nn.MSELoss(), "reduction", "total", ValueError, "reduction: expected"),
    ],
)
def test_bad_options_are_refused_when_they_are_set(loss, option, value, error, message):
    before = repr(loss)
    with pytest.raises(error, match=message):
        setattr(loss, option, value)
    assert repr(loss) == before


def test_a_loss_of_one_s_own_may_set_an_option_twice():
    class Balanced(nn.CrossEntropyLoss):
        def __init__(self, weight):
            super().__init__(weight)
            self.weight = np.asarray(weight) / np.sum(weight)

    np.testing.assert_allclose(Balanced([1, 3]).weight, [0.25, 0.75])


def test_a_loss_of_one_s_own_has_options_that_only_it_knows():
    class Focal(nn.CrossEntropyLoss):
        def __init__(self, gamma=2.0):
            super().__init__()
            self.gamma = gamma

    class Other(nn.Loss):
        def __init__(self, reduction="mean"):
            super().__init__(reduction)

    focal, other = Focal(), Other()
    focal.gamma = 3.0
    focal.label_smoothing = 0.5
    other.reduction = "sum"
    assert (focal.gamma, focal.label_smoothing, other.reduction) == (3.0, 0.5, "sum")
    with pytest.raises(ValueError, match="label_smoothing: expected"):
        focal.label_smoothing = 2


def test_a_weight_that_is_written_to_is_checked_again():
    loss = nn.CrossEntropyLoss(np.ones(2))
    model = nn.Sequential(nn.Linear(3, 2))
    trainer = piste.Trainer(model, loss, SGD(0.1))
    x, y = np.ones((2, 3), np.float32), np.array([0, 1])
    trainer.step(x, y)
    before = model.state_dict()
    for value, message in ((np.nan, "expected finite values"), (-1, "needs values of at least 0")):
        loss.weight[1] = value
        with pytest.raises(ValueError, match=f"weight: .*{message}"):
            trainer.step(x, y)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_trainer_follows_every_option_and_another_loss():
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    y = np.array([0, 1, 2, 1, 0, 2])
    model = nn.Sequential(nn.Linear(3, 3))
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(lr=0.0))
    losses = [
        ("label_smoothing", 0.3), ("reduction", "sum"), ("weight", [1.0, 2.0, 0.5]),
        ("ignore_index", 1), ("weight", None), ("reduction", "mean"),
    ]  # fmt: skip
    for option, value in losses:
        setattr(trainer.loss, option, value)
        for _ in range(2):
            DIRECT[np.dtype(np.float32)].check(trainer.step(x, y), trainer.loss(model(x), y))
    trainer.loss = nn.MultiMarginLoss()
    DIRECT[np.dtype(np.float32)].check(trainer.step(x, y), trainer.loss(model(x), y))


def test_a_class_of_one_s_own_has_the_options_that_it_passes_on():
    class Narrow(nn.HuberLoss):
        def __init__(self):
            super().__init__(delta=0.1)

    class Weighted(nn.CrossEntropyLoss):
        def __init__(self, *args, gamma=2.0, **options):
            super().__init__(weight=[1, 2, 30], **options)
            self.gamma = gamma

    x, y = np.full((4, 3), 2.0), np.zeros((4, 3))
    expected = nn.HuberLoss(delta=0.1)
    assert Narrow()(x, y) == expected(x, y)
    own = Narrow()
    own.forward(x, y)
    expected.forward(x, y)
    np.testing.assert_array_equal(own.backward(), expected.backward())
    assert repr(own) == "Narrow(reduction='mean', delta=0.1)"
    logits, labels_ = np.arange(12.0).reshape(4, 3) % 5, np.array([0, 1, 2, 1])
    loss = Weighted(gamma=1.0)
    assert loss(logits, labels_) == nn.CrossEntropyLoss([1, 2, 30])(logits, labels_)
    with pytest.raises(ValueError, match="delta: expected"):
        own.delta = -5
    with pytest.raises(ValueError, match="label_smoothing: expected"):
        loss.label_smoothing = 7
    loss.weight = [3, 2, 1]
    model = nn.Sequential(nn.Linear(3, 3))
    value = piste.Trainer(model, loss, SGD(0.0)).step(logits.astype(np.float32), labels_)
    DIRECT[np.dtype(np.float32)].check(value, loss(model(logits.astype(np.float32)), labels_))


@pytest.mark.parametrize("method", ["__call__", "forward", "backward"])
def test_a_pass_written_in_python_is_refused_in_training(method):
    def own(self, *args):
        return 100 * getattr(nn.MSELoss, method)(self, *args)

    loss = type("Louder", (nn.MSELoss,), {method: own})()
    trainer = piste.Trainer(nn.Sequential(nn.Linear(3, 1)), loss, SGD(0.1))
    with pytest.raises(TypeError, match=f"Louder overrides {method}"):
        trainer.step(np.ones((2, 3), np.float32), np.ones((2, 1)))


def test_a_loss_that_comes_from_none_of_the_package_s_is_refused_in_training():
    class Mine(nn.Loss):
        pass

    trainer = piste.Trainer(nn.Sequential(nn.Linear(3, 1)), Mine(), SGD(0.1))
    with pytest.raises(TypeError, match="Mine is no loss of piste's nor derived from one"):
        trainer.step(np.ones((2, 3), np.float32), np.ones((2, 1)))


def test_least_squares_stay_a_sum():
    loss = nn.LeastSquaresLoss()
    with pytest.raises(AttributeError, match="reduction: LeastSquaresLoss has 'sum' alone"):
        loss.reduction = "mean"
    assert loss.reduction == "sum"
