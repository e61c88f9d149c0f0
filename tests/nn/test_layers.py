"""Layers inside the engine: forward against NumPy, backward against central differences."""

import numpy as np
import pytest
from piste import nn
from reference import conv as conv_reference
from reference import network as reference
from tolerances import CENTRAL_DIFFERENCE, DIRECT


def forward(model, x):
    model._network()._calls.steps = 0  # dropout draws by the number of the step
    return model.forward(x)


def input_gradient(model, x, grad, eps=1e-5):
    """Central differences of sum(model(x) * grad), in training mode."""
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * eps
            values.append((forward(model, moved) * grad).sum())
        result[index] = (values[0] - values[1]) / (2 * eps)
    return result


def parameter_gradient(model, array, x, grad, eps=1e-5):
    result = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept, values = array[index], []
        for sign in (1, -1):
            array[index] = kept + sign * eps
            values.append((forward(model, x) * grad).sum())
        array[index] = kept
        result[index] = (values[0] - values[1]) / (2 * eps)
    return result


D = np.float64
LAYERS = {
    "conv": lambda: nn.Conv2d(2, 3, 3, padding=1, dtype=D),
    "conv stride": lambda: nn.Conv2d(2, 3, (3, 2), stride=2, padding=1, dtype=D),
    "conv stride beyond kernel": lambda: nn.Conv2d(2, 3, 2, stride=3, dtype=D),
    "conv of many filters": lambda: nn.Conv2d(2, 21, (3, 2), dtype=D),
    "conv with gaps": lambda: nn.Conv2d(2, 9, 2, stride=(2, 1), dilation=2, dtype=D),
    "conv dilation": lambda: nn.Conv2d(2, 3, 2, dilation=2, padding=1, dtype=D),
    "conv groups": lambda: nn.Conv2d(2, 4, 3, groups=2, padding=1, dtype=D),
    "conv same": lambda: nn.Conv2d(2, 3, 4, padding="same", dtype=D),
    "conv reflect": lambda: nn.Conv2d(2, 3, 3, 2, 2, padding_mode="reflect", dtype=D),
    "conv replicate": lambda: nn.Sequential(
        nn.Tanh(), nn.Conv2d(2, 3, 3, padding="same", padding_mode="replicate", dtype=D), nn.ReLU()
    ),
    "conv circular": lambda: nn.Conv2d(
        2, 3, 2, padding=((1, 0), (3, 4)), dilation=2, padding_mode="circular", dtype=D
    ),
    "conv without bias": lambda: nn.Conv2d(2, 3, 1, bias=False, dtype=D),
    "conv and relu": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, dtype=D), nn.ReLU()),
    "batch norm": lambda: nn.Sequential(nn.BatchNorm2d(2, dtype=D)),
    "batch norm and relu": lambda: nn.Sequential(
        nn.BatchNorm2d(2, dtype=D), nn.ReLU(), nn.MaxPool2d(2)
    ),
    "max pool": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.MaxPool2d(3, 2, 1)),
    "avg pool": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.AvgPool2d(2, 1, 1)),
    "adaptive": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.AdaptiveAvgPool2d((2, 3))),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 4, 3, dtype=D)),
    "linear after conv": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, dtype=D), nn.Tanh(), nn.Flatten(), nn.Linear(3 * 3 * 2, 3, dtype=D)
    ),
    "residual": lambda: nn.Sequential(
        nn.Residual(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, dtype=D), nn.Sigmoid())), nn.SiLU()
    ),
    "residual with shortcut": lambda: nn.Residual(
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, dtype=D), nn.BatchNorm2d(3, dtype=D)),
        nn.Conv2d(2, 3, 1, dtype=D),
    ),
    "softmax": lambda: nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 4, 4, dtype=D), nn.Softmax()),
    "log softmax": lambda: nn.Sequential(nn.Conv2d(2, 4, 1, dtype=D), nn.LogSoftmax()),
    "leaky relu": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.LeakyReLU(0.1)),
    "relu6": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.ReLU6()),
    "hardtanh": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.Hardtanh(-0.5, 0.7)),
    "dropout": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.Dropout(0.4)),
    "dropout of channels": lambda: nn.Sequential(nn.Conv2d(2, 9, 1, dtype=D), nn.Dropout2d(0.4)),
    "softmax of pixels": lambda: nn.Sequential(nn.Conv2d(2, 4, 1, dtype=D), nn.Softmax2d()),
    "batch norm without affine": lambda: nn.BatchNorm2d(2, affine=False, dtype=D),
    "avg pool of what is inside": lambda: nn.Sequential(
        nn.Conv2d(2, 2, 1, dtype=D), nn.AvgPool2d(3, 2, 1, True, False)
    ),
    "avg pool with a divisor": lambda: nn.AvgPool2d((2, 3), 1, 1, divisor_override=-3),
    "adaptive max": lambda: nn.AdaptiveMaxPool2d((None, 3)),
    "max pool dilated": lambda: nn.Sequential(
        nn.Conv2d(2, 2, 1, dtype=D), nn.MaxPool2d(2, 1, 1, dilation=2, ceil_mode=True)
    ),
    "softsign": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.Softsign()),
    "tanhshrink": lambda: nn.Sequential(nn.Conv2d(2, 2, 1, dtype=D), nn.Tanhshrink()),
    "activations": lambda: nn.Concat(
        nn.ELU(0.7),
        nn.SELU(),
        nn.CELU(0.5),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.Mish(),
        nn.LogSigmoid(),
        nn.Softplus(2, 1),
        nn.Hardswish(),
        nn.Hardsigmoid(),
        nn.Threshold(0.1, 0.3),
    ),
    "prelu": lambda: nn.Sequential(nn.Conv2d(2, 3, 1, dtype=D), nn.PReLU(3, dtype=D)),
    "prelu with one weight": lambda: nn.PReLU(init=-0.3, dtype=D),
    "prelu of features": lambda: nn.Sequential(nn.Flatten(), nn.PReLU(40, dtype=D)),
    "softmax over rows": lambda: nn.Softmax(-1),
    "log softmax over columns": lambda: nn.LogSoftmax(2),
    "softmax of a flattened map": lambda: nn.Sequential(nn.Flatten(), nn.Softmax(-1)),
    "layer norm": lambda: nn.LayerNorm((2, 5, 4), dtype=D),
    "layer norm of rows": lambda: nn.LayerNorm(4, bias=False, dtype=D),
    "layer norm without weights": lambda: nn.LayerNorm((5, 4), elementwise_affine=False),
    "layer norm of features": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(40, 5, dtype=D), nn.LayerNorm(5, dtype=D)
    ),
    "group norm": lambda: nn.Sequential(nn.Conv2d(2, 6, 1, dtype=D), nn.GroupNorm(3, 6, dtype=D)),
    "group norm of features": lambda: nn.Sequential(nn.Flatten(), nn.GroupNorm(8, 40, dtype=D)),
    "instance norm": lambda: nn.InstanceNorm2d(2, affine=True, dtype=D),
    "instance norm with statistics": lambda: nn.InstanceNorm2d(
        2, affine=True, track_running_stats=True, dtype=D
    ),
    "batch norm without momentum": lambda: nn.BatchNorm2d(2, momentum=None, dtype=D),
    "local response norm": lambda: nn.Sequential(
        nn.Conv2d(2, 5, 1, dtype=D), nn.LocalResponseNorm(3, 0.5, 0.6, 1.5)
    ),
    "batch norm without statistics": lambda: nn.BatchNorm2d(
        2, affine=False, track_running_stats=False, dtype=D
    ),
    "batch norm of a flattened map": lambda: nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(40, dtype=D), nn.ReLU()
    ),
    "concat": lambda: nn.Concat(
        nn.Conv2d(2, 3, 1, dtype=D),
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, dtype=D), nn.ReLU()),
        nn.Identity(),
        nn.MaxPool2d(3, 1, 1),
    ),
    "concat of features": lambda: nn.Concat(
        nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(40, 3, dtype=D))
    ),
    "conv of a concat": lambda: nn.Sequential(
        nn.Concat(nn.Identity(), nn.Identity()), nn.Conv2d(4, 2, 2, dtype=D)
    ),
    "nested": lambda: nn.Residual(
        nn.Sequential(
            nn.Concat(nn.Residual(nn.Sequential(nn.Tanh())), nn.Sigmoid()),
            nn.Conv2d(4, 2, 1, dtype=D),
        )
    ),
    "add of flattened maps": lambda: nn.Residual(
        nn.Sequential(nn.Conv2d(2, 4, 1, 2, dtype=D), nn.Flatten()),
        nn.Sequential(nn.AvgPool2d((5, 2)), nn.Flatten(), nn.Linear(4, 24, dtype=D)),
    ),
    "flatten some": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(2, 2, 3, dtype=D)),
    "unflatten": lambda: nn.Sequential(
        nn.Flatten(), nn.Unflatten(1, (5, -1, 4)), nn.Conv2d(5, 2, 2, dtype=D)
    ),
    "unflatten a linear layer": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(40, 12, dtype=D), nn.Unflatten(-1, (3, 2, 2))
    ),
    "conv transpose": lambda: nn.ConvTranspose2d(2, 3, 3, dtype=D),
    "conv transpose stride": lambda: nn.ConvTranspose2d(2, 3, (3, 2), 2, 1, (1, 0), dtype=D),
    "conv transpose groups": lambda: nn.ConvTranspose2d(
        2, 4, 2, 3, output_padding=2, groups=2, bias=False, dtype=D
    ),
    "conv transpose dilation": lambda: nn.Sequential(
        nn.ConvTranspose2d(2, 9, 2, dilation=3, padding=1, output_padding=2, dtype=D), nn.ReLU()
    ),
}
IMAGES = (3, 2, 5, 4)
SERIES, VOLUMES = (3, 2, 9), (2, 2, 3, 4, 3)
# Layers of other inputs than images.
OTHERS = {
    "conv 1d": (SERIES, lambda: nn.Conv1d(2, 3, 3, 2, 1, dilation=2, dtype=D)),
    "conv 1d and relu": (SERIES, lambda: nn.Sequential(nn.Conv1d(2, 9, 3, dtype=D), nn.ReLU())),
    "conv transpose 1d": (SERIES, lambda: nn.ConvTranspose1d(2, 3, 3, 2, 1, 1, dtype=D)),
    "max pool 1d": (SERIES, lambda: nn.MaxPool1d(3, 2, 1)),
    "avg pool 1d": (SERIES, lambda: nn.AvgPool1d(3, 2, 1, True, False)),
    "adaptive 1d": (SERIES, lambda: nn.AdaptiveAvgPool1d(4)),
    "adaptive max 1d": (SERIES, lambda: nn.AdaptiveMaxPool1d(4)),
    "batch norm 1d": (SERIES, lambda: nn.BatchNorm1d(2, dtype=D)),
    "instance norm 1d": (SERIES, lambda: nn.InstanceNorm1d(2, dtype=D)),
    "batch norm of features": ((5, 3), lambda: nn.BatchNorm1d(3, dtype=D)),
    "layer norm 1d": (SERIES, lambda: nn.LayerNorm(9, dtype=D)),
    "conv 1d circular": (
        SERIES,
        lambda: nn.Conv1d(2, 3, 3, 1, 4, padding_mode="circular", dtype=D),
    ),
    "dropout 1d": (SERIES, lambda: nn.Dropout1d(0.4)),
    "dropout 3d": (VOLUMES, lambda: nn.Dropout3d(0.4)),
    "conv 3d reflect": (
        VOLUMES,
        lambda: nn.Conv3d(2, 3, 2, 1, (1, 3, 0), padding_mode="reflect", dtype=D),
    ),
    "conv 3d": (VOLUMES, lambda: nn.Conv3d(2, 3, (2, 3, 2), (1, 2, 1), 1, dtype=D)),
    "conv 3d 3x3": (VOLUMES, lambda: nn.Conv3d(2, 3, 3, padding=1, dtype=D)),
    "conv transpose 3d": (VOLUMES, lambda: nn.ConvTranspose3d(2, 3, 2, 2, 0, 1, dtype=D)),
    "max pool 3d": (VOLUMES, lambda: nn.MaxPool3d(2, 1, dilation=(2, 1, 1))),
    "avg pool 3d": (VOLUMES, lambda: nn.AvgPool3d((1, 2, 3), ceil_mode=True)),
    "adaptive 3d": (VOLUMES, lambda: nn.AdaptiveAvgPool3d((2, None, 1))),
    "adaptive max 3d": (VOLUMES, lambda: nn.AdaptiveMaxPool3d(2)),
    "batch norm 3d": (VOLUMES, lambda: nn.BatchNorm3d(2, dtype=D)),
    "instance norm 3d": (VOLUMES, lambda: nn.InstanceNorm3d(2, affine=True, dtype=D)),
}
CASES = {name: (IMAGES, make) for name, make in LAYERS.items()} | OTHERS


