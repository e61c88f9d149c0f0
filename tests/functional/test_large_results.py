"""Results of 16 MB and more go past the caches: value by value what small ones are."""

import numpy as np
import piste.functional as F
import pytest

SHAPE = (9, 8, 241, 243)  # 16.9 MB of float32; planes that begin anywhere in a vector
CHANNELS = SHAPE[1]


def arrays():
    rng = np.random.default_rng(5)
    return rng.standard_normal((2, *SHAPE), np.float32)


def per_channel(seed):
    return (0.5 + np.random.default_rng(seed).random(CHANNELS)).astype(np.float32)


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "relu6", "hardswish", "hardsigmoid", "silu"]
)
def test_activations(name):
    x, dy = arrays()
    x[3, 4, 5, 6] = np.nan
    forward, backward = getattr(F, name), getattr(F, f"{name}_backward")
    pieces = zip(x, dy, strict=True)
    expected = [(forward(a), backward(g, a)[0]) for a, g in pieces]
    for one, large in zip(zip(*expected, strict=True), (forward(x), *backward(dy, x)), strict=True):
        np.testing.assert_array_equal(large, np.stack(one))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [1, 4])
def test_memory_that_begins_within_a_value_takes_large_results(dtype, offset):
    x = np.random.default_rng(3).standard_normal((3, 2, 1 << 20)).astype(dtype)
    weight = np.asarray([0.25, -2], dtype)
    calls = [(F.prelu, (x, weight))] + [
        (getattr(F, name), (x,))
        for name in ("relu", "relu6", "leaky_relu", "hardswish", "hardsigmoid", "hardtanh")
    ]
    for function, arguments in calls:
        out = np.empty(x.nbytes + offset, np.uint8)[offset:].view(dtype).reshape(x.shape)
        function(*arguments, out=out)
        np.testing.assert_array_equal(out, function(*arguments), err_msg=function.__name__)


@pytest.mark.parametrize("op", ["batch_norm", "group_norm", "instance_norm", "prelu"])
def test_operations_on_each_sample(op):
    x, dy = arrays()
    w, b, mean, var = map(per_channel, range(4))
    arguments = {
        "batch_norm": (mean, var, w, b),
        "group_norm": (2, w, b),
        "instance_norm": (None, None, w, b),
        "prelu": (w,),
    }[op]
    forward, backward = getattr(F, op), getattr(F, f"{op}_backward")
    expected = np.stack([forward(a[None], *arguments)[0] for a in x])
    np.testing.assert_array_equal(forward(x, *arguments), expected)
    pieces = zip(x, dy, strict=True)
    expected = np.stack([backward(g[None], a[None], *arguments)[0][0] for a, g in pieces])
    np.testing.assert_array_equal(backward(dy, x, *arguments)[0], expected)


def test_gradients_of_nll_loss():
    rows, classes = 4099, 1031
    labels = np.random.default_rng(1).integers(0, classes, rows)
    labels[7] = -100
    (dx,) = F.nll_loss_backward(1.0, np.zeros((rows, classes), np.float32), labels, reduction="sum")
    expected = np.zeros_like(dx)
    counted = labels >= 0
    expected[np.arange(rows)[counted], labels[counted]] = -1
    np.testing.assert_array_equal(dx, expected)
