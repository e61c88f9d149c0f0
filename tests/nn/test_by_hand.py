"""Layers run forward and backward by hand."""

import numpy as np
import piste
import pytest
from piste import nn


def test_a_batch_of_nothing_goes_through_and_back():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4))
    model.forward(np.ones((2, 2, 5, 5), np.float32))
    model.backward(np.ones((2, 4), np.float32))
    assert any(gradient.any() for gradient in model.gradients().values())
    assert model.forward(np.ones((0, 2, 5, 5), np.float32)).shape == (0, 4)
    assert model.backward(np.ones((0, 4), np.float32)).shape == (0, 2, 5, 5)
    assert not any(gradient.any() for gradient in model.gradients().values())


@pytest.mark.parametrize("channels", range(1, 10))
def test_an_infinity_stays_with_the_inputs_that_its_pixel_reads(channels):
    model = nn.Sequential(nn.Conv2d(channels, 4, 3, bias=False))
    model[0].weight[...] = 1
    dy = np.zeros((2, 4, 4, 4), np.float32)
    dy[0, 0, -1, -1] = np.inf
    model.forward(np.ones((2, channels, 6, 6), np.float32))
    dx = model.backward(dy)
    expected = np.zeros_like(dx)
    expected[0, :, 3:, 3:] = np.inf
    np.testing.assert_array_equal(dx, expected)


def test_gradients_of_narrow_inputs_are_the_same_on_any_number_of_threads():
    branch = nn.Sequential(nn.Conv2d(1, 64, 2, bias=False), nn.BatchNorm2d(64))
    model = nn.Sequential(nn.Concat(branch, nn.Conv2d(1, 32, 2, bias=False)))
    x = np.random.default_rng(0).standard_normal((512, 1, 2, 2)).astype(np.float32)
    before = piste.get_num_threads()
    try:
        gradients = []
        for threads in (1, 2, 3, 2, 3):
            piste.set_num_threads(threads)
            gradients.append(model.backward(model.forward(x)))
    finally:
        piste.set_num_threads(before)
    for gradient in gradients[1:]:
        np.testing.assert_array_equal(gradient, gradients[0])