def test_every_layer_is_among_them():
    classes = [getattr(nn, name) for name in nn.__all__ if isinstance(getattr(nn, name), type)]
    layers = {c for c in classes if issubclass(c, nn.Module)} - {nn.Module}
    tested = {type(part) for _, make in CASES.values() for _, part in make().named_modules()}
    assert layers - tested == set()


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_central_differences(name):
    rng = np.random.default_rng(sum(map(ord, name)))
    nn.manual_seed(1)
    shape, make = CASES[name]
    model = make()
    if model._network().dtype != D:  # a network without arrays computes in float32
        conv = getattr(nn, f"Conv{len(shape) - 2}d")
        model = nn.Sequential(conv(2, 2, 1, dtype=D), make())
    x = rng.standard_normal(shape)
    grad = rng.standard_normal(forward(model, x).shape)
    expected = input_gradient(model, x, grad)
    expected_parameters = {
        key: parameter_gradient(model, array, x, grad) for key, array in model.named_parameters()
    }
    forward(model, x)
    CENTRAL_DIFFERENCE.check(model.backward(grad), expected)
    for key, gradient in model.gradients().items():
        # A bias before batch norm has gradient 0: compare on the scale of the others.
        scale = np.abs(expected_parameters[key]).max() or 1.0
        assert np.abs(gradient - expected_parameters[key]).max() <= 1e-6 * max(scale, 1e-3), key


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 8, 17])
@pytest.mark.parametrize("filters", [1, 6, 16, 49])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, 0), (3, 1, 1), (5, 2, 2)])
def test_conv_against_the_reference(dtype, channels, filters, kernel, stride, padding):
    rng = np.random.default_rng(channels * 1000 + filters)
    layer = nn.Conv2d(channels, filters, kernel, stride, padding, dtype=dtype)
    x = rng.standard_normal((5, channels, 9, 7)).astype(dtype)
    expected = reference.conv2d(
        x.astype(D), layer.weight.astype(D), layer.bias.astype(D), (stride, stride),
        ((padding, padding), (padding, padding)),
    )  # fmt: skip
    DIRECT[np.dtype(dtype)].check(layer(x), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [2, 5, 16, 27, 40])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(3, 1, 1, 1), ((3, 4), 2, (1, 0), 1), (2, 3, 0, 2), (5, (1, 2), 3, (2, 1))],
)
@pytest.mark.parametrize(("relu", "padded"), [(False, True), (True, True), (True, False)])
def test_depthwise_against_the_reference(
    dtype, channels, kernel, stride, padding, dilation, relu, padded
):
    rng = np.random.default_rng(channels)
    layer = nn.Conv2d(
        channels, channels, kernel, stride, padding, dilation, groups=channels, dtype=dtype
    )
    # The images lie dense, what a layer has put out in whole vectors.
    first = [nn.LeakyReLU(1.0)] if padded else []
    model = nn.Sequential(*first, layer, *([nn.ReLU()] if relu else []))
    x = rng.standard_normal((5, channels, 9, 8)).astype(dtype)
    pad = (padding, padding) if isinstance(padding, int) else padding
    options = (
        np.broadcast_to(stride, 2), [(p, p) for p in pad], np.broadcast_to(dilation, 2), channels
    )  # fmt: skip
    arrays = [a.astype(D) for a in (x, layer.weight, layer.bias)]
    expected = conv_reference.conv(*arrays, *options)
    if relu:
        expected = np.maximum(expected, 0)
    y = forward(model, x)
    tolerance = DIRECT[np.dtype(dtype)]
    tolerance.check(y, expected)
    grad = rng.standard_normal(y.shape).astype(dtype)
    dx, dw, db = conv_reference.conv(*arrays, *options, grad_output=grad * ((y > 0) | (not relu)))
    tolerance.check(model.backward(grad), dx)
    gradients = list(model.gradients().values())
    pixels = (y.size / channels) ** 0.5
    tolerance.check(gradients[0], dw, pixels)
    tolerance.check(gradients[1], db, pixels)


