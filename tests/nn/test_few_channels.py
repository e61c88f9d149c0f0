"""Gradients of layers with few input channels and no padding, in the middle of a network."""

import numpy as np
import piste
import pytest
from piste import functional as F
from piste import nn

CONVOLUTIONS = {
    1: (nn.Conv1d, F.conv1d_backward),
    2: (nn.Conv2d, F.conv2d_backward),
    3: (nn.Conv3d, F.conv3d_backward),
}


def network(axes, channels, kernel, stride, dilation, dtype):
    convolution = CONVOLUTIONS[axes][0]
    nn.manual_seed(0)
    first = convolution(2, channels, 1, dtype=dtype)
    return nn.Sequential(first, convolution(channels, 7, kernel, stride, 0, dilation, dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation"),
    [
        ((14, 13), (5, 5), (1, 1), (1, 1)),
        ((9, 12), (3, 2), (2, 3), (1, 1)),
        ((11, 15), (2, 3), (1, 1), (2, 3)),
        ((300,), (7,), (1,), (1,)),
        ((6, 5, 8), (2, 3, 3), (1, 2, 1), (1, 1, 1)),
    ],
)
def test_gradients_of_few_channels(size, kernel, stride, dilation, channels, dtype):
    net = network(len(size), channels, kernel, stride, dilation, dtype)
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((5, 2, *size)).astype(dtype)
    grad = rng.standard_normal(net.forward(x).shape).astype(dtype)
    found = net.backward(grad)
    layers = [layer.weight.astype(np.float64) for layer in net.children()]
    backward = CONVOLUTIONS[len(size)][1]
    middle = net[0](x).astype(np.float64)
    grad_middle, *_ = backward(
        grad.astype(np.float64), middle, layers[1], None, stride, 0, dilation
    )
    expected, *_ = backward(grad_middle, x.astype(np.float64), layers[0])
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found, expected, tolerance, tolerance * np.abs(expected).max())


@pytest.mark.parametrize("threads", [1, 2])
def test_an_infinite_gradient_stays_where_its_taps_read(threads):
    before = piste.get_num_threads()
    piste.set_num_threads(threads)
    try:
        net = network(2, 6, (5, 5), (1, 1), (1, 1), np.float32)
        x = np.ones((3, 2, 14, 14), np.float32)
        grad = np.zeros(net.forward(x).shape, np.float32)
        grad[1, 3, 4, 2] = np.inf
        reached = np.zeros((3, 14, 14), bool)
        reached[1, 4:9, 2:7] = True
        finite = np.isfinite(net.backward(grad)).all(axis=1)
        np.testing.assert_array_equal(finite, ~reached)
    finally:
        piste.set_num_threads(before)
