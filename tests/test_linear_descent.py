"""Stochastic descent on linear models: one call an epoch, whatever the data and the options."""

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD

RNG = np.random.default_rng(0)


def trainer_for(features, outputs, dtype, optimizer, loss=None, bias=True):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, outputs, bias=bias, dtype=dtype))
    return piste.Trainer(model, loss or nn.CrossEntropyLoss(), optimizer)


def textbook(x, y, weight, bias, lr, decay=0.0, sign=-1.0):
    """Softmax regression, one sample after the other, in float64; mean loss and correct labels."""
    weight, bias = weight.astype(np.float64), bias.astype(np.float64)
    losses, correct = [], 0
    for row, label in zip(x.astype(np.float64), y, strict=True):
        z = weight @ row + bias
        p = np.exp(z - z.max())
        p /= p.sum()
        losses.append(-np.log(p[label]))
        correct += z.argmax() == label
        p[label] -= 1
        weight = weight + lr * (sign * np.outer(p, row) - decay * weight)
        bias = bias + lr * (sign * p - decay * bias)
    return weight, bias, np.mean(losses), correct / len(y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("features", [1, 3, 8, 21, 64])
@pytest.mark.parametrize("outputs", [2, 5, 11])
def test_an_epoch_is_the_textbook_epoch(features, outputs, dtype):
    n = 601  # more than are kept at a time
    x = RNG.standard_normal((n, features)).astype(dtype)
    y = RNG.integers(0, outputs, n)
    trainer = trainer_for(features, outputs, dtype, SGD(0.05, weight_decay=1e-3))
    weight, bias = trainer.model[1].weight.copy(), trainer.model[1].bias.copy()
    history = trainer.fit(x, y, epochs=1, batch_size=1, shuffle=False)
    weight, bias, loss, accuracy = textbook(x, y, weight, bias, 0.05, 1e-3)
    tolerance = 2e-4 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(trainer.model[1].weight, weight, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(trainer.model[1].bias, bias, rtol=tolerance, atol=tolerance)
    assert history.loss[0] == pytest.approx(loss, rel=tolerance)
    assert history.accuracy[0] == pytest.approx(accuracy, abs=2 / n)
    assert trainer.steps == n


def test_ascent():
    x, y = RNG.standard_normal((40, 6)), RNG.integers(0, 3, 40)
    trainer = trainer_for(6, 3, np.float64, SGD(0.05, maximize=True))
    weight, bias = trainer.model[1].weight.copy(), trainer.model[1].bias.copy()
    trainer.fit(x, y, batch_size=1, shuffle=False)
    expected = textbook(x, y, weight, bias, 0.05, sign=1.0)
    np.testing.assert_allclose(trainer.model[1].weight, expected[0], rtol=1e-11)


LOSSES = {
    "mse": (nn.MSELoss(), False),
    "l1": (nn.L1Loss(), False),
    "logits": (nn.BCEWithLogitsLoss(), False),
    "smoothing": (nn.CrossEntropyLoss(label_smoothing=0.2), True),
    "weights": (nn.CrossEntropyLoss(weight=[1.0, 2.0, 0.5]), True),
    "sum": (nn.CrossEntropyLoss(reduction="sum"), True),
    "ignored": (nn.CrossEntropyLoss(ignore_index=1), True),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_same_as_plans_take(loss, bias):
    """A ReLU that passes everything sends the same problem through plans."""
    loss, labels = LOSSES[loss]
    x = RNG.standard_normal((90, 2, 3, 2))
    y = RNG.integers(0, 3, 90) if labels else RNG.random((90, 3))
    factors = RNG.random(90)
    optimizer = SGD(0.02, weight_decay=0.01, groups=[{"params": ["1.weight"], "lr": 0.03}])
    fused = trainer_for(12, 3, np.float64, optimizer, loss, bias)
    nn.manual_seed(0)
    layers = (nn.Flatten(), nn.Linear(12, 3, bias=bias, dtype=np.float64), nn.LeakyReLU(1.0))
    plans = piste.Trainer(nn.Sequential(*layers), loss, optimizer)
    results = [t.fit(x, y, epochs=2, batch_size=1, sample_weight=factors) for t in (fused, plans)]
    np.testing.assert_allclose(results[0].loss, results[1].loss, rtol=1e-10)
    np.testing.assert_equal(results[0].accuracy, results[1].accuracy)
    for name, array in plans.model.state_dict().items():
        np.testing.assert_allclose(fused.model.state_dict()[name], array, rtol=1e-9, atol=1e-12)
    for name, array in plans.model.gradients().items():
        np.testing.assert_allclose(fused.model.gradients()[name], array, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_do_not_tell_threads_or_where_calls_were_cut(dtype, monkeypatch):
    x = RNG.integers(0, 256, (300, 9, 5), dtype=np.uint8)
    y = RNG.integers(0, 10, 300)
    states = []
    before = piste.get_num_threads()
    try:
        for threads in (1, 2, 5):
            piste.set_num_threads(threads)
            trainer = trainer_for(45, 10, dtype, SGD(0.1))
            trainer.fit(x, y, epochs=2, batch_size=1)
            states.append(trainer)
    finally:
        piste.set_num_threads(before)
    by_steps = trainer_for(45, 10, dtype, SGD(0.1))
    for _ in range(2):
        for i in by_steps._rng.permutation(300):
            by_steps.step(x[i : i + 1], y[i : i + 1])
    monkeypatch.setattr("piste._sweep._SLICE_SECONDS", 0.0)
    swept = piste.sweep(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(45, 10, dtype=dtype)), nn.CrossEntropyLoss(),
        x, y, optimizers=[SGD(0.1)] * 3, epochs=2, batch_size=1,
    )  # fmt: skip
    states += [by_steps, *swept.trainers]
    for trainer in states[1:]:
        assert trainer.steps == 600
        for name, array in states[0].model.state_dict().items():
            np.testing.assert_array_equal(trainer.model.state_dict()[name], array)


@pytest.mark.parametrize("lr", [1.0, 1e8, 1e300])
@pytest.mark.parametrize("n", [20, 600])
def test_divergence_ends_where_plans_end(lr, n):
    x, y = RNG.standard_normal((n, 7)), np.ones((n, 1))
    fused = trainer_for(7, 1, np.float64, SGD(lr), nn.LeastSquaresLoss())
    nn.manual_seed(0)
    layers = (nn.Flatten(), nn.Linear(7, 1, dtype=np.float64), nn.LeakyReLU(1.0))
    plans = piste.Trainer(nn.Sequential(*layers), nn.LeastSquaresLoss(), SGD(lr))
    for trainer, layer in ((fused, "1"), (plans, "2")):
        with pytest.raises(piste.DivergenceError, match=f"non-finite layer '{layer}'") as caught:
            trainer.fit(x, y, epochs=20, batch_size=1)
        assert caught.value.lr == lr
        assert caught.value.step == trainer.steps
        assert all(np.isfinite(array).all() for array in trainer.model.parameters())
    assert fused.steps == plans.steps
    np.testing.assert_allclose(fused.model[1].weight, plans.model[1].weight, rtol=1e-6)


@pytest.mark.parametrize("at", [0, 1, 2, 255, 256, 257, 599])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_data_that_are_not_finite_are_named(at, value):
    x, y = RNG.standard_normal((600, 7)), RNG.integers(0, 3, 600)
    clean = trainer_for(7, 3, np.float64, SGD(0.1))
    if at:
        clean.fit(x[:at], y[:at], batch_size=1, shuffle=False)
    x[at, 2] = value
    trainer = trainer_for(7, 3, np.float64, SGD(0.1))
    with pytest.raises(ValueError, match=f"x: sample {at} holds NaN or infinity"):
        trainer.fit(x, y, batch_size=1, shuffle=False)
    assert trainer.steps == at
    for name, array in clean.model.state_dict().items():
        np.testing.assert_allclose(trainer.model.state_dict()[name], array, rtol=1e-9)


def test_momentum_goes_through_plans():
    x, y = RNG.standard_normal((50, 6)), RNG.integers(0, 3, 50)
    heavy, light = (trainer_for(6, 3, np.float64, SGD(0.05, m)) for m in (0.9, 0.0))
    for trainer in (heavy, light):
        trainer.fit(x, y, batch_size=1)
    assert not np.allclose(heavy.model[1].weight, light.model[1].weight)
