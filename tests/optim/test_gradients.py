"""Clipped and accumulated gradients."""

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD, Adam, clip_grad_norm_, clip_grad_value_
from reference.training import IMAGES, LABELS, X, Y, everything, follow, linear, network, same


def clip_value(bound):
    return lambda g: [np.clip(a, -bound, bound) for a in g]


def clip_norm(bound):
    def clip(g):
        norm = np.sqrt(sum((a**2).sum() for a in g))
        return [a * min(1, bound / (norm + 1e-6)) for a in g]

    return clip


@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9), Adam(0.01)], ids=repr)
@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"clip_grad_value": 0.02}, clip_value(0.02)),
        ({"clip_grad_norm": 0.3}, clip_norm(0.3)),
        ({"clip_grad_norm": 1e9}, lambda g: g),
        ({"clip_grad_norm": 0.1, "clip_grad_value": 0.02},
         lambda g: clip_norm(0.1)(clip_value(0.02)(g))),
    ],
)  # fmt: skip
def test_clipping(optimizer, options, change):
    model = linear()
    trainer = piste.Trainer(model, nn.MSELoss(), optimizer, **options)
    for i, (weight, bias) in enumerate(follow(optimizer, 30, change)):
        trainer.step(X[i], Y[i])
        np.testing.assert_allclose(model[0].weight, weight, rtol=0, atol=1e-12)
        np.testing.assert_allclose(model[0].bias, bias, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e25, 1e30])
def test_a_norm_whose_squares_overflow(scale):
    model = nn.Sequential(nn.Linear(2, 1, bias=False))
    model[0].weight[...] = 0
    trainer = piste.Trainer(model, nn.L1Loss(), SGD(1.0), clip_grad_norm=5.0)
    trainer.step(np.array([[3, -4]], np.float32) * np.float32(scale), np.ones((1, 1)))
    np.testing.assert_allclose(model[0].weight, [[3, -4]], rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_clipping_does_not_hide_what_is_not_finite(value):
    trainer = piste.Trainer(network(), nn.CrossEntropyLoss(), SGD(0.1), clip_grad_value=1.0)
    trainer.model[8].weight[0, 0] = value
    before = everything(trainer)
    with pytest.raises(piste.DivergenceError):
        trainer.step(IMAGES, LABELS)
    same(everything(trainer), before)


def smooth_network():
    nn.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, dtype=np.float64), nn.Tanh(), nn.Flatten(),
        nn.Linear(144, 10, dtype=np.float64),
    )  # fmt: skip


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.CrossEntropyLoss(weight=np.linspace(0.1, 3, 10), ignore_index=3),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_batches_are_one_batch(loss, weighted):
    weight = np.linspace(0, 2, 90) if weighted else None
    one = piste.Trainer(smooth_network(), loss, SGD(0.001, 0.9))
    many = piste.Trainer(smooth_network(), loss, SGD(0.001, 0.9), accumulation_steps=4)
    options = {"epochs": 3, "shuffle": False, "sample_weight": weight}
    one.fit(IMAGES, LABELS, batch_size=28, **options)  # 28, 28, 28, 6
    many.fit(IMAGES, LABELS, batch_size=7, **options)  # 4 x 7, 4 x 7, 4 x 7, 6
    assert many._state.updates == one._state.updates == 12
    assert many.steps == 3 * 13
    for name, array in one.model.state_dict().items():
        np.testing.assert_allclose(many.model.state_dict()[name], array, rtol=0, atol=1e-12)


def test_steps_by_hand_wait_for_the_last():
    trainer = piste.Trainer(network(), nn.CrossEntropyLoss(), SGD(0.1), accumulation_steps=3)
    for step in range(1, 8):
        before = trainer.model.parameters()[0].copy()
        trainer.step(IMAGES, LABELS)
        assert np.array_equal(before, trainer.model.parameters()[0]) == (step % 3 != 0)
    assert trainer.steps == 7
    assert trainer._state.counters[:2] == (2, 1)


