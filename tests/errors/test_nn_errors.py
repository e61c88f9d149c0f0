"""Layers, containers and losses: what they refuse, and how they say it."""

import numpy as np
import pytest
from piste import nn
from piste.optim import SGD

CONSTRUCTORS = [
    (lambda: nn.Conv2d(0, 1, 3), ValueError, "in_channels: expected an integer from 1"),
    (lambda: nn.Conv2d(1, 2.5, 3), TypeError, "out_channels: expected an integer, got float 2.5"),
    (lambda: nn.Conv2d(1, 1, 0), ValueError, "kernel_size: expected an integer from 1"),
    (lambda: nn.Conv2d(1, 1, (1, 2, 3)), ValueError, "kernel_size: expected 2 integers, got 3"),
    (lambda: nn.Conv2d(1, 1, "3"), TypeError, "kernel_size: expected an integer or 2 integers"),
    (lambda: nn.Conv2d(1, 1, 3, stride=0), ValueError, "stride: expected an integer from 1"),
    (lambda: nn.Conv2d(1, 1, 3, padding=-1), ValueError, "padding: expected an integer from 0"),
    (lambda: nn.Conv2d(1, 1, 3, padding="full"), ValueError, "padding: expected 'same', 'valid'"),
    (lambda: nn.Conv2d(1, 1, 3, dilation=0), ValueError, "dilation: expected an integer from 1"),
    (lambda: nn.Conv2d(4, 4, 3, groups=0), ValueError, "groups: expected an integer from 1"),
    (lambda: nn.Conv2d(4, 6, 3, groups=4), ValueError, "groups: 4 input and 6 output channels"),
    (lambda: nn.Conv2d(1, 1, 1, dtype=int), TypeError, "dtype: expected float32 or float64, got"),
    (lambda: nn.Linear(0, 1), ValueError, "in_features: expected an integer from 1"),
    (lambda: nn.Linear(1, None), TypeError, "out_features: expected an integer, got NoneType"),
    (lambda: nn.Linear(1, 1, dtype=0), TypeError, "dtype: expected float32 or float64, got int 0"),
    (lambda: nn.Linear(1, 1, dtype="x"), TypeError, "dtype: expected float32 or float64, got str"),
    (lambda: nn.summary(nn.ReLU(), 64), TypeError, "input_shape: expected that of a sample, such"),
    (lambda: nn.Loss(), TypeError, "Loss is the base of all losses; expected one of them, such"),
    (lambda: nn.Linear(1, 1, dtype="f2"), TypeError, "dtype: expected float32 or float64, got"),
    (lambda: nn.BatchNorm2d(0), ValueError, "num_features: expected an integer from 1"),
    (lambda: nn.BatchNorm2d(1, eps=-1), ValueError, "eps: expected a finite number of at least 0"),
    (lambda: nn.BatchNorm1d(1, eps=0), ValueError, "eps: expected a number above 0, got 0"),
    (lambda: nn.BatchNorm2d(1, eps="x"), TypeError, "eps: expected a number, got str 'x'"),
    (lambda: nn.BatchNorm2d(1, momentum=2), ValueError, "momentum: expected a number from 0 to 1"),
    (
        lambda: nn.BatchNorm2d(1, momentum="x"),
        TypeError,
        "momentum: expected a number, got str 'x'",
    ),
    (
        lambda: nn.InstanceNorm1d(2, momentum=-1),
        ValueError,
        "momentum: expected a finite number of",
    ),
    (lambda: nn.InstanceNorm1d(2, eps=-1), ValueError, "eps: expected a finite number of at least"),
    (lambda: nn.MaxPool2d(0), ValueError, "kernel_size: expected an integer from 1"),
    (lambda: nn.MaxPool2d(2, 0), ValueError, "stride: expected an integer from 1"),
    (lambda: nn.MaxPool2d(2, padding=2), ValueError, "padding: expected at most half of kernel"),
    (lambda: nn.MaxPool2d(2, dilation=0), ValueError, "dilation: expected an integer from 1"),
    (lambda: nn.AvgPool2d(3, padding=2), ValueError, "padding: expected at most half of kernel"),
    (lambda: nn.AvgPool2d(2, divisor_override=0), ValueError, "divisor_override: expected an int"),
    (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), ValueError, "output_size: expected one size or 2"),
    (lambda: nn.AdaptiveAvgPool2d(0), ValueError, "output_size: expected an integer from 1"),
    (lambda: nn.AdaptiveAvgPool2d("1"), TypeError, "output_size: expected an integer, got str"),
    (lambda: nn.MaxPool2d(2, return_indices=1), TypeError, "return_indices: expected True or Fal"),
    (lambda: nn.Dropout2d(2), ValueError, "p: expected a probability from 0 to 1, got 2"),
    (lambda: nn.Sequential({"a": 1}), TypeError, "layer a: expected a piste.nn module, got int"),
    (
        lambda: nn.Sequential({"a.b": nn.ReLU()}),
        ValueError,
        "expected names without dots, got 'a.b'",
    ),
    (lambda: nn.Sequential({"": nn.ReLU()}), ValueError, "expected names without dots, got ''"),
    (lambda: nn.Sequential({1: nn.ReLU()}), ValueError, "expected names without dots, got 1"),
    (lambda: nn.MaxPool2d(2, ceil_mode=1), TypeError, "ceil_mode: expected True or False, got int"),
    (
        lambda: nn.Conv2d(1, 1, 1, padding_mode="edge"),
        ValueError,
        "padding_mode: expected 'zeros' or 'reflect' or 'replicate' or 'circular', got 'edge'",
    ),
    (
        lambda: nn.ConvTranspose2d(1, 1, 1, padding_mode="reflect"),
        ValueError,
        "padding_mode: expected 'zeros', got 'reflect'",
    ),
    (lambda: nn.ConvTranspose1d(1, 1, 1, output_padding=1), ValueError, "expected less than strid"),
    (lambda: nn.GroupNorm(3, 4), ValueError, "4 channels cannot be split into 3 groups"),
    (lambda: nn.LayerNorm(()), ValueError, "normalized_shape: expected at least one size"),
    (lambda: nn.LayerNorm("a"), TypeError, "normalized_shape: expected an integer, got str"),
    (lambda: nn.LocalResponseNorm(0), ValueError, "size: expected an integer from 1"),
    (lambda: nn.CELU(0), ValueError, "alpha: expected a number other than 0"),
    (lambda: nn.GELU("erf"), ValueError, "approximate: expected 'none' or 'tanh', got 'erf'"),
    (lambda: nn.Softmax(0), ValueError, "dim: expected an axis other than that of the samples"),
    (lambda: nn.Flatten(0), ValueError, "start_dim: expected an axis other than that of the sam"),
    (lambda: nn.Unflatten(1, (2, -1, -1)), ValueError, "at most one of them -1"),
    (lambda: nn.Unflatten(1, 4), TypeError, "unflattened_size: expected sizes, got 4"),
    (lambda: nn.ReLU(inplace=1), TypeError, "inplace: expected True or False, got int 1"),
    (lambda: nn.Concat(), ValueError, "branches: expected at least one"),
    (lambda: nn.Concat(nn.ReLU(), 1), TypeError, "branch 1: expected a piste.nn module, got int"),
    (lambda: nn.Dropout(1.5), ValueError, "p: expected a probability from 0 to 1, got 1.5"),
    (lambda: nn.Dropout("half"), TypeError, "p: expected a number, got str 'half'"),
    (lambda: nn.LeakyReLU("x"), TypeError, "negative_slope: expected a number, got str 'x'"),
    (lambda: nn.LeakyReLU(float("nan")), ValueError, "negative_slope: expected a number, got NaN"),
    (lambda: nn.Hardtanh(1, 1), ValueError, "expected min_val < max_val, got 1 and 1"),
    (lambda: nn.Hardtanh("a"), TypeError, "min_val: expected a number, got str 'a'"),
    (lambda: nn.Sequential(nn.ReLU(), 3), TypeError, "layer 1: expected a piste.nn module, got"),
    (lambda: nn.Sequential(nn.ReLU), TypeError, "layer 0: expected a piste.nn module, got type"),
    (lambda: nn.Residual(None), TypeError, "body: expected a piste.nn module, got NoneType"),
    (lambda: nn.Residual(nn.ReLU(), 1), TypeError, "shortcut: expected a piste.nn module, got int"),
    (
        lambda: nn.MSELoss(reduction="all"),
        ValueError,
        "reduction: expected one of 'none', 'mean', 'sum', got 'all'",
    ),
    (
        lambda: nn.MSELoss("none"),
        TypeError,
        "size_average: expected True, False or None, got 'none'",
    ),
    (
        lambda: nn.CrossEntropyLoss(label_smoothing=2),
        ValueError,
        "label_smoothing: expected a number from 0 to 1",
    ),
    (
        lambda: nn.CrossEntropyLoss(label_smoothing=""),
        TypeError,
        "label_smoothing: expected a numb",
    ),
    (lambda: nn.CrossEntropyLoss([[1]]), ValueError, "weight: expected one per class, got shape"),
    (lambda: nn.CrossEntropyLoss(["a"]), TypeError, "weight: expected numbers, got dtype <U1"),
    (lambda: nn.CrossEntropyLoss([np.nan]), ValueError, "weight: expected finite values"),
    (lambda: nn.CrossEntropyLoss(ignore_index=0.5), TypeError, "ignore_index: expected an integer"),
    (lambda: nn.manual_seed(-1), ValueError, "seed: expected an integer from 0"),
    (lambda: nn.manual_seed("x"), TypeError, "seed: expected an integer, got str 'x'"),
]


