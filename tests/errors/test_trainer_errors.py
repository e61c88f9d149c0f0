"""Data, options and models that a trainer refuses; the model is then as it was."""

import copy

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD, Adam, RMSprop, StepLR

X = np.zeros((3, 8, 8), np.float32)
Y = np.array([0, 1, 2])


def make_trainer(loss=None, optimizer=None, outputs=10, dtype=np.float32):
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, dtype=dtype), nn.BatchNorm2d(3, dtype=dtype), nn.ReLU(), nn.Flatten(),
        nn.Linear(108, outputs, dtype=dtype),
    )  # fmt: skip
    return piste.Trainer(model, loss or nn.CrossEntropyLoss(), optimizer or SGD(0.1, 0.9))


def state_of(trainer):
    return [*trainer.model.state_dict().values(), *trainer._state.buffers, trainer.steps]


def unchanged(trainer, before):
    return all(np.array_equal(a, b) for a, b in zip(state_of(trainer), before, strict=True))


def with_value(value):
    x = X.copy()
    x[1, 2, 3] = value
    return x


BAD_DATA = [
    (None, Y, TypeError, "x: expected an array, got None"),
    ("text", Y, TypeError, "x: expected floats or uint8, got <U4"),
    ([[1.0], [1.0, 2.0]], [0, 1], TypeError, "x: expected an array, got list"),
    (X.astype(np.int32), Y, TypeError, "x: expected floats or uint8, got int32"),
    (X.astype(complex), Y, TypeError, "x: expected floats or uint8, got complex128"),
    (X.astype(object), Y, TypeError, "x: expected floats or uint8, got object"),
    (X.astype(bool), Y, TypeError, "x: expected floats or uint8, got bool"),
    (np.float32(1), Y, ValueError, r"x: expected shape \(n, features\), .* got \(\)"),
    (X[0, 0], Y, ValueError, r"x: expected shape .* got \(8,\)"),
    (X[:, None, None], Y, ValueError, r"expected an input of shape .* got \(1, 1, 8, 8\)"),
    (X[:, 0], Y, ValueError, "expected an input of shape .*channels, height, width"),
    (np.zeros((3, 2, 8, 8), "f"), Y, ValueError, "expected 1 input channels"),
    (X[:, :2], Y, ValueError, "a window of 3 does not fit an input of 2"),
    (X[:, :2], Y, ValueError, r"; x has shape \(3, 1, 2, 8\)$"),
    (np.zeros((3, 9, 9), "f"), Y, ValueError, "expected 108 input features, got 147"),
    (np.zeros((3, 0, 8), "f"), Y, ValueError, "samples of shape .* are empty"),
    (X[:0], Y[:0], ValueError, "x: expected at least one sample, got none"),
    (with_value(np.nan), Y, ValueError, "x: sample 1 holds NaN or infinity; nothing has changed"),
    (with_value(np.inf), Y, ValueError, "x: sample 1 holds NaN or infinity; nothing has changed"),
    (X, None, TypeError, "y: expected an array, got None"),
    (X, [0, 1], ValueError, r"y: expected labels of shape \(3,\), got \(2,\)"),
    (X, [0, 1, 2, 3], ValueError, r"y: expected labels of shape \(3,\), got \(4,\)"),
    (X, 1, ValueError, r"y: expected labels of shape \(3,\), got \(\)"),
    (X, Y[:, None], ValueError, r"y: expected labels of shape \(3,\), got \(3, 1\)"),
    (X, [0, 1, 10], ValueError, r"y: label 10 at index 2 is not in \[0, 10\)"),
    (X, [0, -1, 1], ValueError, r"y: label -1 at index 1 is not in \[0, 10\)"),
    (X, np.array([0, 1, 2**63], np.uint64), ValueError, "y: label .* at index 2 is not in"),
    (X, np.array([0, 1, 2**63], np.uint64), ValueError, "y: label 9223372036854775808 at index 2"),
    (X, np.array([0, 2**64 - 100, 1], np.uint64), ValueError, "y: label 18446744073709551516 at"),
    (X, np.full((3, 10), 1e300), ValueError, "y: expected finite targets, got NaN or infinity"),
    (X, [0.0, 1.0, 2.0], TypeError, "y: expected integer labels, got dtype float64"),
    (X, [True, False, True], TypeError, "y: expected integer labels, got dtype bool"),
    (X, ["a", "b", "c"], TypeError, "y: expected integer labels, got dtype <U1"),
    (X, np.zeros((3, 9)), ValueError, r"y: expected shape \(3, 10\), got \(3, 9\)"),
    (X, np.zeros((3, 10), bool), TypeError, "y: expected numbers, got dtype bool"),
    (X, np.full((3, 10), np.nan), ValueError, "y: expected finite targets, got NaN or infinity"),
]


