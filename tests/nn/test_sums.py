"""Sums, and the batch norms before and the ReLU behind them that share their passes over memory:
the bits of every layer by itself, on any number of threads, and central differences."""

import numpy as np
import piste
import pytest
from piste import nn
from piste.optim import SGD
from reference.differences import gradient
from reference.threads import on_each
from tolerances import CENTRAL_DIFFERENCE


class Parts:
    """Layers of one dtype. `cut` keeps what is on its two sides apart: it changes no bit."""

    def __init__(self, dtype, apart):
        self.dtype, self.apart = dtype, apart

    @property
    def cut(self):
        return [nn.LeakyReLU(1.0)] if self.apart else []

    def conv(self, channels, filters, kernel=3, stride=1, bias=False):
        padding = kernel // 2
        return nn.Conv2d(channels, filters, kernel, stride, padding, bias=bias, dtype=self.dtype)

    def norm(self, channels):
        return [nn.BatchNorm2d(channels, dtype=self.dtype), *self.cut]

    def body(self, channels, filters, stride=1):
        return nn.Sequential(
            self.conv(channels, filters, 3, stride), *self.norm(filters), nn.ReLU(), *self.cut,
            self.conv(filters, filters), *self.norm(filters),
        )  # fmt: skip

    def block(self, body, shortcut=None):
        return [nn.Residual(body, shortcut), *self.cut, nn.ReLU(), *self.cut]

    def first(self, channels):
        return [self.conv(2, channels, bias=True), *self.cut, nn.ReLU(), *self.cut]


NETWORKS = {
    "identity": lambda p: [
        *p.first(3), *p.block(p.body(3, 3)), *p.block(p.body(3, 3)), p.conv(3, 2)
    ],
    "norm in the shortcut": lambda p: [
        *p.first(3),
        *p.block(p.body(3, 9, 2), nn.Sequential(p.conv(3, 9, 1, 2), *p.norm(9))),
        *p.block(p.body(9, 9)),
    ],
    "conv in the shortcut": lambda p: [
        *p.first(3), *p.block(p.body(3, 4, 2), p.conv(3, 4, 1, 2)), *p.block(p.body(4, 4))
    ],
    "norm of the input": lambda p: [*p.block(nn.Sequential(*p.norm(2))), p.conv(2, 3)],
    "only the shortcut learns": lambda p: [
        nn.Residual(p.conv(2, 2), nn.Sequential(nn.BatchNorm2d(2, affine=False, dtype=p.dtype))),
        *p.cut, nn.ReLU(),
    ],
    "no relu": lambda p: [
        *p.first(3), nn.Residual(p.body(3, 3)), nn.Residual(p.body(3, 3)), nn.Tanh()
    ],
    "sums of sums": lambda p: [
        *p.first(3), nn.Residual(nn.Sequential(p.conv(3, 3), *p.cut, nn.ReLU(), *p.cut)),
        nn.Residual(p.body(3, 3)), nn.Residual(p.body(3, 3)),
    ],
    "norms first": lambda p: [
        p.conv(2, 3),
        *(nn.Residual(nn.Sequential(*p.norm(3), nn.ReLU(), *p.cut, p.conv(3, 3)))
          for _ in range(2)),
        *p.norm(3), nn.ReLU(),
    ],
    "without norms": lambda p: [
        *p.first(3), *p.block(p.conv(3, 3)), *p.block(nn.Sequential(p.conv(3, 3), nn.Tanh()))
    ],
    "maxima of sums": lambda p: [
        *p.first(3), *p.block(p.body(3, 3)), nn.MaxPool2d(2, 1), *p.block(p.conv(3, 3)),
        nn.MaxPool2d(2), p.conv(3, 2),
    ],
    "two readers": lambda p: [
        *p.first(3), *p.block(p.body(3, 3)), nn.Concat(p.conv(3, 2), nn.Identity()), p.conv(5, 2)
    ],
    "four readers": lambda p: [
        *p.first(3), *p.block(p.body(3, 3)),
        nn.Concat(p.conv(3, 2), nn.Identity(), p.conv(3, 1), nn.Sigmoid()), p.conv(9, 2),
    ],
    "blocks in blocks": lambda p: [
        *p.first(3),
        *p.block(nn.Sequential(*p.block(p.body(3, 3)), p.conv(3, 3), *p.norm(3))),
        *p.block(nn.Sequential(nn.Residual(nn.Residual(p.body(3, 3))))),
    ],
    "a norm that others read": lambda p: [
        *p.first(3),
        *p.block(nn.Sequential(p.conv(3, 3), *p.norm(3), nn.Residual(p.conv(3, 3)))),
    ],
    "sums of one value": lambda p: [
        *p.first(3), nn.Residual(nn.Identity()), *p.norm(3), *p.block(nn.Identity())
    ],
    "a sum of one gradient": lambda p: [
        *p.first(3), nn.Residual(nn.Sequential(p.conv(3, 3), *p.cut, nn.ReLU(), *p.cut)),
        nn.AvgPool2d(2),
    ],
    "dropout": lambda p: [
        *p.first(3), *p.block(nn.Sequential(p.body(3, 3), nn.Dropout(0.3))),
        *p.block(p.body(3, 3)), nn.Dropout2d(0.3), *p.block(p.body(3, 3)),
    ],
    "pooled shortcut": lambda p: [
        *p.first(4), *p.block(nn.AvgPool2d(3, 2, 1), p.body(4, 4, 2)),
        *p.block(p.body(4, 4, 2), nn.AvgPool2d(3, 2, 1)),
    ],
    "features": lambda p: [
        nn.Flatten(), nn.Linear(60, 9, dtype=p.dtype), *p.cut, nn.ReLU(), *p.cut,
        *p.block(nn.Sequential(
            nn.Linear(9, 9, dtype=p.dtype), nn.BatchNorm1d(9, dtype=p.dtype), *p.cut
        )),
        *p.block(nn.Linear(9, 9, dtype=p.dtype)),
        nn.Residual(nn.Linear(9, 9, dtype=p.dtype)),
        *p.block(nn.Linear(9, 9, dtype=p.dtype), nn.Sequential(
            nn.Linear(9, 9, dtype=p.dtype), nn.BatchNorm1d(9, dtype=p.dtype), *p.cut
        )),
    ],
}  # fmt: skip
SHAPE = (11, 2, 6, 5)


