"""Statistics that batch norm and instance norm gather in training and use in evaluation."""

import numpy as np
import piste
import pytest
from piste import functional as F
from piste import nn
from piste.optim import SGD
from reference import norm as reference
from reference.threads import check_same_bits
from tolerances import CENTRAL_DIFFERENCE, DIRECT

D = np.float64
SHAPES = {1: (13, 5, 6), 2: (13, 5, 4, 3), 3: (13, 5, 2, 3, 2)}
RNG = np.random.default_rng(0)


def batches(shape, n=4):
    return [RNG.standard_normal(shape) * (i + 1) + i for i in range(n)]


def over(shape):
    """All axes but the channels', and the shape that broadcasts to the input's."""
    return (0, *range(2, len(shape))), (-1, *[1] * (len(shape) - 2))


def by_running(layer, x):
    """What evaluation makes of x."""
    columns = over(x.shape)[1]
    mean, var = layer.running_mean.reshape(columns), layer.running_var.reshape(columns)
    z = (x - mean) / np.sqrt(var + layer.eps)
    if layer.weight is None:
        return z
    return z * layer.weight.reshape(columns) + layer.bias.reshape(columns)


@pytest.mark.parametrize("shape", [(13, 5), *SHAPES.values()])
def test_batch_norm_without_momentum_takes_the_mean_over_all_batches(shape):
    layer = getattr(nn, f"BatchNorm{max(len(shape) - 2, 1)}d")(5, momentum=None, dtype=D)
    axes, _ = over(shape)
    seen = []
    for count, x in enumerate(batches(shape), 1):
        seen.append((x.mean(axis=axes), x.var(axis=axes, ddof=1)))
        layer.forward(x)
        mean, var = np.mean(seen, axis=0)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-12)
        assert layer.num_batches_tracked == count
        assert layer.num_batches_tracked.dtype == np.int64
    np.testing.assert_allclose(layer(x), by_running(layer, x), rtol=1e-10)


def test_the_mean_goes_on_from_the_number_in_the_state_dict():
    layer = nn.BatchNorm2d(3, momentum=None, dtype=D)
    state = layer.state_dict()
    state["running_mean"], state["num_batches_tracked"] = np.full(3, 8.0), np.array(3)
    layer.load_state_dict(state)
    x = RNG.standard_normal((4, 3, 5, 5))
    layer.forward(x)
    np.testing.assert_allclose(layer.running_mean, (3 * 8 + x.mean(axis=(0, 2, 3))) / 4)
    assert layer.num_batches_tracked == 4


def test_evaluation_and_predictions_are_not_counted():
    layer = nn.BatchNorm2d(5, momentum=None, dtype=D).eval()
    x = batches(SHAPES[2])[0]
    layer(x)
    layer.forward(x)
    assert layer.num_batches_tracked == 0
    np.testing.assert_array_equal(layer.running_mean, 0)


@pytest.mark.parametrize("momentum", [None, 0.3])
def test_a_trainer_counts_its_steps(momentum, tmp_path):
    model = nn.Sequential(nn.BatchNorm1d(4, momentum=momentum, dtype=D), nn.Linear(4, 2, dtype=D))
    x, y = RNG.standard_normal((20, 4)), RNG.standard_normal((20, 2))
    trainer = piste.Trainer(model, nn.MSELoss(), SGD(0.01), accumulation_steps=2)
    trainer.fit(x, y, epochs=3, batch_size=5, shuffle=False)
    assert model[0].num_batches_tracked == 12 == trainer.steps
    if momentum is None:
        means = x.reshape(4, 5, 4).mean(axis=1)
        np.testing.assert_allclose(model[0].running_mean, means.mean(axis=0))
    trainer.save(tmp_path / "t")
    again = piste.Trainer.load(tmp_path / "t")
    assert again.model[0].momentum == momentum
    for one in (trainer, again):
        one.step(x, y)
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(again.model.state_dict()[name], array, err_msg=name)


def make_diverging(norm):
    nn.manual_seed(0)
    model = nn.Sequential(norm, nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(18, 1))
    return piste.Trainer(model, nn.LeastSquaresLoss(), SGD(1e20))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm2d(2, momentum=None),
        lambda: nn.InstanceNorm2d(2, track_running_stats=True),
    ],
)
def test_steps_that_are_taken_back_leave_no_trace(make):
    trainer, twin = make_diverging(make()), make_diverging(make())
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 2, 3, 3)), np.ones((8, 1))
    with pytest.raises(piste.DivergenceError):
        trainer.fit(x, y, epochs=100, batch_size="full", shuffle=False)
    for _ in range(trainer.steps):
        twin.step(x, y)
    for name, array in twin.model.state_dict().items():
        np.testing.assert_array_equal(trainer.model.state_dict()[name], array, err_msg=name)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 0.6, None])
