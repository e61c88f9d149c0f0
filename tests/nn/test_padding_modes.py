"""Convolutions of inputs that are continued by other values than zeros."""

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD
from reference import conv as reference
from reference.threads import check_same_bits
from tolerances import DIRECT

PADDED = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""What NumPy calls them."""
SHAPES = {1: (3, 4, 9), 2: (3, 4, 6, 7), 3: (2, 4, 5, 3, 4)}


def padded(x, pads, mode):
    return np.pad(x, [(0, 0), (0, 0), *pads], PADDED[mode])


def added_up(grad, pads, mode, shape):
    """The transpose of `padded`: what each value of an input of `shape` was copied to."""
    places = padded(np.arange(np.prod(shape)).reshape(shape), pads, mode)
    return np.bincount(places.ravel(), grad.ravel(), np.prod(shape)).reshape(shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", PADDED)
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride", "pads"), [(3, 1, 1), (2, 2, (2, 1)), (1, 1, (0, 2))])
@pytest.mark.parametrize("first", [True, False])  # the images lie dense, what comes later does not
def test_against_the_reference(dtype, mode, axes, kernel, stride, pads, first):
    rng = np.random.default_rng(axes)
    sides = [(pads, pads) if isinstance(pads, int) else pads] * axes
    conv = getattr(nn, f"Conv{axes}d")(
        4, 6, kernel, stride, sides, groups=2, padding_mode=mode, dtype=dtype
    )
    model = nn.Sequential(conv) if first else nn.Sequential(nn.LeakyReLU(1.0), conv, nn.ReLU())
    x = rng.standard_normal(SHAPES[axes]).astype(dtype)
    arrays = padded(x.astype(float), sides, mode), conv.weight.astype(float), conv.bias
    options = (stride,) * axes, [(0, 0)] * axes, (1,) * axes, 2
    expected = reference.conv(*arrays, *options)
    y = model.forward(x)
    tolerance = DIRECT[np.dtype(dtype)]
    tolerance.check(y, expected if first else np.maximum(expected, 0))
    tolerance.check(model(x), y)
    grad = rng.standard_normal(y.shape).astype(dtype)
    dx, dw, db = reference.conv(*arrays, *options, grad_output=grad * ((y > 0) | first))
    tolerance.check(model.backward(grad), added_up(dx, sides, mode, x.shape))
    weight, bias = model.gradients().values()
    scale = (y.size / 6) ** 0.5
    tolerance.check(weight, dw, scale)
    tolerance.check(bias, db, scale)


@pytest.mark.parametrize("mode", PADDED)
def test_same_padding(mode):
    x = np.random.default_rng(0).standard_normal((2, 1, 7, 8))
    layer = nn.Conv2d(1, 2, (4, 3), padding="same", padding_mode=mode, dtype=float)
    expected = reference.conv(
        padded(x, [(1, 2), (1, 1)], mode), layer.weight, layer.bias, (1, 1), [(0, 0)] * 2, (1, 1), 1
    )
    DIRECT[np.dtype(float)].check(layer(x), expected)


@pytest.mark.parametrize("mode", PADDED)
def test_nothing_to_pad_is_the_same_layer(mode):
    nn.manual_seed(0)
    plain = nn.Conv2d(3, 4, 3)
    nn.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, padding_mode=mode)
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(layer(x), plain(x))
    steps = piste.Trainer(layer, nn.MSELoss(), SGD(0.1)).plan(x.shape).steps
    assert not any(step.kernel == "pad" for step in steps)


def test_the_largest_padding():
    x = np.arange(4.0).reshape(1, 1, 4)
    for mode, pad in (("reflect", 3), ("circular", 4), ("replicate", 9)):
        layer = nn.Conv1d(1, 1, 1, padding=pad, padding_mode=mode, bias=False, dtype=float)
        layer.weight = [[[1.0]]]
        np.testing.assert_array_equal(layer(x), padded(x, [(pad, pad)], mode))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("mode", PADDED)
def test_what_is_not_finite_is_copied_too(mode, value):
    x = np.ones((1, 5, 3, 3), np.float32)
    x[0, 2, 1, 0] = value
    layer = nn.Conv2d(5, 5, 1, padding=2, groups=5, padding_mode=mode, bias=False)
    layer.weight = np.ones(layer.weight.shape)
    np.testing.assert_array_equal(layer(x), padded(x, [(2, 2)] * 2, mode))


def trained(mode, dtype=np.float32):
    nn.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1, padding_mode=mode, dtype=dtype), nn.ReLU(),
        nn.Conv2d(5, 4, 3, padding=2, padding_mode=mode, dtype=dtype), nn.Flatten(),
        nn.Linear(4 * 64, 3, dtype=dtype),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((37, 3, 6, 6)), rng.integers(0, 3, 37)
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.05, 0.9))
    history = trainer.fit(x, y, epochs=3, batch_size=16)
    return [*model.parameters(), np.array(history.loss)]


@pytest.mark.parametrize("mode", PADDED)
def test_training_takes_the_steps_of_a_loop_by_hand(mode):
    *parameters, losses = trained(mode, float)
    assert losses[-1] < losses[0]
    nn.manual_seed(0)
    layers = [
        nn.Conv2d(3, 5, 3, dtype=float), nn.ReLU(), nn.Conv2d(5, 4, 3, dtype=float),
        nn.Flatten(), nn.Linear(4 * 64, 3, dtype=float),
    ]  # fmt: skip
    first, second = nn.Sequential(*layers[:2]), nn.Sequential(*layers[2:])
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((37, 3, 6, 6)), rng.integers(0, 3, 37)
    shuffling = np.random.Generator(np.random.PCG64(0))
    loss, velocity = nn.CrossEntropyLoss(), [0.0] * 6
    for _ in range(3):
        order = shuffling.permutation(37)
        for batch in (order[:16], order[16:32], order[32:]):
            hidden = first.forward(padded(x[batch], [(1, 1)] * 2, mode))
            sides = [(2, 2)] * 2
            loss.forward(second.forward(padded(hidden, sides, mode)), y[batch])
            grad = second.backward(loss.backward())
            first.backward(added_up(grad, sides, mode, hidden.shape))
            gradients = [*first.gradients().values(), *second.gradients().values()]
            arrays = [*first.parameters(), *second.parameters()]
            for i, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
                velocity[i] = 0.9 * velocity[i] + gradient
                array -= 0.05 * velocity[i]
    for got, expected in zip(parameters, arrays, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", PADDED)
def test_same_bits(mode):
    check_same_bits(lambda: trained(mode), (1, 2, 3, 8))


def test_the_mode_is_saved(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"))
    trainer = piste.Trainer(model, nn.MSELoss(), SGD(0.1))
    trainer.save(tmp_path / "t")
    again = piste.Trainer.load(tmp_path / "t")
    assert repr(again.model) == repr(model)
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(x), trainer.predict(x))


def test_summary_counts_the_layer_once():
    rows = nn.summary(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 8, 8)).rows
    assert [(row.output_shape, row.parameters) for row in rows] == [((4, 8, 8), 112)]
