"""First layers, whose input has no gradient in training: other code than by hand runs there."""

import numpy as np
import piste
import pytest
from hypothesis import given
from hypothesis import strategies as st
from piste import nn
from piste.optim import SGD
from reference.threads import check_same_bits
from tolerances import DIRECT

KINDS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def check_first_layer(layer, x, relu):
    """A step's loss and gradients, and predictions, against those by hand."""
    model = nn.Sequential(layer, *[nn.ReLU()] * relu, nn.Flatten())
    y = model.train().forward(x)
    target = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
    loss = nn.MSELoss()
    value = loss.forward(y, target)
    model.backward(loss.backward())
    by_hand = {name: gradient.copy() for name, gradient in model.gradients().items()}
    tolerance = DIRECT[x.dtype]
    trainer = piste.Trainer(model, loss, SGD(lr=0.0))
    tolerance.check(trainer.step(x, target), value)
    for name, gradient in model.gradients().items():
        # A weight that reads the border alone, or meets one pixel, has little to add up.
        tolerance.check(gradient, by_hand[name], scale=0.1 / np.sqrt(y.size))
    tolerance.check(trainer.predict(x), y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=str)
@pytest.mark.parametrize("filters", range(1, 10))
@pytest.mark.parametrize("channels", range(1, 5))
def test_few_filters(channels, filters, dtype):
    nn.manual_seed(0)
    layer = nn.Conv2d(channels, filters, 5, padding=2, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((11, channels, 19, 21)).astype(dtype)
    check_first_layer(layer, x, relu=True)


@given(st.data())
def test_any_first_convolution(data):
    axes = data.draw(st.integers(1, 3), "axes")

    def sizes(low, high, name):
        return tuple(data.draw(st.integers(low, high), name) for _ in range(axes))

    kernel, stride = sizes(1, 5, "kernel"), sizes(1, 3, "stride")
    dilation, padding = sizes(1, 3, "dilation"), sizes(0, 3, "padding")
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    least = [max(span - 2 * p, 1) for span, p in zip(spans, padding, strict=True)]
    most = (70, 25, 13)[axes - 1]
    extents = [data.draw(st.integers(low, most), "extent") for low in least]
    channels, filters = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]), "dtype")
    nn.manual_seed(data.draw(st.integers(0, 99), "seed"))
    layer = KINDS[axes](
        channels, filters, kernel, stride, padding, dilation, bias=data.draw(st.booleans(), "bias"),
        dtype=dtype,
    )  # fmt: skip
    shape = (data.draw(st.integers(1, 20), "samples"), channels, *extents)
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    check_first_layer(layer, x, relu=data.draw(st.booleans(), "relu"))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_refused_and_predicted(value):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(300, 2))
    model[0].weight[...] = np.abs(model[0].weight) + 0.1
    x = np.random.default_rng(0).standard_normal((4, 1, 10, 10)).astype(np.float32)
    first = nn.Sequential(model[0], nn.ReLU())
    before = model.state_dict()
    x[2, 0, 9, 9] = value
    y = first(x)
    np.testing.assert_array_equal(y, first.forward(x))
    touched = np.isnan(y) | np.isinf(y)
    assert touched[2, :, 8:, 8:].all() or value == -np.inf
    assert touched.sum() == (0 if value == -np.inf else 3 * 4)
    trainer = piste.Trainer(model, nn.MSELoss(), SGD(lr=0.1))
    with pytest.raises((ValueError, piste.DivergenceError)):
        trainer.step(x, np.zeros((4, 2), np.float32))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_same_bits_on_any_number_of_threads():
    x = np.random.default_rng(0).standard_normal((130, 2, 17, 23)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 3, 130)

    def compute():
        nn.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(440, 3),
        )  # fmt: skip
        trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.1, 0.9))
        losses = [trainer.step(x, y) for _ in range(3)]
        return [np.array(losses), *model.parameters(), trainer.predict(x)]

    check_same_bits(compute)