@pytest.mark.parametrize(("make", "error", "message"), CONSTRUCTORS)
def test_constructors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def maps(*shape):
    return np.zeros(shape, np.float32)


SHAPES = [
    (lambda: nn.Conv2d(3, 4, 3), (1, 2, 8, 8), "expected 3 input channels, got an input of shape"),
    (lambda: nn.Conv2d(1, 4, 9), (1, 1, 8, 8), "a window of 9 does not fit an input of 8"),
    (
        lambda: nn.Conv2d(1, 1, 3, padding=(0, 4), padding_mode="reflect"),
        (1, 1, 8, 4),
        "a padding of 4 and 4 needs an input of at least 5 to be mirrored, got 4",
    ),
    (
        lambda: nn.Conv2d(1, 1, 3, padding=((1, 0), (1, 5)), padding_mode="circular"),
        (1, 1, 8, 4),
        "a padding of 1 and 5 needs an input of at least 5 to be turned round, got 4",
    ),
    (
        lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate"),
        (1, 8),
        "expected an input of shape .channels, height, width",
    ),
    (lambda: nn.Conv2d(4, 4, 3), (2, 4), "expected an input of shape .channels, height, width"),
    (lambda: nn.Linear(5, 4), (1, 6), "expected 5 input features, got 6"),
    (lambda: nn.Linear(64, 4), (1, 1, 8, 8), "put a Flatten before it"),
    (lambda: nn.MaxPool2d(9), (1, 1, 8, 8), "a window of 9 does not fit"),
    (lambda: nn.MaxPool2d(2), (2, 4), "expected an input of shape"),
    (lambda: nn.AvgPool2d(2), (2, 4), "expected an input of shape"),
    (lambda: nn.AdaptiveAvgPool2d(1), (2, 4), "expected an input of shape"),
    (lambda: nn.BatchNorm2d(3), (1, 2, 8, 8), "expected 3 input channels"),
    (lambda: nn.BatchNorm2d(8), (2, 8), "expected an input of shape .channels, height, width"),
    (lambda: nn.BatchNorm1d(2), (1, 2, 8, 8), "expected an input of shape .channels, length"),
    (lambda: nn.Softmax(3), (1, 2, 8), "axis 3 is not one of 1 to 2"),
    (lambda: nn.LayerNorm((3, 8)), (1, 2, 8), r"expected an input that ends in .3, 8., got .2, 8."),
    (lambda: nn.GroupNorm(2, 4), (1, 2, 8, 8), "expected 4 input channels"),
    (lambda: nn.InstanceNorm2d(2), (1, 2, 1, 1), "expected more than 1 value per group"),
    (lambda: nn.Dropout2d(), (2, 4), "expected an input of shape .channels, height, width"),
    (lambda: nn.Dropout1d(), (1, 2, 8, 8), "expected an input of shape .channels, length"),
    (lambda: nn.Softmax2d(), (2, 4, 4), "axis -3 is not one of 1 to 2"),
    (lambda: nn.PReLU(3), (1, 2, 8, 8), "expected 3 input channels"),
    (lambda: nn.Conv1d(1, 4, 3), (1, 1, 8, 8), "expected an input of shape .channels, length"),
    (lambda: nn.Conv3d(1, 4, 3), (2, 1, 8, 8), "shape .channels, depth, height, width"),
    (lambda: nn.ConvTranspose2d(1, 1, 1, padding=4), (1, 1, 8, 8), "leaves an output of 0"),
    (lambda: nn.Unflatten(1, (3, 2)), (1, 8), r"axes 1 to 1 of .8,. hold 8 values"),
    (lambda: nn.Flatten(3, 2), (1, 2, 8, 8), "axis 3 comes after axis 2"),
    (lambda: nn.Concat(nn.MaxPool2d(2), nn.ReLU()), (1, 2, 8, 8), "differ in more than"),
    (lambda: nn.Residual(nn.Conv2d(1, 2, 1)), (1, 1, 4, 4), "cannot add shapes"),
    (lambda: nn.Sequential(nn.ReLU()), (1, 2, 3, 4, 5, 6), "x: expected shape"),
    (lambda: nn.Sequential(nn.ReLU()), (3,), "x: expected shape"),
    (lambda: nn.GroupNorm(1, 3), (3,), "x: expected shape"),
    (lambda: nn.PReLU(3), (3,), "x: expected shape"),
    (lambda: nn.ReLU(), (1, 0, 3, 3), "are empty"),
]


