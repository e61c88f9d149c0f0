"""Max pools that give the places of their maxima too."""

import copy
import re

import numpy as np
import piste
import pytest
from piste import functional as F
from piste import nn
from piste.optim import SGD

SHAPES = {1: (2, 3, 9), 2: (2, 3, 8, 9), 3: (2, 3, 5, 6, 7)}
POOLS = [
    *(("MaxPool{}d", "max_pool{}d", (3, 2, 1, 1), axes) for axes in SHAPES),
    *(("AdaptiveMaxPool{}d", "adaptive_max_pool{}d", (2,), axes) for axes in SHAPES),
]


def make(kind, options, axes):
    return getattr(nn, kind.format(axes))(*options, return_indices=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "function", "options", "axes"), POOLS)
def test_a_layer_called_by_itself_gives_both(kind, function, options, axes, dtype):
    rng = np.random.default_rng(axes)
    layer, pool = make(kind, options, axes), getattr(F, function.format(axes))
    x = rng.standard_normal(SHAPES[axes]).astype(dtype)
    y, indices = pool(x, *options, return_indices=True)
    for got_y, got_indices in (layer(x), layer.forward(x), layer.eval()(x)):
        np.testing.assert_array_equal(got_y, y)
        np.testing.assert_array_equal(got_indices, indices)
        assert (got_y.dtype, got_indices.dtype) == (dtype, np.int64)
    grad = rng.standard_normal(y.shape).astype(dtype)
    differentiate = getattr(F, function.format(axes) + "_backward")
    np.testing.assert_array_equal(layer.backward(grad), differentiate(grad, x, *options)[0])


def test_the_indices_are_places_in_the_plane():
    x = np.float32([[[[1, 2, 0, 0], [0, 0, 3, 0], [9, 0, 0, 0], [0, 0, 0, 4]]]])
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    np.testing.assert_array_equal(y, [[[[2, 3], [9, 4]]]])
    np.testing.assert_array_equal(indices, [[[[1, 6], [8, 15]]]])
    np.testing.assert_array_equal(x.ravel()[indices], y)


@pytest.mark.parametrize(("kind", "function", "options", "axes"), POOLS)
def test_networks_have_no_place_for_them(kind, function, options, axes):
    layer = make(kind, options, axes)
    x = np.zeros(SHAPES[axes], np.float32)
    message = "return_indices: a layer inside a network or a Trainer has one output; call the layer"
    model = nn.Sequential(nn.ReLU(), layer)
    for use in (
        lambda: model(x),
        lambda: model.forward(x),
        lambda: nn.summary(model, x.shape[1:]),
        lambda: piste.Trainer(model, nn.MSELoss(), SGD(0.1)),
    ):
        with pytest.raises(ValueError, match=re.escape("1: " + message)):
            use()
    with pytest.raises(ValueError, match=message):
        piste.Trainer(layer, nn.MSELoss(), SGD(0.1))
    with pytest.raises(ValueError, match=message):
        nn.summary(layer, x.shape[1:])


def test_backward_needs_a_forward():
    layer = nn.MaxPool2d(2, return_indices=True)
    with pytest.raises(RuntimeError, match="backward: call forward first"):
        layer.backward(np.ones((1, 1, 1, 1)))


def test_copies_have_inputs_of_their_own():
    layer, x = nn.MaxPool1d(2, return_indices=True), np.float32([[[1, 2]]])
    layer.forward(x)
    other = copy.deepcopy(layer)
    layer.forward(-x)
    for one, expected in ((layer, [[[1, 0]]]), (other, [[[0, 1]]])):
        np.testing.assert_array_equal(one.backward(np.float32([[[1]]])), expected)