@pytest.mark.parametrize(("x", "y", "error", "message"), BAD_DATA)
@pytest.mark.parametrize("call", ["step", "fit", "evaluate"])
def test_bad_data(x, y, error, message, call):
    if call == "evaluate" and "holds NaN" in message:
        pytest.skip("a loss that is not finite is an answer there")
    trainer = make_trainer()
    trainer.step(np.ones_like(X), Y)
    before = state_of(trainer)
    with pytest.raises(error, match=message):
        getattr(trainer, call)(x, y)
    assert unchanged(trainer, before)
    trainer.step(X, Y)


def test_infinity_in_one_batch_of_many():
    trainer = make_trainer()
    x = np.random.default_rng(0).standard_normal((60, 8, 8))
    x[45, 0, 0] = -np.inf
    with pytest.raises(ValueError, match="x: sample 45 holds NaN or infinity"):
        trainer.fit(x, np.arange(60) % 10, batch_size=7)
    assert all(np.isfinite(a).all() for a in trainer.model.parameters())


@pytest.mark.parametrize("value", [1e300, -1e39])
def test_doubles_that_float32_does_not_hold(value):
    trainer = make_trainer()
    before = state_of(trainer)
    x = np.zeros((60, 8, 8))
    x[45, 0, 0] = value
    message = f"x: sample 45 holds {abs(value):g}, too large for float32; nothing has changed"
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        trainer.fit(x, np.arange(60) % 10, batch_size="full")
    assert unchanged(trainer, before)


def test_a_later_batch_that_is_not_finite_leaves_the_steps_before_it():
    trainer = make_trainer()
    x = np.zeros((60, 8, 8), np.float32)
    x[45, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"x: sample 45 holds NaN .* steps before its batch stay"):
        trainer.fit(x, np.arange(60) % 10, batch_size=10, shuffle=False)
    assert trainer.steps == 4


def test_fit_within_fit():
    trainer = make_trainer()
    x = np.ones_like(X)

    def again(trainer, history):
        trainer.fit(x, Y)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="fit: called within fit of the same trainer"):
            trainer.fit(x, Y, callbacks=[again])
    twins = []
    trainer.fit(x, Y, callbacks=[lambda t, _: twins.append(copy.deepcopy(t))])
    twins[0].fit(x, Y)  # the copy is in no fit
    assert len(twins[0].history) == len(trainer.history) + 1
    trainer.fit(x, Y, callbacks=[lambda t, _: make_trainer().fit(x, Y)])


def test_evaluate_and_predict_answer_nan_with_nan():
    trainer = make_trainer()
    outputs = trainer.predict(with_value(np.nan))
    assert np.isnan(outputs[1]).all()
    assert np.isfinite(outputs[[0, 2]]).all()
    assert np.isnan(trainer.evaluate(with_value(np.nan), Y)[0])


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        ([1, 1], ValueError, r"sample_weight: expected shape \(3,\), got \(2,\)"),
        (1.0, ValueError, r"sample_weight: expected shape \(3,\), got \(\)"),
        ([1, -1, 1], ValueError, "sample_weight: expected finite values of at least 0"),
        ([1, np.nan, 1], ValueError, "sample_weight: expected finite values of at least 0"),
        (["a", "b", "c"], TypeError, "sample_weight: expected numbers, got dtype <U1"),
    ],
)
def test_bad_sample_weights(weight, error, message):
    trainer = make_trainer()
    before = state_of(trainer)
    with pytest.raises(error, match=message):
        trainer.step(X, Y, weight)
    with pytest.raises(error, match=message):
        trainer.fit(X, Y, sample_weight=weight)
    assert unchanged(trainer, before)