@pytest.mark.parametrize(("make", "shape", "message"), SHAPES)
def test_shapes_that_do_not_fit(make, shape, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        model(maps(*shape))
    with pytest.raises(ValueError, match=message):
        model.forward(maps(*shape))


def test_the_layer_is_named():
    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), nn.Conv2d(3, 1, 1)))
    with pytest.raises(ValueError, match=r"^\[1\.1\] expected 3 input channels"):
        model(maps(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (None, TypeError, "state_dict: expected names with arrays, got NoneType None"),
        ([("weight", 1)], TypeError, "state_dict: expected names with arrays, got list"),
        ({}, ValueError, r"missing keys \['bias', 'weight'\], unexpected keys \[\]"),
        ({"weight": maps(2, 3)}, ValueError, r"missing keys \['bias'\]"),
        ({"weight": maps(2, 3), "bias": maps(2), "x": 1}, ValueError, r"unexpected keys \['x'\]"),
        ({"weight": maps(2, 3), "bias": maps(3)}, ValueError, r"bias: expected shape \(2,\), got"),
        (
            {"weight": maps(2, 3), "bias": ["a", "b"]},
            TypeError,
            "bias: expected numbers, got dtype",
        ),
        ({"weight": maps(2, 3), "bias": None}, TypeError, "bias: expected an array, got None"),
        (
            {"weight": maps(2, 3), "bias": [0, 1e300]},
            ValueError,
            r"^bias: 1e\+300 is too large for float32",
        ),
        ({"weight": maps(2, 3), "bias": [1j, 0]}, TypeError, "bias: expected numbers, got dtype"),
    ],
)
def test_load_state_dict_changes_nothing_on_error(state, error, message):
    layer = nn.Linear(3, 2)
    before = layer.state_dict()
    with pytest.raises(error, match=message):
        layer.load_state_dict(state)
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("weight", maps(3, 3), ValueError, r"weight: expected shape \(2, 3\), got \(3, 3\)"),
        ("weight", [["a"] * 3] * 2, TypeError, "weight: expected numbers, got list"),
        ("weight", None, TypeError, "weight: expected an array, got None"),
        ("weight", np.full((2, 3), -1e39), ValueError, r"weight: -1e\+39 is too large for float32"),
        ("bias", 1.0, ValueError, "bias: this layer has none"),
    ],
)
def test_assignments_that_do_not_fit(name, value, error, message):
    layer = nn.Linear(3, 2, bias=False)
    with pytest.raises(error, match=message):
        setattr(layer, name, value)