def test_batch_norm_in_training_and_evaluation():
    rng = np.random.default_rng(0)
    layer = nn.BatchNorm2d(3, dtype=D)
    layer.weight, layer.bias = [1.0, 2.0, 3.0], [0.0, 1.0, 2.0]
    x = rng.standard_normal((4, 3, 5, 5)) * 3 + 1000
    DIRECT[np.dtype(D)].check(layer.forward(x), reference.batch_norm(x, layer.weight, layer.bias))
    np.testing.assert_allclose(layer.running_mean, 0.1 * x.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(
        layer.running_var, 0.9 + 0.1 * x.var(axis=(0, 2, 3), ddof=1), rtol=1e-9
    )
    scale = layer.weight / np.sqrt(layer.running_var + 1e-5)
    expected = (x - layer.running_mean.reshape(3, 1, 1)) * scale.reshape(3, 1, 1)
    np.testing.assert_allclose(layer(x), expected + layer.bias.reshape(3, 1, 1), rtol=1e-9)


def test_dropout_keeps_the_expected_share_and_scale():
    layer = nn.Dropout(0.25)
    x = np.ones((64, 4, 8, 8), np.float32)
    y = layer.forward(x)
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(layer.backward(x), y)
    np.testing.assert_array_equal(layer(x), x)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_dropout_of_whole_channels(axes):
    layer = getattr(nn, f"Dropout{axes}d")(0.25)
    x = np.ones((64, 37, *(3, 4, 2)[:axes]), np.float32)
    y = layer.forward(x)
    channels = y.reshape(64, 37, -1)
    np.testing.assert_array_equal(channels, channels[..., :1].repeat(channels.shape[2], axis=2))
    kept = channels[..., 0]
    assert set(np.unique(kept)) == {0.0, np.float32(1 / 0.75)}
    assert abs((kept == 0).mean() - 0.25) < 0.04
    assert len(np.unique(kept, axis=0)) == 64  # each sample has its own
    assert len(np.unique(kept, axis=1).T) == 37
    np.testing.assert_array_equal(layer.backward(x), y)
    np.testing.assert_array_equal(layer(x), x)
    assert repr(layer) == f"Dropout{axes}d(p=0.25, inplace=False)"


def test_which_channels_are_dropped_does_not_depend_on_their_padding():
    x = np.ones((5, 6, 3, 2))
    single, double = nn.Dropout2d(0.5), nn.Sequential(nn.Dropout2d(0.5), nn.BatchNorm2d(6, dtype=D))
    double[1].eval()
    y = double.train().forward(x)  # in wider vectors; the norm makes two values of each channel
    dropped = single.forward(x.astype(np.float32))[:, :, 0, 0] == 0
    np.testing.assert_array_equal(y[:, :, 0, 0] < 0, dropped)


def test_softmax2d_is_a_softmax_over_channels():
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(nn.Softmax2d()(x), nn.Softmax(1)(x))
    assert repr(nn.Softmax2d()) == "Softmax2d()"


def test_layers_with_names():
    layers = {"first": nn.Linear(3, 4), "relu": nn.ReLU(), "last": nn.Linear(4, 2)}
    model = nn.Sequential(layers)
    assert list(model.state_dict()) == ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert list(model.named_children()) == list(layers.items())
    assert list(model.children()) == list(model) == list(layers.values())
    assert list(model.modules()) == [model, *layers.values()]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(model(x), nn.Sequential(*layers.values())(x))
    assert repr(model).splitlines()[2] == "  (relu): ReLU()"


def test_slices_of_a_sequential():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    part = model[1:]
    assert isinstance(part, nn.Sequential)
    assert list(part.state_dict()) == ["2.weight", "2.bias"]
    assert part[-1] is model[-1]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(part(model[:1](x)), model(x))


def test_names_are_saved(tmp_path):
    import piste

    model = nn.Sequential(
        {"a": nn.Linear(3, 2), "b": nn.Residual(nn.Sequential({"c": nn.Tanh()}), nn.Identity())}
    )
    trainer = piste.Trainer(model, nn.MSELoss(), piste.optim.SGD(0.1))
    trainer.save(tmp_path / "t")
    assert repr(piste.Trainer.load(tmp_path / "t").model) == repr(model)


def test_state_dict_has_pytorch_keys_and_moves_weights():
    first = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    second = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    assert list(first.state_dict()) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
        "1.num_batches_tracked", "3.weight", "3.bias",
    ]  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    assert not np.array_equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first(x), second(x))