REGRESSION = [
    (nn.MSELoss(), np.zeros((3, 1)), ValueError, r"y: expected shape \(3, 2\), got \(3, 1\)"),
    (nn.MSELoss(), np.zeros(3, int), ValueError, r"y: expected shape \(3, 2\), got \(3,\)"),
    (nn.L1Loss(), np.full((3, 2), np.inf), ValueError, "y: expected finite targets"),
    (nn.L1Loss(), np.full((3, 2), "a"), TypeError, "y: expected numbers, got dtype <U1"),
    (nn.LeastSquaresLoss(), np.zeros((3, 2), complex), TypeError, "y: expected numbers, got dtype"),
    (nn.BCEWithLogitsLoss(), np.full((3, 2), 2), ValueError, "expected targets from 0 to 1, got 2"),
    (nn.BCELoss(), np.full((3, 2), -0.5), ValueError, "expected targets from 0 to 1, got -0.5"),
]


@pytest.mark.parametrize(("loss", "y", "error", "message"), REGRESSION)
def test_bad_targets(loss, y, error, message):
    trainer = make_trainer(loss, outputs=2)
    before = state_of(trainer)
    with pytest.raises(error, match=message):
        trainer.step(X, y)
    assert unchanged(trainer, before)


BAD_OPTIONS = [
    ({"epochs": -1}, ValueError, "epochs: expected an integer from 0"),
    ({"epochs": 1.5}, TypeError, "epochs: expected an integer, got float 1.5"),
    ({"batch_size": 0}, ValueError, "batch_size: expected an integer from 1"),
    ({"batch_size": -3}, ValueError, "batch_size: expected an integer from 1"),
    ({"batch_size": 2.5}, TypeError, "batch_size: expected an integer, got float 2.5"),
    ({"batch_size": "half"}, TypeError, "batch_size: expected an integer, got str 'half'"),
    ({"batch_size": True}, TypeError, "batch_size: expected an integer, got bool True"),
    ({"callbacks": [print, 3]}, TypeError, "callbacks: expected functions, got 3"),
    ({"callbacks": None}, TypeError, "callbacks: expected a list of functions, got None"),
    ({"callbacks": print}, TypeError, "callbacks: expected a list of functions, got <built-in fu"),
    ({"callbacks": [SGD]}, TypeError, "callbacks: expected functions, got <class .*SGD'>"),
    ({"shuffle": "no"}, TypeError, "shuffle: expected True or False, got str 'no'"),
    ({"shuffle": 0}, TypeError, "shuffle: expected True or False, got int 0"),
    ({"progress": "yes"}, ValueError, "progress: expected True, False or 'auto', got 'yes'"),
    ({"validation_data": X}, TypeError, r"expected \(x, y\) or .*, got an array"),
    (
        {"validation_data": (X, Y, Y, Y)},
        TypeError,
        r"expected \(x, y\) or \(x, y, sample_weight\), got tuple of 4: an array of shape",
    ),
    *(
        ({"validation_data": data}, error, f"^validation_data: {message}")
        for data, error, message in [
            ((X, Y, [1]), ValueError, r"sample_weight: expected shape \(3,\)"),
            ((X, Y[:2]), ValueError, "y: expected labels of shape"),
            ((X[:0], Y[:0]), ValueError, "expected at least one sample, got none"),
            ((None, Y), TypeError, "x: expected an array, got None"),
            ((X, [0.5, 1, 2]), TypeError, "y: expected integer labels, got dtype float64"),
            ((X[:, :2], Y), ValueError, r".*a window of 3 does not fit an input of 2"),
        ]
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_bad_options_of_fit(options, error, message):
    trainer = make_trainer()
    before = state_of(trainer)
    with pytest.raises(error, match=message):
        trainer.fit(X, Y, **options)
    assert unchanged(trainer, before)
    assert len(trainer.history) == 0


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3, nn.MSELoss(), SGD(0.1)), {}, TypeError, "model: expected a piste Module, got int"),
        ((nn.ReLU(), 3, SGD(0.1)), {}, TypeError, "loss: expected a piste Loss, got int"),
        ((nn.ReLU(), nn.MSELoss(), 0.1), {}, TypeError, "optimizer: expected a piste Opti"),
        ((nn.ReLU(), nn.MSELoss, SGD(0.1)), {}, TypeError, "loss: expected a piste Loss, got typ"),
        ((nn.ReLU(), nn.MSELoss(), SGD(0.1)), {"seed": -1}, ValueError, "seed: expected an integ"),
        ((nn.ReLU(), nn.MSELoss(), SGD(0.1)), {"seed": 0.5}, TypeError, "seed: expected an integ"),
        *(
            ((nn.ReLU(), nn.MSELoss(), SGD(0.1)), options, error, message)
            for options, error, message in [
                ({"clip_grad_value": 0}, ValueError, "clip_grad_value: expected a number above 0"),
                ({"clip_grad_norm": -1}, ValueError, "clip_grad_norm: expected a finite number of"),
                ({"clip_grad_norm": np.inf}, ValueError, "clip_grad_norm: expected a finite numb"),
                ({"clip_grad_norm": "a"}, TypeError, "clip_grad_norm: expected a number, got str"),
                ({"accumulation_steps": 0}, ValueError, "accumulation_steps: expected an integer"),
                (
                    {"schedule": StepLR},
                    TypeError,
                    "schedule: expected a schedule or a function, go",
                ),
                ({"accumulation_steps": 1.5}, TypeError, "accumulation_steps: expected an integ"),
            ]
        ),
    ],
)
def test_bad_trainers(arguments, options, error, message):
    with pytest.raises(error, match=message):
        piste.Trainer(*arguments, **options)