def test_what_float32_holds_is_taken():
    layer = nn.Linear(3, 1)
    for value in (3.4028235e38, np.inf, np.nan):
        layer.weight = np.full((1, 3), value)
        np.testing.assert_array_equal(layer.weight, np.full((1, 3), value, np.float32))


def test_attributes_that_are_not_there():
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        nn.Linear(1, 1).wieght  # noqa: B018


def test_one_dtype_for_a_network():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, dtype=np.float64))
    with pytest.raises(TypeError, match="one dtype, got float32 and float64"):
        model(maps(1, 2))


def test_a_layer_stands_in_a_network_once():
    layer, relu = nn.Linear(2, 2), nn.ReLU()
    nn.Sequential(relu, layer, relu)(maps(1, 2))  # without weights it may stand twice
    with pytest.raises(ValueError, match="a layer with weights stands in the network twice"):
        nn.Sequential(layer, relu, layer)(maps(1, 2))


def test_an_empty_network():
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(nn.Sequential()(x), x)


def test_layers_of_the_users_own_say_what_they_lack():
    class Own(nn.Module):
        pass

    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

    advice = "cannot be lowered to C.*compose layers of piste.nn instead, by Sequential"
    with pytest.raises(NotImplementedError, match=f"Own {advice}"):
        Own()(maps(1, 2))
    for use in (Twice(), nn.Sequential(nn.ReLU(), Twice())):
        with pytest.raises(NotImplementedError, match=f"Twice {advice}"):
            use(maps(1, 2))


