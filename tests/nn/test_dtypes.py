"""Which arithmetic a layer runs in that has no arrays of its own."""

import numpy as np
import pytest
from piste import functional as F
from piste import nn

LAYERS = {
    "tanh": (nn.Tanh(), F.tanh, F.tanh_backward),
    "pool": (
        nn.Sequential(nn.AvgPool2d(2)),
        lambda x: F.avg_pool2d(x, 2),
        lambda dy, x: F.avg_pool2d_backward(dy, x, 2),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_without_arrays_take_the_dtype_of_their_input(name):
    layer, forward, backward = LAYERS[name]
    wide = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    for x in (wide, wide.astype(np.float32), wide.astype(">f8"), wide.astype(np.float32)):
        native = x.astype(x.dtype.newbyteorder("="))
        y, eps = forward(native), np.finfo(native.dtype).eps
        for got in (layer(x), layer.forward(x)):
            assert got.dtype == native.dtype
            np.testing.assert_allclose(got, y, rtol=8 * eps, atol=8 * eps)
        dx = layer.backward(y)
        assert dx.dtype == native.dtype
        np.testing.assert_allclose(dx, backward(y, native)[0], rtol=8 * eps, atol=8 * eps)
    pixels = np.full((2, 3, 4, 4), 255, np.uint8)
    np.testing.assert_array_equal(layer(pixels), forward(np.ones(pixels.shape, np.float32)))
    assert layer(pixels).dtype == np.float32


def test_a_prediction_in_another_dtype_leaves_what_backward_needs():
    layer, x = nn.ReLU(), np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    layer.forward(x)
    layer(np.ones((4, 5)))
    np.testing.assert_array_equal(layer.backward(np.ones_like(x)), x > 0)
    layer.forward(x.astype(float))
    assert layer.backward(np.ones_like(x)).dtype == float


def test_dropout_goes_on_whatever_the_dtype():
    layer = nn.Dropout(0.5)
    x = np.ones((1, 64), np.float32)
    masks = [layer.forward(x.astype(dtype)) > 0 for dtype in (np.float32, float) * 2]
    assert len({mask.tobytes() for mask in masks}) == 4


def test_layers_with_arrays_keep_their_own_dtype():
    norm = nn.BatchNorm2d(3, affine=False)  # running statistics alone
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 2, 1))
    for layer in (norm, model):
        assert layer(np.ones((2, 3, 4, 4))).dtype == np.float32
