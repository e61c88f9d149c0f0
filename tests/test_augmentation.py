"""Images changed as they are gathered: where, how, and that nothing else shows."""

import copy
import pickle

import numpy as np
import piste
import pytest
from piste import nn
from piste.data import Augment
from piste.optim import SGD
from reference.training import IMAGES, LABELS, everything, network, same, same_on_any_threads

RNG = np.random.default_rng(3)
SHAPES = [(1, 5, 7), (3, 8, 8), (4, 9, 35), (2, 6, 1)]


def seen(x, augment, seed=0, steps=1, dtype=np.float64):
    """The images that a training saw, step after step.

    The gradient of 0.5 * ||w * image - 0||^2 would mix them; that of a sum over a linear layer of
    one output, with one sample per batch, is the image itself.
    """
    features = int(np.prod(x.shape[1:]))
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 1, bias=False, dtype=dtype))
    model[1].weight[...] = 0
    trainer = piste.Trainer(model, nn.L1Loss(reduction="sum"), SGD(1.0), seed=seed, augment=augment)
    images = []
    for i in range(steps):
        before = model[1].weight.copy()
        trainer.step(x[i % len(x)][None], np.full((1, 1), 1e9))
        images.append((model[1].weight - before).reshape(x.shape[1:]))
    return np.array(images)


def windows(image, padding):
    """All that cutting and mirroring can make of an image."""
    pads = [(0, 0), (padding, padding), (padding, padding)]
    padded = np.pad(image, pads)
    _, h, w = image.shape
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            window = padded[:, top : top + h, left : left + w]
            yield (top, left, False), window
            yield (top, left, True), window[:, :, ::-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_windows_and_mirror_images(shape):
    x = RNG.standard_normal((1, *shape))
    found = set()
    for image in seen(x, Augment(horizontal_flip=0.5, crop_padding=2), steps=400):
        names = [name for name, window in windows(x[0], 2) if np.allclose(image, window)]
        assert names
        found.update(names)
    assert len(found) == 50  # all of them come


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.25, 60, 140), (1.0, 400, 400)])
def test_how_often(share, low, high):
    x = RNG.standard_normal((1, 1, 3, 5))
    images = seen(x, Augment(horizontal_flip=share), steps=400)
    mirrored = [np.allclose(image, x[0, :, :, ::-1]) for image in images]
    assert low <= sum(mirrored) <= high


def test_a_padding_beyond_the_image():
    x = RNG.standard_normal((1, 2, 3, 4))
    for image in seen(x, Augment(crop_padding=6), steps=100):
        assert any(
            np.allclose(image, window) for (_, _, flip), window in windows(x[0], 6) if not flip
        )


MEAN, STD = (0.5, 0.25, -1.0), (0.5, 2.0, 0.1)


def normalised(x):
    return (x - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_normalisation_of_every_value_and_of_the_padding(dtype):
    x = RNG.integers(0, 256, (1, 3, 6, 9)).astype(dtype)
    values = x / 255 if dtype == np.uint8 else x
    augment = Augment(horizontal_flip=1.0, crop_padding=9, mean=MEAN, std=STD)
    expected = [normalised(w) for (_, _, flip), w in windows(values[0], 9) if flip]
    for image in seen(x, augment, steps=30):
        assert any(np.allclose(image, window) for window in expected)


def test_predictions_and_evaluations_are_normalised_but_not_changed():
    nn.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 4, 2))
    x = RNG.standard_normal((7, 3, 5, 4)).astype(np.float32)
    augment = Augment(0.5, 2, MEAN, STD)
    trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.0), augment=augment)
    plain = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(0.0))
    z = normalised(x)
    y = RNG.integers(0, 2, 7)
    np.testing.assert_allclose(trainer.predict(x), model(z), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trainer.evaluate(x, y), plain.evaluate(z, y), rtol=1e-5)
    np.testing.assert_array_equal(model(x), plain.predict(x))


def trainer_with(augment, seed=5):
    return piste.Trainer(
        network(), nn.CrossEntropyLoss(), SGD(0.05, 0.9), seed=seed, augment=augment
    )


