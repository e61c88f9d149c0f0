"""Schedules: PyTorch's numbers, in trainings, in files."""

import math

import numpy as np
import piste
import pytest
from piste import nn, optim
from piste.history import History
from piste.serialize import build_schedule
from reference import optim as reference
from reference.training import BIAS, WEIGHT, X, Y, gradients, linear, same

T = np.arange(300)


def warm_up_then_cosine(t):
    if t < 20:
        return 0.4 * (0.1 + 0.9 * t / 20)
    return 0.01 + 0.39 * (1 + math.cos(math.pi * (t - 20) / 80)) / 2


COURSES = [
    (optim.StepLR(30, 0.5), lambda t: 0.4 * 0.5 ** (t // 30)),
    (optim.MultiStepLR([10, 10, 200]), lambda t: 0.4 * 0.1 ** (2 * (t >= 10) + (t >= 200))),
    (optim.ExponentialLR(0.98), lambda t: 0.4 * 0.98**t),
    (optim.CosineAnnealingLR(80, 0.01),
     lambda t: 0.01 + 0.39 * (1 + math.cos(math.pi * t / 80)) / 2),
    (optim.LinearLR(), lambda t: 0.4 * (1 / 3 + 2 / 3 * min(t, 5) / 5)),
    (optim.LinearLR(0.5, 0.0, 100), lambda t: 0.4 * (0.5 - 0.5 * min(t, 100) / 100)),
    (optim.ConstantLR(0.2, 7), lambda t: 0.4 * (0.2 if t < 7 else 1)),
    (optim.LambdaLR(lambda t: 1 / (1 + t)), lambda t: 0.4 / (1 + t)),
    (optim.SequentialLR([optim.LinearLR(0.1, total_iters=20), optim.CosineAnnealingLR(80, 0.01)],
                        [20]), warm_up_then_cosine),
    (optim.OneCycleLR(0.1, 200), lambda t: reference.one_cycle(t, 0.1, 200)[0]),
    (optim.OneCycleLR(0.1, 90, pct_start=0.5, div_factor=4, final_div_factor=10),
     lambda t: reference.one_cycle(t, 0.1, 90, 0.5, 4, 10)[0]),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "expected"), COURSES)
def test_courses(schedule, expected):
    rates = schedule.rates([0.4, 0.4], T)
    assert rates.shape == (300, 2)
    np.testing.assert_allclose(rates[:, 0], [expected(int(t)) for t in T], rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(rates[:, 0], rates[:, 1])
    np.testing.assert_array_equal(schedule.rates(0.4, 7), rates[7:8, :1])


def test_momentum_runs_against_the_cycle():
    schedule = optim.OneCycleLR(0.1, 200, base_momentum=0.7, max_momentum=0.9)
    expected = [reference.one_cycle(t, 0.1, 200, low=0.7, high=0.9)[1] for t in range(300)]
    np.testing.assert_allclose(schedule._momenta(T), expected, rtol=1e-12)
    assert optim.OneCycleLR(0.1, 200, cycle_momentum=False)._momenta(T) is None


def test_three_phases_along_lines():
    schedule = optim.OneCycleLR(
        1.0, 101, None, None, 0.3, "linear", div_factor=10, final_div_factor=10, three_phase=True
    )
    knots = [0, 29.3, 58.6, 100, 1000]
    np.testing.assert_allclose(
        schedule.rates(5.0, T)[:, 0], np.interp(T, knots, [0.1, 1.0, 0.1, 0.01, 0.01]), rtol=1e-12
    )
    np.testing.assert_allclose(
        schedule._momenta(T), np.interp(T, knots, [0.95, 0.85, 0.95, 0.95, 0.95]), rtol=1e-12
    )


def observe(schedule, values):
    history, rates = History(), []
    for value in values:
        history.val_loss.append(value)
        schedule._observe(history)
        rates.append(schedule.rates(0.4, 0)[0, 0])
    return rates


@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("cooldown", [0, 3])
def test_a_plateau_reduces_the_rate(patience, cooldown):
    values = [*np.maximum(0.5, 1 - 0.05 * np.arange(40)), 0.499, math.nan, 0.3, 0.3]
    schedule = optim.ReduceLROnPlateau(
        factor=0.3, patience=patience, threshold=0.01, cooldown=cooldown, min_lr=1e-3
    )
    expected = reference.plateau(values, 0.4, 0.3, patience, 0.01, cooldown, 1e-3)
    np.testing.assert_allclose(observe(schedule, values), expected, rtol=1e-12)


def test_a_plateau_of_what_should_grow():
    schedule = optim.ReduceLROnPlateau(
        "max", 0.5, 0, 0.1, "abs", monitor="val_loss", eps=0.15
    )  # fmt: skip
    rates = observe(schedule, [1.0, 1.05, 1.2, 1.25, 1.25])
    assert rates == [0.4, 0.2, 0.2, 0.2, 0.2]  # further steps are below eps


def train(schedule, **options):
    model = linear()
    trainer = piste.Trainer(model, nn.MSELoss(), optim.SGD(0.4), schedule=schedule, **options)
    return trainer, model


def by_hand(rates):
    trainer, model = train(None)
    for i, rate in enumerate(rates):
        trainer.optimizer.lr = float(rate)
        trainer.step(X[i], Y[i])
    return model


@pytest.mark.parametrize(("schedule", "expected"), COURSES[:-2])
def test_fit_and_step_take_each_update_at_its_rate(schedule, expected):
    wanted = by_hand([expected(i) for i in range(60)]).state_dict()
    trainer, model = train(schedule)
    trainer.fit(X[:60].reshape(-1, 33), Y[:60].reshape(-1, 3), batch_size=12, shuffle=False)
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-12, atol=1e-14)
    other, twin = train(schedule)
    for i in range(60):
        assert other.learning_rates()["0.weight"] == pytest.approx(expected(i), rel=1e-12)
        other.step(X[i], Y[i])
    same(twin.state_dict(), model.state_dict())
    assert trainer.history.lr == [pytest.approx(expected(60), rel=1e-12)]


def test_momentum_is_cycled_in_training():
    schedule = optim.OneCycleLR(0.05, 60)
    trainer, model = train(schedule)
    twin = linear()
    other = piste.Trainer(twin, nn.MSELoss(), optim.SGD(0.4, 0.5))
    for i in range(60):
        trainer.step(X[i], Y[i])
        other.optimizer.lr, other.optimizer.momentum = map(float, (
            schedule.rates(1, i)[0, 0], schedule._momenta(np.array([i]))[0]))  # fmt: skip
        other.step(X[i], Y[i])
    same(model.state_dict(), twin.state_dict())


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_a_cycle_has_no_update_beyond_its_last(accumulation_steps):
    schedule = optim.OneCycleLR(0.05, 6)
    model = linear()
    options = {"schedule": schedule, "accumulation_steps": accumulation_steps}
    trainer = piste.Trainer(model, nn.MSELoss(), optim.SGD(0.4, 0.5), **options)
    rows = 12 * accumulation_steps
    x, y = X[0].repeat(rows, axis=0)[:rows], Y[0].repeat(rows, axis=0)[:rows]
    trainer.fit(x, y, epochs=2, batch_size=4, progress=False)  # two times 3 updates
    last = schedule.rates(1, 6)[0, 0]
    assert set(trainer.learning_rates().values()) == {last}
    before = model.state_dict()
    trainer.plan(x[:4].shape)
    for train_on in (
        lambda: trainer.step(x[:4], y[:4]),
        lambda: trainer.fit(x, y, epochs=1, batch_size=4, progress=False),
    ):
        with pytest.raises(ValueError, match="OneCycleLR ends after 6 updates, got one more"):
            train_on()
    same(model.state_dict(), before)


def test_groups_keep_their_ratio():
    model = linear()
    optimizer = optim.SGD(0.4, groups=[{"params": ["0.bias"], "lr": 0.1}])
    trainer = piste.Trainer(
        model, nn.MSELoss(), optimizer, schedule=optim.CosineAnnealingLR(10, 0.05)
    )
    for i in range(5):
        trainer.step(X[i], Y[i])
    assert trainer.learning_rates() == {
        "0.weight": pytest.approx(0.225), "0.bias": pytest.approx(0.075)
    }  # fmt: skip


def test_a_function_is_called_ahead_not_every_step():
    spans = []

    def factor(t):
        spans.append(t)
        return 1.0

    trainer, _ = train(factor)
    trainer.fit(X.reshape(-1, 33), Y.reshape(-1, 3), batch_size=12)
    assert spans[:200] == list(range(200))
    assert len(spans) <= 202  # and what the history notes


def test_more_updates_than_one_span(monkeypatch):
    monkeypatch.setattr("piste.optim.state._SPAN", 7)
    monkeypatch.setattr("piste.optim.state._LEAST_SPAN", 3)
    schedule = optim.ExponentialLR(0.95)
    trainer, model = train(schedule)
    trainer.fit(X[:60].reshape(-1, 33), Y[:60].reshape(-1, 3), batch_size=12, shuffle=False)
    other, twin = train(schedule)
    for i in range(60):
        other.step(X[i], Y[i])
    same(twin.state_dict(), model.state_dict())


def test_epochs_are_counted_where_asked_for():
    trainer, _ = train(optim.StepLR(2, 0.5, "epoch"))
    rates = []
    trainer.fit(
        X[:3].reshape(-1, 33), Y[:3].reshape(-1, 3), batch_size=12, epochs=5,
        callbacks=[lambda t, _: rates.append(t.learning_rates()["0.bias"])],
    )  # fmt: skip
    assert rates == [0.4, 0.2, 0.2, 0.1, 0.1]


def test_a_rate_changed_by_hand_counts_from_then_on():
    trainer, _ = train(optim.ExponentialLR(0.5))
    trainer.step(X[0], Y[0])
    trainer.optimizer.lr = 0.8
    assert trainer.learning_rates()["0.bias"] == 0.4


@pytest.mark.parametrize(
    "schedule",
    [
        *(schedule for schedule, _ in COURSES if not isinstance(schedule, optim.LambdaLR)),
        optim.ReduceLROnPlateau(patience=1),
    ],
)
def test_schedules_as_plain_data(schedule):
    import json

    if isinstance(schedule, optim.ReduceLROnPlateau):
        observe(schedule, [1.0, 1.0, 1.0])
    again = build_schedule(json.loads(json.dumps(schedule._describe())))
    assert repr(again) == repr(schedule)
    np.testing.assert_array_equal(again.rates(0.4, T), schedule.rates(0.4, T))


def test_a_function_must_be_given_again(tmp_path):
    trainer, _ = train(lambda t: 0.5**t)
    trainer.step(X[0], Y[0])
    trainer.save(tmp_path / "w")
    message = r"w: its schedule is a function, which no file holds; give it again: Trainer.load"
    with pytest.raises(ValueError, match=message):
        piste.Trainer.load(tmp_path / "w")
    again = piste.Trainer.load(tmp_path / "w", schedule=lambda t: 0.5**t)
    assert again.learning_rates() == trainer.learning_rates()
    for one in (trainer, again):
        one.step(X[1], Y[1])
    same(again.model.state_dict(), trainer.model.state_dict())


def test_a_function_that_is_part_of_a_schedule_must_be_given_again(tmp_path):
    def schedule():
        return optim.SequentialLR([optim.LinearLR(0.1), optim.LambdaLR(lambda t: 1 / (t + 1))], [5])

    trainer, _ = train(schedule())
    trainer.save(tmp_path / "w")
    with pytest.raises(ValueError, match=r"function, which no file holds; give it again"):
        piste.Trainer.load(tmp_path / "w")
    again = piste.Trainer.load(tmp_path / "w", schedule=schedule())
    assert repr(again.schedule) != "None"


@pytest.mark.parametrize("momentum", [0.0, 0.4])
@pytest.mark.parametrize("centered", [False, True])
def test_momentum_of_rmsprop_is_cycled(momentum, centered):
    optimizer = optim.RMSprop(0.3, 0.9, momentum=momentum, centered=centered)
    model = linear()
    trainer = piste.Trainer(
        model, nn.MSELoss(), optimizer, schedule=optim.OneCycleLR(0.01, 60, base_momentum=0.5)
    )
    p, states = [WEIGHT, BIAS], [reference.start(a) for a in (WEIGHT, BIAS)]
    for i in range(60):
        trainer.step(X[i], Y[i])
        lr, cycled = reference.one_cycle(i, 0.01, 60, low=0.5)
        p = [
            reference.step_rmsprop(a, g, s, lr, 0.9, momentum=cycled, centered=centered)
            for a, g, s in zip(p, gradients(p, i), states, strict=True)
        ]
    for got, expected in zip(model.parameters(), p, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_a_cycle_of_epochs():
    expected = optim.OneCycleLR(0.1, 60)
    schedule = optim.OneCycleLR(0.1, epochs=4, steps_per_epoch=15)
    np.testing.assert_array_equal(schedule.rates(1, T), expected.rates(1, T))
    assert schedule.total_steps == 60


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.StepLR(0), ValueError, "step_size: expected an integer from 1"),
        (lambda: optim.StepLR(1, -1), ValueError, "gamma: expected a finite number of at least 0"),
        (lambda: optim.StepLR(1, 1, "week"), ValueError, "interval: expected 'step' or 'epoch'"),
        (lambda: optim.MultiStepLR([3, 2]), ValueError, "milestones: expected increasing integers"),
        (lambda: optim.MultiStepLR([0]), ValueError, r"milestones\[0\]: expected an integer from"),
        (lambda: optim.MultiStepLR(3), TypeError, "milestones: expected a list of integers, got 3"),
        (lambda: optim.ExponentialLR("a"), TypeError, "gamma: expected a number"),
        (lambda: optim.CosineAnnealingLR(0), ValueError, "T_max: expected an integer from 1"),
        (lambda: optim.CosineAnnealingLR(3, -1), ValueError, "eta_min: expected a finite number"),
        (lambda: optim.LinearLR(0), ValueError, "start_factor: expected a number above 0"),
        (lambda: optim.LinearLR(2), ValueError, "start_factor: expected a number above 0"),
        (lambda: optim.LinearLR(1, 2), ValueError, "end_factor: expected a number from 0 to 1"),
        (lambda: optim.ConstantLR(2), ValueError, "factor: expected a number from 0 to 1"),
        (lambda: optim.LambdaLR(3), TypeError, "lr_lambda: expected a function, got 3"),
        (lambda: optim.LambdaLR(lambda t: -1).rates(1, 2), ValueError, r"lr_lambda\(2\): expected"),
        (lambda: optim.SequentialLR([3], []), TypeError, "schedules: expected schedules, got 3"),
        (lambda: optim.SequentialLR([], []), ValueError, "schedules: expected one or more"),
        (lambda: optim.SequentialLR([optim.StepLR(1), optim.StepLR(1, 1, "epoch")], [1]),
         ValueError, "schedules: expected one or more of the same interval"),
        (lambda: optim.SequentialLR([optim.OneCycleLR(1, 2)], []), ValueError,
         "schedules: OneCycleLR cannot be one of several"),
        (lambda: optim.SequentialLR([optim.ReduceLROnPlateau()], []), ValueError,
         "schedules: ReduceLROnPlateau cannot be one of several"),
        (lambda: optim.SequentialLR([optim.StepLR(1)], [3]), ValueError,
         "milestones: expected 0 for 1 schedules, got 1"),
        (lambda: optim.OneCycleLR(1), ValueError, "total_steps: expected it, or both epochs and"),
        (lambda: optim.OneCycleLR(1, epochs=3), ValueError, "total_steps: expected it, or both"),
        (lambda: optim.OneCycleLR(1, None, 0, 3), ValueError, "epochs: expected an integer from 1"),
        (lambda: optim.OneCycleLR(1, 0), ValueError, "total_steps: expected an integer from 1"),
        (lambda: optim.OneCycleLR(1, 9, pct_start=2), ValueError, "pct_start: expected a number"),
        (lambda: optim.OneCycleLR(1, 9, anneal_strategy="exp"), ValueError, "expected 'cos'"),
        (lambda: optim.OneCycleLR(1, 9, max_momentum=1), ValueError, "max_momentum: expected a"),
        (lambda: optim.OneCycleLR(1, 9, div_factor=0), ValueError, "div_factor: expected a number"),
        (lambda: optim.ReduceLROnPlateau("up"), ValueError, "mode: expected 'min' or 'max'"),
        (lambda: optim.ReduceLROnPlateau(factor=1), ValueError, "factor: expected a number below"),
        (lambda: optim.ReduceLROnPlateau(threshold_mode="a"), ValueError, "threshold_mode: exp"),
        (lambda: optim.ReduceLROnPlateau(monitor="mood"), ValueError, "monitor: expected one of"),
        (lambda: train(3), TypeError, "schedule: expected a schedule or a function, got 3"),
        (lambda: piste.Trainer(linear(), nn.MSELoss(), optim.Adagrad(),
                               schedule=optim.OneCycleLR(1, 9)), ValueError,
         "schedule: OneCycleLR cycles the momentum, which Adagrad does not have"),
        (lambda: build_schedule({"class": "EMA"}), ValueError, "unknown optimiser, schedule or"),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
