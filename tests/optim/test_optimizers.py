"""Every rule and option against its formula, over whole trainings."""

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from reference import optim as reference
from reference.training import (
    BIAS,
    IMAGES,
    LABELS,
    WEIGHT,
    X,
    Y,
    arguments,
    everything,
    follow,
    gradients,
    linear,
    network,
    same,
    same_on_any_threads,
)  # fmt: skip

RULES = [
    SGD(0.1),
    SGD(0.05, 0.9, weight_decay=0.01),
    SGD(0.05, 0.9, dampening=0.3),
    SGD(0.05, 0.9, nesterov=True, weight_decay=0.01),
    SGD(0.0005, 0.5, maximize=True),
    Adam(),
    Adam(0.01, (0.8, 0.99), 1e-6, 0.01),
    Adam(0.01, amsgrad=True),
    Adam(0.001, maximize=True, betas=(0.0, 0.0)),
    AdamW(0.01),
    AdamW(0.01, weight_decay=0.1, amsgrad=True, maximize=True),
    RMSprop(),
    RMSprop(0.005, 0.9, weight_decay=0.01, momentum=0.9),
    RMSprop(0.005, 0.9, 1e-3, centered=True, momentum=0.5),
    RMSprop(0.005, centered=True, maximize=True),
    Adagrad(),
    Adagrad(0.1, 0.01, 0.01, 0.1, 1e-5),
    Adagrad(0.1, maximize=True),
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 1e-5)])
@pytest.mark.parametrize("optimizer", RULES, ids=repr)
def test_200_steps_follow_the_formula(optimizer, dtype, tolerance):
    model = linear(dtype)
    trainer = piste.Trainer(model, nn.MSELoss(), optimizer)
    for i, (weight, bias) in enumerate(follow(optimizer)):
        trainer.step(X[i], Y[i])
        np.testing.assert_allclose(model[0].weight, weight, rtol=0, atol=tolerance)
        np.testing.assert_allclose(model[0].bias, bias, rtol=0, atol=tolerance)


def test_defaults_are_pytorchs():
    assert arguments(SGD()) == {
        "lr": 1e-3, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False,
        "maximize": False,
    }  # fmt: skip
    adam = {
        "lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False,
        "maximize": False,
    }  # fmt: skip
    assert arguments(Adam()) == adam
    assert arguments(AdamW()) == adam | {"weight_decay": 1e-2}
    assert arguments(RMSprop()) == {
        "lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0, "momentum": 0,
        "centered": False, "maximize": False,
    }  # fmt: skip
    assert arguments(Adagrad()) == {
        "lr": 1e-2, "lr_decay": 0, "weight_decay": 0, "initial_accumulator_value": 0,
        "eps": 1e-10, "maximize": False,
    }  # fmt: skip


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Adagrad])
def test_groups_have_options_of_their_own(kind):
    grouped = kind(0.01, weight_decay=0.1, groups=[{"params": ["0.bias"], "lr": 0.1,
                                                    "weight_decay": 0.0}])  # fmt: skip
    model = linear()
    trainer = piste.Trainer(model, nn.MSELoss(), grouped)
    for i in range(5):
        trainer.step(X[i], Y[i])
    p = [WEIGHT, BIAS]
    own = [arguments(grouped), arguments(grouped) | {"lr": 0.1, "weight_decay": 0.0}]
    states = [reference.start(a) for a in p]
    rule = reference.STEPS[kind.__name__]
    for i in range(5):
        p = [rule(a, b, s, **o) for a, b, s, o in zip(p, gradients(p, i), states, own, strict=True)]
    np.testing.assert_allclose(model[0].weight, p[0], rtol=1e-11)
    np.testing.assert_allclose(model[0].bias, p[1], rtol=1e-11)


def test_a_group_may_have_what_the_others_lack():
    optimizer = Adam(groups=[{"params": ["0.bias"], "amsgrad": True}])
    state = piste.Trainer(linear(), nn.MSELoss(), optimizer)._state.states
    assert list(state[0]) == ["exp_avg", "exp_avg_sq"]
    assert list(state[1]) == ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]