def test_a_constructor_that_does_not_call_that_of_the_base():
    class Bare(nn.Module):
        def __init__(self):
            self.width = 3

    class Early(nn.Sequential):
        def __init__(self):
            self.first = nn.Linear(2, 2)

    for use in (Bare(), nn.Sequential(Bare()), nn.Concat(nn.ReLU(), Bare())):
        with pytest.raises(
            AttributeError, match=r"Bare: its __init__ did not call super\(\)\.__ini"
        ):
            use(maps(1, 2))
    for use in (lambda m: m.state_dict(), lambda m: m.eval(), lambda m: m.weight, repr):
        with pytest.raises(AttributeError, match="Bare: its __init__ did not call"):
            use(Bare())
    with pytest.raises(AttributeError, match="first: cannot assign a module before Module"):
        Early()


def test_a_module_cannot_be_assigned_where_nothing_would_run_it():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(2, 2)

    message = "cannot assign a module, which {} would not run; compose layers of piste.nn instead"
    with pytest.raises(AttributeError, match="first: " + message.format("Own")):
        Own()
    with pytest.raises(AttributeError, match="last: " + message.format("Sequential")):
        nn.Sequential(nn.ReLU()).last = nn.ReLU()


@pytest.mark.parametrize("name", ["forward", "backward", "__call__"])
def test_passes_that_the_engine_would_not_run(name):
    import piste

    other = type("R2", (nn.ReLU,), {name: lambda self, x: x})
    message = f"^R2 overrides {name}, but networks are lowered to C.*compose layers of piste.nn"
    model = nn.Sequential(nn.Linear(2, 2), nn.Residual(other()))
    with pytest.raises(TypeError, match=message):
        model(maps(1, 2))
    with pytest.raises(TypeError, match=message):
        nn.summary(model, (2,))
    with pytest.raises(TypeError, match=message):
        piste.Trainer(model, nn.MSELoss(), SGD(0.1))
    if name != "__call__":
        with pytest.raises(TypeError, match=message):
            other()(maps(1, 2))


def test_a_pass_set_on_one_layer_is_refused_too():
    layer = nn.ReLU()
    layer.forward = lambda x: x
    with pytest.raises(TypeError, match="ReLU overrides forward"):
        nn.Sequential(layer)(maps(1, 2))


def test_subclasses_that_change_no_pass():
    class Doubled(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Identity(), nn.ReLU())

    np.testing.assert_array_equal(Doubled()(np.ones((1, 2))), [[1, 1]])


def test_backward_needs_a_forward_and_its_shape():
    model = nn.Linear(3, 2)
    with pytest.raises(RuntimeError, match="backward: call forward first"):
        model.backward(maps(1, 2))
    model.forward(maps(4, 3))
    for grad, error, message in (
        (maps(3, 2), ValueError, r"grad_output: expected shape \(4, 2\), got \(3, 2\)"),
        (maps(2, 4), ValueError, r"grad_output: expected shape \(4, 2\), got \(2, 4\)"),
        (None, TypeError, "grad_output: expected an array, got None"),
        (np.ones((4, 2), int), TypeError, "grad_output: expected floats, got int64"),
    ):
        with pytest.raises(error, match=message):
            model.backward(grad)
    model.backward(maps(4, 2))


def test_class_weights_of_another_number_of_classes():
    import piste

    trainer = piste.Trainer(nn.Linear(3, 2), nn.CrossEntropyLoss([1, 2, 3]), SGD(0.1))
    with pytest.raises(ValueError, match="expected 2 class weights, got 3"):
        trainer.step(maps(4, 3), [0, 1, 1, 0])