REPRS = [
    (
        lambda: nn.Conv1d(6, 9, 2, padding="same", dilation=2, groups=3, bias=False),
        "Conv1d("
        "6, 9, kernel_size=(2,), stride=(1,), padding=same, dilation=(2,), groups=3, bias=False)",
    ),
    (
        lambda: nn.ConvTranspose2d(6, 8, 3, 2, 1, 1),
        "ConvTranspose2d("
        "6, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))",
    ),
    (
        lambda: nn.MaxPool2d(3, 2, 1),
        "MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)",
    ),
    (lambda: nn.AvgPool1d(2), "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))"),
    (lambda: nn.AdaptiveAvgPool2d((1, None)), "AdaptiveAvgPool2d(output_size=(1, None))"),
    (
        lambda: nn.BatchNorm3d(8),
        "BatchNorm3d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)",
    ),
    (
        lambda: nn.LayerNorm((9, 8)),
        "LayerNorm((9, 8), eps=1e-05, elementwise_affine=True, bias=True)",
    ),
    (
        lambda: nn.GroupNorm(3, 6, affine=False),
        "GroupNorm(3, 6, eps=1e-05, affine=False, bias=False)",
    ),
    (lambda: nn.LocalResponseNorm(3), "LocalResponseNorm(3, alpha=0.0001, beta=0.75, k=1.0)"),
    (
        lambda: nn.InstanceNorm1d(3, momentum=None, track_running_stats=True),
        "InstanceNorm1d(3, eps=1e-05, momentum=None, affine=False, bias=False, "
        "track_running_stats=True)",
    ),
    (
        lambda: nn.Conv2d(1, 2, 3, padding=1, bias=False, padding_mode="circular"),
        "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False, "
        "padding_mode=circular)",
    ),
    (lambda: nn.ReLU(True), "ReLU(inplace=True)"),
    (lambda: nn.LeakyReLU(0.2, True), "LeakyReLU(negative_slope=0.2, inplace=True)"),
    (lambda: nn.Threshold(0.1, 20), "Threshold(threshold=0.1, value=20)"),
    (lambda: nn.Softmax(-1), "Softmax(dim=-1)"),
    (lambda: nn.PReLU(6), "PReLU(num_parameters=6)"),
    (lambda: nn.Unflatten(1, (2, 3)), "Unflatten(dim=1, unflattened_size=(2, 3))"),
]


@pytest.mark.parametrize(("make", "text"), REPRS)
def test_repr_is_that_of_pytorch(make, text):
    assert repr(make()) == text


def test_repr():
    model = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU())
    assert repr(model) == (
        "Sequential(\n  (0): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))\n"
        "  (1): ReLU()\n)"
    )