WHOLE = [
    (AdamW(1e-3, amsgrad=True), {"clip_grad_norm": 0.5}),
    (RMSprop(1e-3, momentum=0.9, centered=True), {"accumulation_steps": 3}),
    (Adagrad(lr_decay=0.1), {"clip_grad_value": 0.01, "average": piste.optim.EMA(0.9)}),
    (Adam(), {"schedule": piste.optim.OneCycleLR(0.01, 30), "accumulation_steps": 2}),
    (SGD(0.01), {"schedule": piste.optim.OneCycleLR(0.01, 30)}),
    (SGD(0.01, 0.9), {"schedule": piste.optim.StepLR(1, 0.5, "epoch"),
                      "average": piste.optim.SWA(start=1)}),
    (SGD(0.01, 0.9), {"schedule": piste.optim.ReduceLROnPlateau(patience=0, threshold=0.5)}),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "options"), WHOLE)
def test_the_same_bits_on_1_to_8_threads(optimizer, options):
    same_on_any_threads(lambda: fresh(optimizer, options))


def fresh(optimizer, options):
    """A trainer whose schedule has seen nothing yet."""
    from piste import serialize

    schedule = options.get("schedule")
    if schedule is not None:
        options = options | {"schedule": serialize.build_schedule(schedule._describe())}
    return piste.Trainer(network(), nn.CrossEntropyLoss(), optimizer, seed=5, **options)


@pytest.mark.parametrize(("optimizer", "options"), WHOLE)
def test_training_resumes_on_the_same_bits(optimizer, options, tmp_path):
    straight = fresh(optimizer, options)
    straight.fit(IMAGES, LABELS, epochs=4, batch_size=16)
    first = fresh(optimizer, options)
    first.fit(IMAGES, LABELS, epochs=2, batch_size=16)
    first.save(tmp_path / "half")
    second = piste.Trainer.load(tmp_path / "half")
    assert repr(second.optimizer) == repr(optimizer)
    second.fit(IMAGES, LABELS, epochs=2, batch_size=16)
    same(everything(second), everything(straight))
    assert second.history.loss == straight.history.loss
    assert second.history.lr == straight.history.lr
    assert second._state.counters == straight._state.counters


def test_gradients_half_gathered_are_saved(tmp_path):
    trainers = [fresh(Adam(), {"accumulation_steps": 3}) for _ in range(2)]
    for trainer in trainers:
        for _ in range(4):
            trainer.step(IMAGES[:9], LABELS[:9])
    trainers[0].save(tmp_path / "half")
    trainers[0] = piste.Trainer.load(tmp_path / "half")
    for trainer in trainers:
        for _ in range(5):
            trainer.step(IMAGES[:9], LABELS[:9])
    same(everything(trainers[0]), everything(trainers[1]))


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Adagrad])
def test_divergence_leaves_the_last_good_weights(kind):
    trainer = piste.Trainer(network(), nn.CrossEntropyLoss(), kind(3e38))
    twin = piste.Trainer(network(), nn.CrossEntropyLoss(), kind(3e38))
    with pytest.raises(piste.DivergenceError) as caught:
        trainer.fit(IMAGES, LABELS, epochs=1000, batch_size="full", shuffle=False)
    assert caught.value.step == trainer.steps
    assert caught.value.lr == 3e38
    for _ in range(trainer.steps):
        twin.step(IMAGES, LABELS)
    same(everything(trainer), everything(twin))
    assert trainer._state.counters == twin._state.counters
    trainer.optimizer.lr = 0.0
    assert np.isfinite(trainer.step(IMAGES, LABELS))


@pytest.mark.parametrize("kind", [Adam, AdamW, RMSprop, Adagrad])
def test_a_division_by_zero_is_no_update(kind):
    model = nn.Sequential(nn.Linear(3, 1))
    before = model.state_dict()
    trainer = piste.Trainer(model, nn.MSELoss(), kind(eps=0.0))
    with pytest.raises(piste.DivergenceError):  # 0 / 0 for the weights, whose gradient is 0
        trainer.step(np.zeros((4, 3)), np.ones((4, 1)))
    same(model.state_dict(), before)
    assert trainer._state.updates == 0