@pytest.mark.parametrize("name", ["model", "optimizer"])
def test_what_the_state_belongs_to_cannot_be_swapped(name):
    trainer = make_trainer()
    with pytest.raises(AttributeError):
        setattr(trainer, name, getattr(trainer, name))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layer", [0, 1, 4])
def test_a_diverged_model_is_refused_and_named(layer, value):
    trainer = make_trainer()
    trainer.model[layer].weight.flat[0] = value
    before = state_of(trainer)
    with pytest.raises(piste.DivergenceError, match=f"layer '{layer}'") as caught:
        trainer.step(np.ones_like(X), Y)
    assert caught.value.layer == str(layer)
    assert caught.value.lr == 0.1
    for now, then in zip(state_of(trainer), before, strict=True):
        np.testing.assert_array_equal(now, then)  # NaN equals NaN here
    trainer.model[layer].weight.flat[0] = 0.5
    trainer.step(np.ones_like(X), Y)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("lr", [10.0, 1e4, 1e20, 3e38])
def test_after_divergence_the_last_good_weights_stand(lr, momentum):
    trainer = make_trainer(nn.LeastSquaresLoss(), SGD(lr, momentum))
    x = np.random.default_rng(0).standard_normal((40, 8, 8)).astype(np.float32)
    y = np.ones((40, 10), np.float32)
    twin = make_trainer(nn.LeastSquaresLoss(), SGD(lr, momentum))
    with pytest.raises(piste.DivergenceError) as caught:
        trainer.fit(x, y, epochs=1000, batch_size="full", shuffle=False)
    error = caught.value
    assert error.step == trainer.steps == trainer.model[1].num_batches_tracked
    assert error.lr == lr
    assert error.layer in "01234"
    assert f"diverged at step {error.step}: loss" in str(error)
    # The model is as that number of steps leaves it, and of use.
    for _ in range(trainer.steps):
        twin.step(x, y)
    assert unchanged(trainer, state_of(twin))
    assert np.isfinite(trainer.evaluate(x, y)[0])
    with pytest.raises(piste.DivergenceError):  # the same again, from the same weights
        trainer.fit(x, y, epochs=1000, batch_size="full", shuffle=False)
    assert unchanged(trainer, state_of(twin))
    trainer.optimizer.lr = 0.0
    assert np.isfinite(trainer.step(x, y))


