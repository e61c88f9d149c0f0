"""Data that would fit if one thing had not been forgotten: the message says which."""

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD


def images():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))


def grey():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))


def features():
    return nn.Sequential(nn.Linear(20, 10))


def volumes():
    return nn.Sequential(nn.Conv3d(2, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())


ONE = r"x\[None\], a batch of one sample,"
CASES = [
    (images, (3, 8, 8), "NCHW", f"expected 3 input channels, got .*; {ONE} would fit; x has shape"),
    (images, (8, 8, 3), "NHWC", f"; {ONE} would fit; x has shape"),
    (images, (4, 8, 8, 3), "NCHW", "; layout='NHWC' would fit; x has shape .*$"),
    (images, (4, 3, 8, 8), "NHWC", "; layout='NCHW' would fit; x has shape .*$"),
    (images, (8, 8, 3), "NCHW", f"; {ONE} with layout='NHWC' would fit; x has shape .*$"),
    (images, (4, 3, 9, 9), "NCHW", r"expected 144 input features, got 196; x has shape .*$"),
    (images, (4, 8, 8), "NCHW", r"expected 3 input channels, got .* \(1, 8, 8\); x has shape .*$"),
    (grey, (8, 8), "NCHW", f"; {ONE} would fit; x has shape"),
    (grey, (4, 8, 8, 1), "NCHW", "; layout='NHWC' would fit; x has shape"),
    (features, (20,), "NCHW", rf"x: expected shape \(n, features\), .*, got \(20,\); {ONE} would"),
    (features, (21,), "NCHW", r"x: expected shape \(n, features\), .*, got \(21,\)$"),
    (volumes, (2, 4, 4, 4), "NCHW", f"; {ONE} would fit; x has shape"),
    (volumes, (3, 4, 4, 4, 2), "NCHW", "; layout='NHWC' would fit; x has shape"),
]


@pytest.mark.parametrize(("make", "shape", "layout", "message"), CASES)
def test_what_was_forgotten(make, shape, layout, message):
    trainer = piste.Trainer(make(), nn.CrossEntropyLoss(), SGD(0.1))
    x, y = np.zeros(shape, np.float32), np.zeros(shape[0], int)
    for call in (trainer.step, trainer.fit, trainer.evaluate):
        with pytest.raises(ValueError, match=message):
            call(x, y, layout=layout)
    with pytest.raises(ValueError, match=message):
        trainer.predict(x, layout=layout)


@pytest.mark.parametrize(("make", "shape", "layout", "message"), CASES)
def test_the_advice_is_right(make, shape, layout, message):
    trainer = piste.Trainer(make(), nn.CrossEntropyLoss(), SGD(0.1))
    x = np.zeros(shape, np.float32)
    if "would fit" in message or "would" in message.split()[-1]:
        x = x[None] if ONE in message else x
        other = "NHWC" if layout == "NCHW" else "NCHW"
        assert len(trainer.predict(x, layout=other if "layout=" in message else layout)) == len(x)