def network(name, dtype, apart=False):
    nn.manual_seed(3)
    model = nn.Sequential(*NETWORKS[name](Parts(dtype, apart)))
    rng = np.random.default_rng(4)
    for array in model.parameters():  # norms of their own, not all alike
        array[...] += 0.3 * rng.standard_normal(array.shape)
    return model


def arrays(name, dtype, apart=False):
    """What passes by hand, training and predictions leave."""
    rng = np.random.default_rng(5)
    model = network(name, dtype, apart)
    x = rng.standard_normal(SHAPE).astype(dtype)
    y = model.forward(x)
    grad = rng.standard_normal(y.shape).astype(dtype)
    result = [y, model.backward(grad), *(g.copy() for g in model.gradients().values())]
    trainer = piste.Trainer(model, nn.MSELoss(), SGD(0.05, 0.9))
    result.append(np.array([trainer.step(x, grad) for _ in range(3)]))
    result += [array.copy() for array in model.state_dict().values()]
    return [*result, trainer.predict(x), np.array(trainer.evaluate(x, grad)[0])]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Dropout draws by a layer's number, and cuts are layers.
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "dropout"])
def test_a_pass_for_several_layers_has_the_bits_of_one_for_each(name, dtype):
    for got, expected in zip(arrays(name, dtype), arrays(name, dtype, apart=True), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_on_1_to_4_threads(name, dtype):
    first, *others = on_each(lambda: arrays(name, dtype), range(1, 5))
    for result in others:
        for got, expected in zip(result, first, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_central_differences(name):
    model, rng = network(name, np.float64), np.random.default_rng(6)

    def forward(x):
        model._network()._calls.steps = 0  # dropout draws by the number of the step
        return model.forward(x)

    x = rng.standard_normal((3, *SHAPE[1:]))
    grad = rng.standard_normal(forward(x).shape)
    expected = gradient(forward, x, grad)
    forward(x)
    CENTRAL_DIFFERENCE.check(model.backward(grad), expected)


def test_nan_goes_through():
    model = network("identity", np.float32)
    x = np.zeros((3, *SHAPE[1:]), np.float32)
    x[1, 0, 2, 2] = np.nan
    y = model(x)
    assert np.isnan(y[1]).any()
    assert np.isfinite(y[[0, 2]]).all()
    assert np.isnan(model.forward(x)).all()  # by the batch's statistics
