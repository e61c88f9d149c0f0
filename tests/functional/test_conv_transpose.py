import numpy as np
import piste.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.threads import check_same_bits
from tolerances import DIRECT

DTYPES = [np.float32, np.float64]


def transposed(x, weight, bias, stride, pads, further, groups, dilation, grad_output=None):
    """The output; with ``grad_output``, the gradients (dx, dweight, dbias) instead.

    Each input value adds its kernel to the output, one after the other.
    """
    x, weight = np.asarray(x, float), np.asarray(weight, float)
    samples, channels, *size = x.shape
    per_group, kernel = weight.shape[1], weight.shape[2:]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(size, stride, reach, strict=True)]
    out = [n - 2 * p + f for n, p, f in zip(full, pads, further, strict=True)]
    room = [max(n, p + o) for n, p, o in zip(full, pads, out, strict=True)]
    inner = tuple(slice(p, p + o) for p, o in zip(pads, out, strict=True))
    y = np.zeros((samples, per_group * groups, *room))
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    if grad_output is not None:
        y[(slice(None), slice(None), *inner)] = grad_output
    for place in np.ndindex(*size):
        at = tuple(
            slice(i * s, i * s + r, d)
            for i, s, r, d in zip(place, stride, reach, dilation, strict=True)
        )
        for c in range(channels):
            first = c // (channels // groups) * per_group
            window = (slice(None), slice(first, first + per_group), *at)
            value = x[(slice(None), c, *place)]
            if grad_output is None:
                y[window] += np.multiply.outer(value, weight[c])
            else:
                dx[(slice(None), c, *place)] = (y[window] * weight[c]).sum(tuple(range(1, y.ndim)))
                dweight[c] += np.tensordot(value, y[window], 1)
    if grad_output is not None:
        return dx, dweight, grad_output.astype(float).sum((0, *range(2, y.ndim)))
    y = y[(slice(None), slice(None), *inner)]
    return y if bias is None else y + np.reshape(bias, (-1, *[1] * len(out)))


@st.composite
def problems(draw):
    axes = draw(st.sampled_from([1, 2, 2, 3]))
    several = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    kernel, dilation, stride, size = several(1, 4), several(1, 3), several(1, 3), several(1, 5)
    further = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    pads = tuple(
        draw(st.integers(0, max((n - 1) * s + d * (k - 1) + f, 0) // 2))
        for n, s, d, k, f in zip(size, stride, dilation, kernel, further, strict=True)
    )
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 9))
    return {
        "x": (draw(st.integers(0, 5)), channels, *size),
        "weight": (channels, draw(st.integers(1, 10)), *kernel),
        "options": (stride, pads, further, groups, dilation),
        "bias": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=80)
@given(problem=problems())
def test_output_and_gradients(dtype, problem):
    rng = np.random.default_rng(problem["seed"])
    x = rng.standard_normal(problem["x"]).astype(dtype)
    weight = rng.standard_normal(problem["weight"]).astype(dtype)
    options = problem["options"]
    filters = weight.shape[1] * options[3]
    bias = rng.standard_normal(filters).astype(dtype) if problem["bias"] else None
    name = f"conv_transpose{x.ndim - 2}d"
    expected = transposed(x, weight, bias, *options)
    tolerance = DIRECT[np.dtype(dtype)]
    # Sums of up to so many products of standard normal numbers.
    scale = (weight.size / weight.shape[1] / options[3]) ** 0.5
    y = getattr(F, name)(x, weight, bias, *options)
    assert y.dtype == dtype
    tolerance.check(y, expected, scale)
    if len(x):
        np.testing.assert_array_equal(getattr(F, name)(x[0], weight, bias, *options), y[0])
    dy = rng.standard_normal(expected.shape).astype(dtype)
    dx, dw, db = getattr(F, name + "_backward")(dy, x, weight, bias, *options)
    gradients = transposed(x, weight, bias, *options, grad_output=dy)
    tolerance.check(dx, gradients[0], weight[0].size ** 0.5)
    tolerance.check(dw, gradients[1], (x.size / max(x.shape[1], 1)) ** 0.5)
    if bias is None:
        assert db is None
    else:
        tolerance.check(db, gradients[2], (dy.size / filters) ** 0.5)


def test_it_is_the_gradient_of_a_convolution():
    rng = np.random.default_rng(0)
    image, weight = rng.standard_normal((2, 6, 9, 8)), rng.standard_normal((5, 6, 3, 2))
    dy = rng.standard_normal(F.conv2d(image, weight, stride=2, padding=1).shape)
    (expected, *_) = F.conv2d_backward(dy, image, weight, stride=2, padding=1)
    y = F.conv_transpose2d(dy, weight, stride=2, padding=1, output_padding=(0, 0))
    np.testing.assert_allclose(y, expected[:, :, : y.shape[2], : y.shape[3]])


def test_any_memory_layout_and_out():
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((3, 4, 6, 5)), rng.standard_normal((4, 2, 3, 3))
    expected = F.conv_transpose2d(x, weight, stride=2)
    for other in (np.asfortranarray(x), np.ascontiguousarray(x[::-1])[::-1], x.astype(">f8")):
        np.testing.assert_array_equal(F.conv_transpose2d(other, weight, stride=2), expected)
    out = np.empty(expected.shape[::-1]).T
    assert F.conv_transpose2d(x, weight, stride=2, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_same_bits_on_any_number_of_threads(algorithm):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((13, 20, 15, 15)).astype(np.float32)
    weight = rng.standard_normal((20, 37, 3, 3)).astype(np.float32)
    bias = np.ones(37, np.float32)

    def compute():
        y = F.conv_transpose2d(x, weight, bias, algorithm=algorithm)
        backward = F.conv_transpose2d_backward(y, x, weight, bias, algorithm=algorithm)
        return (y, *backward)

    check_same_bits(compute, (1, 2, 3, 8))


X, W = np.zeros((2, 4, 6, 6)), np.zeros((4, 8, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, W.astype(np.float32)), TypeError, "weight: expected dtype float64"),
        ((X[0, 0], W), ValueError, r"input: expected shape \(\[n,\] channels, height, width\)"),
        ((X, W[0]), ValueError, "weight: expected 4 dimensions"),
        ((X[:, :3], W), ValueError, "does not fit 3 input channels in 1 groups"),
        ((X[..., :0], W), ValueError, "only the batch may be empty"),
        ((X, W, np.zeros(7)), ValueError, r"bias: expected shape \(8,\), got \(7,\)"),
        ((X, W, None, 0), ValueError, "stride: expected an integer from 1"),
        ((X, W, None, 1, -1), ValueError, "padding: expected an integer from 0"),
        ((X, W, None, 1, "same"), TypeError, "padding: expected an integer or 2 integers"),
        ((X, W, None, 1, 4), ValueError, r"padding: \(4, 4\) leaves an output of \(0, 0\)"),
        ((X, W, None, 2, 0, 2), ValueError, "output_padding: expected less than stride"),
        ((X, W, None, 1, 0, 0, 3), ValueError, "does not fit 4 input channels in 3 groups"),
        ((X, W, None, 1, 0, 0, 1, 0), ValueError, "dilation: expected an integer from 1"),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        F.conv_transpose2d(*arguments)