def test_all_ignored_batches_give_no_gradient():
    loss = nn.CrossEntropyLoss(ignore_index=0)
    trainer = piste.Trainer(smooth_network(), loss, SGD(0.1), accumulation_steps=2)
    before = trainer.model.state_dict()
    for _ in range(2):
        assert trainer.step(IMAGES, np.zeros(90, int)) == 0
    same(trainer.model.state_dict(), before)


def test_divergence_takes_back_all_steps_since_the_update():
    x = np.random.default_rng(0).standard_normal((40, 1, 8, 8)).astype(np.float32)
    y = np.ones((40, 10), np.float32)
    make = lambda: piste.Trainer(  # noqa: E731
        network(), nn.LeastSquaresLoss(), SGD(1e6, 0.9), accumulation_steps=3
    )
    trainer, twin = make(), make()

    def train():
        for _ in range(1000):
            trainer.step(x, y)

    with pytest.raises(piste.DivergenceError) as caught:
        train()
    assert caught.value.step == trainer.steps
    for _ in range(trainer.steps):
        twin.step(x, y)
    same(trainer.model.state_dict(), twin.model.state_dict())
    assert trainer._state.counters == twin._state.counters


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1, 2.0, 3, np.inf])
@pytest.mark.parametrize("bound", [0.0, 0.5, 1e9])
def test_the_norm_by_hand(dtype, p, bound):
    rng = np.random.default_rng(0)
    whole = rng.standard_normal(60).astype(dtype)
    before = whole.copy()
    grads = [whole[:20].reshape(4, 5), whole[20:41:2], np.empty((0, 3), dtype)]
    own = np.concatenate([before[:20], before[20:41:2]]).astype(float)
    norm = np.linalg.norm(own, p)
    assert clip_grad_norm_(grads, bound, p) == pytest.approx(norm, rel=1e-6)
    factor = min(1, bound / (norm + 1e-6))
    np.testing.assert_allclose(whole[:20], before[:20] * factor, rtol=1e-6)
    np.testing.assert_allclose(whole[20:41:2], before[20:41:2] * factor, rtol=1e-6)
    np.testing.assert_array_equal(whole[21:41:2], before[21:41:2])


def test_a_norm_that_would_overflow_and_one_that_is_not_finite():
    grads = {"a": np.array([3e30, -4e30], np.float32)}
    assert clip_grad_norm_(grads, 5.0) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(grads["a"], [3, -4], rtol=1e-6)
    for value in (np.nan, np.inf):
        broken = [np.ones(2), np.array([1.0, value]), np.ones(2)]
        assert not np.isfinite(clip_grad_norm_(broken, 1.0))
        with pytest.raises(ValueError, match="grads: expected a finite norm, got nan"):
            clip_grad_norm_([np.array([np.nan])], 1.0, error_if_nonfinite=True)
    assert clip_grad_norm_([], 1.0) == clip_grad_norm_([np.zeros(3)], 1.0) == 0


def test_values_by_hand():
    x = np.array([-3.0, 0.5, np.nan, 2.0])
    clip_grad_value_(x, 1.0)
    np.testing.assert_array_equal(x, [-1, 0.5, np.nan, 1])
    model = linear()
    model.forward(X[0])
    model.backward(np.ones((12, 3)))
    clip_grad_value_(model.gradients(), 0.25)
    assert all(abs(g).max() <= 0.25 for g in model.gradients().values())


def read_only():
    array = np.ones(3)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: clip_grad_value_(3, 1), TypeError, "grads: expected arrays, got int 3"),
        (lambda: clip_grad_value_([3], 1), TypeError, r"grads\[0\]: expected an array of floats"),
        (lambda: clip_grad_value_([np.ones(3, int)], 1), TypeError, r"grads\[0\]: expected an arr"),
        (lambda: clip_grad_value_([read_only()], 1), ValueError, r"grads\[0\]: the array is read-"),
        (lambda: clip_grad_value_([], -1), ValueError, "clip_value: expected a finite number of"),
        (lambda: clip_grad_norm_([], -1), ValueError, "max_norm: expected a finite number of at"),
        (lambda: clip_grad_norm_([], 1, 0), ValueError, "norm_type: expected a number above 0"),
    ],
)
def test_errors_of_clipping_by_hand(call, error, message):
    with pytest.raises(error, match=message):
        call()