def test_a_variance_below_zero_by_rounding_counts_as_zero():
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    model[0].weight[...] = 0.3
    trainer = piste.Trainer(model, nn.MSELoss(), RMSprop(0.0, centered=True, alpha=0.5, eps=1e-3))
    for _ in range(300):  # the same gradient again and again
        trainer.step(np.full((1, 1), 0.7, np.float32), np.full((1, 1), 0.9, np.float32))
    assert np.isfinite(model[0].weight).all()


def test_options_are_numbers_that_nothing_else_can_change(tmp_path):
    rate = np.array(0.25)
    optimizer = Adam(rate, betas=[np.float32(0.5), 0.75], groups=[{"params": ["0"], "lr": rate}])
    rate[...] = 5
    assert (optimizer.lr, optimizer.betas, optimizer.groups[0]["lr"]) == (0.25, (0.5, 0.75), 0.25)
    optimizer.lr = np.array(0.5)
    assert type(optimizer.lr) is float
    trainer = piste.Trainer(nn.Sequential(nn.Linear(3, 1)), nn.MSELoss(), optimizer)
    trainer.step(np.ones((4, 3)), np.ones((4, 1)))
    trainer.save(tmp_path / "file")
    assert repr(piste.Trainer.load(tmp_path / "file").optimizer) == repr(optimizer)


def test_a_trainer_follows_what_is_set_and_what_is_written_to_groups():
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1))
    optimizer = SGD(0.1)
    trainer = piste.Trainer(model, nn.MSELoss(), optimizer)
    names = [name for name, _ in model.named_parameters()]
    x, y = np.ones((4, 2)), np.ones((4, 1))

    def follow(*rates):
        trainer.step(x, y)
        assert trainer.learning_rates() == dict(zip(names, rates, strict=True))
        assert [h["lr"] for h in trainer._state._given] == list(rates)

    follow(0.1, 0.1, 0.1, 0.1)
    optimizer.lr = 0.2
    follow(0.2, 0.2, 0.2, 0.2)
    optimizer.groups = [{"params": ["0"], "lr": 0.5}]
    follow(0.5, 0.5, 0.2, 0.2)
    optimizer.groups[0]["lr"] = 0.25
    follow(0.25, 0.25, 0.2, 0.2)
    optimizer.groups.append({"params": ["1.bias"], "lr": 0})
    follow(0.25, 0.25, 0.2, 0)
    optimizer.groups.clear()
    follow(0.2, 0.2, 0.2, 0.2)


def test_what_is_written_to_groups_is_checked_and_kept_as_numbers(tmp_path):
    rate, names = np.array(0.1), ["0"]
    optimizer = SGD(0.1, groups=[{"params": names, "lr": 0.1}])
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    trainer = piste.Trainer(model, nn.MSELoss(), optimizer)
    x, y = np.ones((4, 2)), np.ones((4, 1))
    names.append("1")
    optimizer.groups[0]["lr"] = rate
    trainer.step(x, y)
    rate[...] = 0
    before = model[0].weight.copy()
    trainer.step(x, y)
    np.testing.assert_array_equal(model[0].weight, before)
    assert list(trainer.learning_rates().values()) == [0.0, 0.0, 0.1, 0.1]
    trainer.save(tmp_path / "file")
    assert piste.Trainer.load(tmp_path / "file").optimizer.groups == [{"params": ["0"], "lr": 0.0}]


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        ({"params": "01", "lr": 0}, TypeError, "expected 'params' to be a list of names"),
        ({"params": ["1"], "betas": (0, 0)}, ValueError, "expected 'params' and hyperparameters"),
        ({"lr": 0}, ValueError, "expected 'params' and hyperparameters"),
        ({"params": ["1"], "lr": np.ones(2)}, TypeError, "lr: expected a number"),
    ],
)
def test_bad_groups_put_into_the_list_are_refused(group, error, message):
    optimizer = SGD(0.1)
    trainer = piste.Trainer(
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), nn.MSELoss(), optimizer
    )
    optimizer.groups.append(group)
    with pytest.raises(error, match=message):
        trainer.step(np.ones((4, 2)), np.ones((4, 1)))
    assert trainer.steps == 0