def test_instance_norm_gathers_the_mean_over_samples(axes, affine, momentum):
    shape = SHAPES[axes]
    layer = getattr(nn, f"InstanceNorm{axes}d")(
        5, momentum=momentum, affine=affine, track_running_stats=True, dtype=D
    )
    if affine:
        layer.weight, layer.bias = RNG.standard_normal((2, 5))
    share, inner = momentum or 0.0, tuple(range(2, len(shape)))
    mean, var = np.zeros(5), np.ones(5)
    for x in batches(shape):
        y = layer.forward(x)
        mean = (1 - share) * mean + share * x.mean(axis=inner).mean(axis=0)
        var = (1 - share) * var + share * x.var(axis=inner, ddof=1).mean(axis=0)
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-10)
        expected = reference.group_norm(x, 5, layer.weight, layer.bias)
        DIRECT[np.dtype(D)].check(y, expected)
    assert layer.num_batches_tracked == 0  # as in PyTorch
    expected = by_running(layer, x)
    DIRECT[np.dtype(D)].check(layer(x), expected)
    DIRECT[np.dtype(D)].check(layer.eval().forward(x), expected)
    grad = RNG.standard_normal(shape)
    dx, dw, db = F.instance_norm_backward(
        grad, x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False
    )
    CENTRAL_DIFFERENCE.check(layer.backward(grad), dx)
    for got, wanted in zip(layer.gradients().values(), (dw, db), strict=affine):
        CENTRAL_DIFFERENCE.check(got, wanted)


def test_instance_norm_has_pytorchs_keys():
    layer = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    assert list(layer.state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked",
    ]  # fmt: skip
    assert list(nn.InstanceNorm2d(3).state_dict()) == []


@pytest.mark.parametrize("dtype", [np.float32, D])
def test_a_trainer_gathers_what_steps_by_hand_gather(dtype):
    def make():
        nn.manual_seed(3)
        norm = nn.InstanceNorm2d(9, affine=True, track_running_stats=True, dtype=dtype)
        return nn.Sequential(nn.Conv2d(2, 9, 3, dtype=dtype), norm, nn.Tanh(), nn.Flatten())

    x, y = RNG.standard_normal((21, 2, 6, 5)), RNG.standard_normal((21, 108))
    trainer, model = piste.Trainer(make(), nn.MSELoss(), SGD(0.1)), make()
    loss = nn.MSELoss()
    for _ in range(3):
        trainer.step(x, y)
        loss.forward(model.forward(x), y)
        model.backward(loss.backward())
        for array, gradient in zip(model.parameters(), model.gradients().values(), strict=True):
            array -= 0.1 * gradient
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    for name, array in model.state_dict().items():
        got = trainer.model.state_dict()[name]
        np.testing.assert_allclose(got, array, rtol=tolerance, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(trainer.predict(x), model(x), rtol=tolerance, atol=tolerance)


def test_single_values_have_statistics_in_evaluation_alone():
    layer = nn.InstanceNorm1d(3, track_running_stats=True)
    layer.running_mean, layer.running_var = [1, 2, 3], [4, 9, 16]
    x = np.float32([[[2], [2], [2]]])
    expected = np.float32([[[0.5], [0], [-0.25]]])
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(layer.eval().forward(x), expected, rtol=1e-4, atol=1e-7)
    message = "instance norm expects more than 1 value per channel in training"
    with pytest.raises(ValueError, match=message):
        layer.train().forward(x)
    with pytest.raises(ValueError, match=message):
        piste.Trainer(layer, nn.MSELoss(), SGD(0.1)).step(x, x)
    np.testing.assert_array_equal(layer.running_mean, [1, 2, 3])


def test_averages_hold_them():
    layer = nn.InstanceNorm1d(3, affine=True, track_running_stats=True, dtype=D)
    trainer = piste.Trainer(layer, nn.MSELoss(), SGD(0.1), average=piste.optim.EMA(0.5))
    x = RNG.standard_normal((6, 3, 8))
    trainer.step(x, x)
    first = layer.running_mean.copy()
    trainer.step(x, x)
    second = layer.running_mean.copy()
    with trainer.averaged_weights():
        np.testing.assert_allclose(layer.running_mean, (first + second) / 2)
    np.testing.assert_array_equal(layer.running_mean, second)


def test_same_bits():
    x, y = RNG.standard_normal((53, 2, 6, 5)), RNG.standard_normal((53, 108))

    def train():
        nn.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 9, 3),
            nn.InstanceNorm2d(9, affine=True, track_running_stats=True),
            nn.BatchNorm2d(9, momentum=None), nn.Flatten(),
        )  # fmt: skip
        trainer = piste.Trainer(model, nn.MSELoss(), SGD(0.1))
        trainer.fit(x, y, epochs=2, batch_size=17)
        return [*model.state_dict().values(), trainer.predict(x)]

    check_same_bits(train)
