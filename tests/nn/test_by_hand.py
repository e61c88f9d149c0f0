"""Layers run forward and backward by hand."""

import gc
import weakref

import numpy as np
import piste
import pytest
from piste import functional as F
from piste import nn
from piste.optim import SGD


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


SAMPLES = [
    (lambda: nn.Conv1d(3, 4, 3), (3, 8)),
    (lambda: nn.Conv2d(3, 4, 3, padding="same"), (3, 7, 8)),
    (lambda: nn.Conv3d(1, 4, 2), (1, 3, 4, 5)),
    (lambda: nn.ConvTranspose2d(2, 3, 3, 2), (2, 4, 5)),
    (lambda: nn.Linear(5, 3), (5,)),
    (lambda: nn.MaxPool1d(2), (3, 8)),
    (lambda: nn.AvgPool2d(3, 2, 1), (3, 7, 8)),
    (lambda: nn.MaxPool3d(2), (2, 4, 4, 4)),
    (lambda: nn.AdaptiveAvgPool2d((3, None)), (3, 7, 8)),
    (lambda: nn.AdaptiveMaxPool1d(2), (3, 8)),
    (lambda: nn.InstanceNorm1d(3, affine=True), (3, 8)),
    (lambda: nn.InstanceNorm2d(3, track_running_stats=True), (3, 4, 5)),
    (lambda: nn.LayerNorm((3, 4)), (3, 4)),
    (lambda: nn.LogSoftmax(-1), (5,)),
    (lambda: nn.Dropout2d(0), (3, 4, 5)),
]


@pytest.mark.parametrize(("make", "shape"), SAMPLES)
def test_a_layer_alone_takes_one_sample(make, shape):
    nn.manual_seed(0)
    layer, rng = make(), np.random.default_rng(0)
    nn.manual_seed(0)
    twin, x = make(), rng.standard_normal(shape).astype(np.float32)
    batch = twin.forward(x[None])
    np.testing.assert_array_equal(layer.forward(x), batch[0])
    grad = rng.standard_normal(batch.shape).astype(np.float32)
    np.testing.assert_array_equal(layer.backward(grad[0]), twin.backward(grad)[0])
    for name, gradient in twin.gradients().items():
        np.testing.assert_array_equal(layer.gradients()[name], gradient)
    for name, array in twin.state_dict().items():
        np.testing.assert_array_equal(layer.state_dict()[name], array)
    np.testing.assert_array_equal(layer(x), twin(x[None])[0])
    with pytest.raises(ValueError, match="grad_output: expected shape"):
        layer.backward(grad)
    np.testing.assert_array_equal(layer.forward(x[None]), batch)  # batches as ever
    np.testing.assert_array_equal(layer.backward(grad), twin.backward(grad))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (9,), (0,), (1, 2, 1, 2, 1, 3), (2, 3)])
def test_what_works_on_each_value_takes_any_shape(shape, dtype):
    rng = np.random.default_rng(len(shape))
    x, grad = rng.standard_normal((2, *shape)).astype(dtype)
    x, grad = np.asarray(x), np.asarray(grad)
    for layer, name, options in (
        (nn.ReLU(), "relu", ()),
        (nn.Softplus(2, 1), "softplus", (2, 1)),
        (nn.Tanh(), "tanh", ()),
        (nn.PReLU(dtype=dtype), "prelu", (np.full(1, 0.25, dtype),)),
        (nn.Dropout(0), "dropout", (0,)),
    ):
        y = layer.forward(x)
        assert (y.shape, y.dtype) == (shape, dtype)
        np.testing.assert_allclose(y, getattr(F, name)(x, *options), rtol=1e-6)
        np.testing.assert_array_equal(layer(x), y)
        expected = getattr(F, name + "_backward")(grad, x, *options)
        np.testing.assert_allclose(layer.backward(grad), expected[0], rtol=1e-6)
        for gradient in layer.gradients().values():
            np.testing.assert_allclose(gradient, expected[1], rtol=1e-6)


def test_images_without_channels_stay_a_batch():
    layer = nn.Conv2d(1, 4, 3)
    for n in (1, 3):
        x = np.ones((n, 5, 6), np.float32)
        np.testing.assert_array_equal(layer(x), layer(x[:, None]))
    assert nn.Flatten()(np.ones((3, 4, 5), np.float32)).shape == (3, 20)
    assert nn.Sequential(nn.Flatten(-2), nn.ReLU())(np.ones((3, 4, 5), np.float32)).shape == (
        3, 1, 20
    )  # fmt: skip
    with pytest.raises(ValueError, match="axis -3 is not one of 1 to 2"):
        nn.Flatten(-3)(np.ones((3, 4, 5), np.float32))


def test_a_network_takes_batches_only():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    x = np.ones((3, 5, 6), np.float32)
    with pytest.raises(ValueError, match="expected 3 input channels"):
        model(x)
    trainer = piste.Trainer(nn.Linear(3, 1), nn.MSELoss(), SGD(0.1))
    with pytest.raises(ValueError, match="x: expected shape"):
        trainer.predict(np.ones(3, np.float32))


@pytest.mark.parametrize("dtypes", [["f4"], ["f4", "f8"]])
def test_memory_goes_with_the_last_reference(dtypes):
    # Not when the collector happens to come by: a network's memory is much to wait for.
    layer = nn.ReLU()
    gc.collect()
    gc.disable()
    try:
        for dtype in dtypes:
            x = np.ones((2, 3), dtype)
            layer.forward(x)
            layer.backward(x)
        networks = [weakref.ref(layer._network())]
        if layer._network()._twin is not None:
            networks.append(weakref.ref(layer._network()._twin))
        assert len(networks) == len(dtypes)
        del layer
        assert [network() for network in networks] == [None] * len(dtypes)
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
        trainer = piste.Trainer(model, nn.CrossEntropyLoss(), SGD(lr=0.1))
        trainer.step(np.ones((2, 1, 4, 4), np.float32), [0, 1])
        trainer.fit(np.ones((2, 1, 4, 4), np.float32), [0, 1], progress=False)
        network = weakref.ref(trainer._network)
        del model, trainer
        assert network() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [list, tuple, memoryview])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(5, 3), (5,)),
        (nn.Conv2d(3, 2, 3), (3, 8, 8)),
        (nn.MaxPool2d(2), (3, 8, 8)),
        (nn.ReLU(), (4,)),
    ],
)
def test_one_sample_that_is_no_array(layer, shape, kind):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    given = memoryview(x) if kind is memoryview else kind(x.tolist())
    np.testing.assert_array_equal(layer(given), layer(x))
    np.testing.assert_array_equal(layer.forward(given), layer(x))
