"""The networks by name train end to end, on problems that small ones of them learn."""

import numpy as np
import piste
import pytest
from piste import data, models, nn
from piste.optim import SGD


def trained(make, x, y, classes, epochs, lr=0.05):
    nn.manual_seed(0)
    shape = x.shape[1:] if x.ndim > 3 or x.dtype != np.uint8 else (1, *x.shape[1:])
    model = make(shape, classes)
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(lr, momentum=0.9), seed=0)
    trainer.fit(x, y, epochs=epochs, batch_size=32, progress=False)
    return model


def accuracy(model, x, y):
    return (model(x).argmax(axis=1) == y).mean()


@pytest.mark.parametrize(
    ("make", "width", "epochs"),
    [(models.resnet20, 6, 4), (models.vgg, 8, 8), (models.mobilenet, 8, 5)],
)
def test_image_networks_learn_digits(make, width, epochs):
    digits = data.load_digits()
    model = trained(
        lambda shape, classes: make(shape, classes, width),
        digits.x_train[:800], digits.y_train[:800], 10, epochs, 0.1,
    )  # fmt: skip
    assert accuracy(model, digits.x_test, digits.y_test) > 0.8


def test_a_network_for_series_tells_frequencies_apart():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    time, phase = np.arange(48), rng.uniform(0, 6.3, (240, 1))
    wave = np.sin(2 * np.pi * time * (1 + y[:, None]) / 16 + phase)
    x = (wave + 0.3 * rng.standard_normal(wave.shape)).astype(np.float32)[:, None]
    model = trained(models.series_cnn, x[:160], y[:160], 3, 8)
    assert accuracy(model, x[160:], y[160:]) > 0.9


def test_a_network_for_volumes_tells_directions_apart():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 250)
    x = 0.3 * rng.standard_normal((250, 1, 6, 6, 6)).astype(np.float32)
    for sample, axis in zip(x, y, strict=True):
        place = [int(i) for i in rng.integers(0, 6, 3)]
        sample[(0, *(slice(None) if i == axis else place[i] for i in range(3)))] += 2
    model = trained(models.volume_cnn, x[:200], y[:200], 3, 15, 0.1)
    assert accuracy(model, x[200:], y[200:]) > 0.9


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_takes_small_and_oblong_images(name):
    for shape in ((1, 12, 12), (3, 12, 17)):
        model = models.MODELS[name](shape, 5)
        assert model(np.zeros((2, *shape), np.float32)).shape == (2, 5)