@pytest.mark.parametrize("batch_size", ["full", 2, 20])
def test_the_last_step_of_an_epoch_is_noticed_if_it_went_too_far(batch_size):
    trainer = make_trainer(nn.CrossEntropyLoss(), SGD(0.01))
    x = np.random.default_rng(0).standard_normal((40, 8, 8)).astype(np.float32)
    y = np.arange(40) % 10
    trainer.fit(x, y, epochs=1, batch_size=batch_size)
    trainer.optimizer.lr = 1e38
    before = state_of(trainer) if batch_size == "full" else None
    with pytest.raises(piste.DivergenceError) as caught:
        trainer.fit(x, y, epochs=1, batch_size=batch_size)
    assert caught.value.step == trainer.steps
    assert before is None or unchanged(trainer, before)
    assert np.isfinite(trainer.evaluate(x, y)[0])
    assert np.isfinite(trainer.predict(x)).all()


def test_weights_set_by_the_user_are_not_taken_back():
    trainer = make_trainer(nn.LeastSquaresLoss(), SGD(10.0))
    x, y = np.ones_like(X), np.ones((3, 10), np.float32)
    trainer.step(x, y)  # a long step, which would be taken back
    trainer.model[4].weight[...] = 3e38
    with pytest.raises(piste.DivergenceError, match="layer '4'") as caught:
        trainer.step(x, y)
    assert caught.value.step == trainer.steps == 1
    assert (trainer.model[4].weight == np.float32(3e38)).all()


def test_a_long_step_is_not_blamed_for_bad_data():
    trainer = make_trainer(nn.LeastSquaresLoss(), SGD(1.0))
    y = np.ones((3, 10), np.float32)
    trainer.step(np.ones_like(X), y)
    before = state_of(trainer)
    with pytest.raises(ValueError, match="x: sample 1 holds NaN"):
        trainer.step(with_value(np.nan), y)
    assert unchanged(trainer, before)


def test_a_rate_that_becomes_bad_is_refused():
    trainer = make_trainer()
    before = state_of(trainer)
    for rate, error in ((np.nan, ValueError), (-1.0, ValueError), ("fast", TypeError)):
        with pytest.raises(error, match="lr: expected a"):
            trainer.optimizer.lr = rate
        assert trainer.optimizer.lr == 0.1
    assert unchanged(trainer, before)


def test_a_group_s_rate_that_becomes_bad_is_refused():
    trainer = make_trainer(optimizer=SGD(0.1, groups=[{"params": ["0"], "lr": 0.2}]))
    before = state_of(trainer)
    for rate, error in ((np.nan, ValueError), (-1.0, ValueError), ("fast", TypeError)):
        trainer.optimizer.groups[0]["lr"] = rate
        with pytest.raises(error, match="lr: expected a"):
            trainer.step(X, Y)
    assert unchanged(trainer, before)


@pytest.mark.parametrize("groups", [None, 3, "0", {"params": ["0"]}, [("params", ["0"])]])
def test_groups_set_later_are_those_of_the_constructor(groups):
    optimizer = SGD(0.1, groups=[{"params": ["0"], "lr": 0.2}])
    with pytest.raises(TypeError, match="groups: expected a list of dictionaries"):
        optimizer.groups = groups
    assert optimizer.groups == [{"params": ["0"], "lr": 0.2}]


def test_momentum_cannot_begin_later():
    trainer = make_trainer(optimizer=SGD(0.1))
    trainer.step(np.ones_like(X), Y)
    trainer.optimizer.momentum = 0.9
    with pytest.raises(ValueError, match="momentum: cannot be switched on"):
        trainer.step(X, Y)