def test_the_same_bits_on_1_to_8_threads():
    same_on_any_threads(lambda: trainer_with(Augment(0.5, 2, 0.1, 0.3)))


def test_seeds_differ_and_files_resume_on_the_same_bits(tmp_path):
    augment = Augment(0.5, 2, 0.1, 0.3)
    straight, first, other = trainer_with(augment), trainer_with(augment), trainer_with(augment, 6)
    straight.fit(IMAGES, LABELS, epochs=2, batch_size=16)
    first.fit(IMAGES, LABELS, batch_size=16)
    first.save(tmp_path / "half")
    second = piste.Trainer.load(tmp_path / "half")
    second.fit(IMAGES, LABELS, batch_size=16)
    same(everything(second), everything(straight))
    other.fit(IMAGES, LABELS, epochs=2, batch_size=16)
    assert not np.array_equal(other.model[0].weight, straight.model[0].weight)


def test_samples_of_a_batch_are_drawn_one_by_one():
    image = RNG.standard_normal((1, 1, 4, 6))
    x = np.repeat(image, 64, axis=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24, 1, bias=False, dtype=np.float64))
    model[1].weight[...] = 0
    trainer = piste.Trainer(
        model, nn.L1Loss(reduction="sum"), SGD(1.0), augment=Augment(horizontal_flip=0.5)
    )
    trainer.step(x, np.full((64, 1), 1e9))
    total = model[1].weight.reshape(4, 6)
    # total = k * image + (64 - k) * mirrored, for the number k of those that stay
    a, b = image[0, 0], image[0, 0, :, ::-1]
    k = ((total - 64 * b) * (a - b)).sum() / ((a - b) ** 2).sum()
    np.testing.assert_allclose(total, k * a + (64 - k) * b, atol=1e-9)
    assert 15 < k < 49


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Augment(1.5), ValueError, "horizontal_flip: expected a number from 0 to 1"),
        (lambda: Augment("a"), TypeError, "horizontal_flip: expected a number"),
        (lambda: Augment(0, -1), ValueError, "crop_padding: expected an integer from 0"),
        (lambda: Augment(0, 2**21), ValueError, "crop_padding: expected at most 1048576"),
        (lambda: Augment(mean=[np.nan]), ValueError, "mean: expected finite numbers, got"),
        (lambda: Augment(mean=[]), ValueError, "mean: expected at least one number, got none"),
        (lambda: Augment(std=()), ValueError, "std: expected at least one number, got none"),
        (lambda: Augment(mean=["a"]), TypeError, "mean: expected numbers, one per channel, got"),
        (lambda: Augment(mean=[[1.0]]), TypeError, "mean: expected numbers, one per channel, got"),
        (lambda: Augment(std=[1.0, 0.0]), ValueError, "std: expected numbers above 0, got"),
        (lambda: Augment(mean=[1, 2], std=[1, 2, 3]), ValueError, "std: expected 2 numbers as mea"),
        (lambda: trainer_with(3), TypeError, "augment: expected a piste.data.Augment, got int 3"),
        (lambda: trainer_with(Augment(mean=MEAN)).step(IMAGES, LABELS), ValueError,
         r"\[augment\] expected 1 channels, got 3"),
        (lambda: piste.Trainer(nn.Linear(3, 2), nn.MSELoss(), SGD(), augment=Augment(0.5)).step(
            np.ones((2, 3)), np.ones((2, 2))), ValueError, r"\[augment\] expected images, got"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_it_shows_its_arguments():
    assert repr(Augment(0.5, 4, 0.1)) == (
        "Augment(horizontal_flip=0.5, crop_padding=4, mean=(0.1,), std=None)"
    )


def test_what_a_trainer_has_read_is_not_changed_afterwards():
    made = Augment()
    for augment in (made, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        for name in vars(augment):
            with pytest.raises(AttributeError, match=f"^{name}: cannot be changed; make another"):
                setattr(augment, name, 1)
        assert repr(augment) == repr(Augment())