@pytest.mark.parametrize(("kind", "option"), [(Adam, "amsgrad"), (RMSprop, "centered")])
def test_nor_can_what_needs_another_array(kind, option):
    trainer = make_trainer(optimizer=kind())
    setattr(trainer.optimizer, option, True)
    with pytest.raises(ValueError, match=f"{option}: cannot be switched on after training has"):
        trainer.step(X, Y)


def test_a_batch_of_one_value_per_channel_has_no_statistics():
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.1))
    before = state_of(trainer)
    with pytest.raises(ValueError, match=r"\[0\] batch norm expects more than 1 value"):
        trainer.step(np.ones((1, 4, 1, 1), np.float32), [1])
    assert unchanged(trainer, before)


@pytest.mark.parametrize(("samples", "size"), [(20, 19), (20, 1), (1, 64), (1, "full"), (41, 8)])
def test_a_last_batch_of_one_sample_is_found_before_the_first(samples, size):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.1))
    x = np.random.default_rng(0).standard_normal((samples, 4)).astype(np.float32)
    before = state_of(trainer)
    got = samples if size == "full" else size
    message = f"^batch_size: the last batch has 1 sample, .* '1' .*; got {got} for {samples} samp"
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, np.zeros(samples, int), batch_size=size)
    assert unchanged(trainer, before)
    trainer.fit(x, np.zeros(samples, int), batch_size=size, epochs=0)


def test_a_last_batch_of_one_image_has_statistics():
    trainer = make_trainer()  # its batch norm sees 6x6 pixels
    trainer.fit(np.ones((5, 8, 8), np.float32), np.arange(5), batch_size=4)
    piste.Trainer(nn.Linear(4, 2), nn.CrossEntropyLoss(), SGD(0.1)).fit(
        np.ones((5, 4)), np.zeros(5, int), batch_size=1
    )


def test_outputs_too_large_for_any_machine():
    huge = nn.Sequential(nn.Conv2d(1, 1, 1, padding=2**31 - 1), nn.AdaptiveAvgPool2d(1))
    trainer = piste.Trainer(huge, nn.MSELoss(), SGD(0.1))
    with pytest.raises(ValueError, match=r"\[0\] an output of shape .* is too large"):
        trainer.step(X, np.zeros((3, 1, 1, 1)))
    large = nn.Sequential(nn.AdaptiveAvgPool2d(2**19), nn.AdaptiveAvgPool2d(1))
    trainer = piste.Trainer(large, nn.MSELoss(), SGD(0.1))
    x = np.zeros((2**11, 1, 1, 1), np.float32)
    with pytest.raises(MemoryError, match=r"cannot allocate \d{16,} bytes for a batch's map"):
        trainer.step(x, x)


@pytest.mark.parametrize(
    "name", ["augment", "seed", "clip_grad_value", "clip_grad_norm", "accumulation_steps"]
)
def test_what_a_trainer_was_made_with_stays(name):
    trainer = piste.Trainer(nn.Sequential(nn.Linear(2, 3)), nn.MSELoss(), piste.optim.SGD(0.1))
    before = getattr(trainer, name)
    with pytest.raises(AttributeError, match=name):
        setattr(trainer, name, 2)
    assert getattr(trainer, name) == before


def test_another_loss_is_checked():
    trainer = piste.Trainer(nn.Sequential(nn.Linear(2, 3)), nn.MSELoss(), piste.optim.SGD(0.1))
    with pytest.raises(TypeError, match="loss: expected a piste Loss, got str"):
        trainer.loss = "mse"
    trainer.loss = nn.L1Loss()
    assert isinstance(trainer.loss, nn.L1Loss)


@pytest.mark.parametrize("weight", [1e38, 1e-40])
def test_weights_whose_sum_no_mean_is_divided_by(weight):
    model = nn.Sequential(nn.Linear(3, 2))
    before = model[0].weight.copy()
    trainer = piste.Trainer(model, nn.MSELoss(reduction="mean"), SGD(lr=0.1))
    x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    with pytest.raises(ValueError, match="weights: those of a batch sum up to"):
        trainer.step(x, y, sample_weight=np.full(4, weight))
    np.testing.assert_array_equal(model[0].weight, before)
    assert trainer.steps == 0
