"""Linear maps. The sizes reach every manner of product (dot products, streams, panels, turned or
not, split along the depth) and every kind of tail."""

import os
import subprocess
import sys

import numpy as np
import piste.functional as F
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from piste import _core
from reference import linear as reference
from reference.differences import gradient
from reference.exported import Exported
from reference.threads import check_same_bits
from tolerances import CENTRAL_DIFFERENCE, DIRECT

DTYPES = [np.float32, np.float64]


def problem(rows, inside, outside, dtype, seed=0):
    """Input, weight, bias and output gradient of standard normal numbers."""
    rng = np.random.default_rng(seed)
    shapes = (rows, inside), (outside, inside), (outside,), (rows, outside)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def check(x, weight, bias, dy):
    """Forward and backward against the reference."""
    tolerance = DIRECT[x.dtype]
    rows, (outside, inside) = len(x), weight.shape
    tolerance.check(F.linear(x, weight, bias), reference.linear(x, weight, bias), inside**0.5)
    tolerance.check(F.linear(x, weight), reference.linear(x, weight), inside**0.5)
    dx, dw, db = F.linear_backward(dy, x, weight, bias)
    expected = reference.linear_backward(dy, x, weight)
    tolerance.check(dx, expected[0], outside**0.5)
    tolerance.check(dw, expected[1], rows**0.5)
    tolerance.check(db, expected[2], rows**0.5)


SIZES = [
    (1, 1, 1), (1, 10, 10), (1, 4096, 11), (3, 2, 4100), (7, 513, 31), (8, 84, 10), (9, 40, 12),
    (64, 784, 10), (65, 129, 131), (100, 3, 2), (127, 257, 255), (300, 64, 65), (515, 70, 300),
    (1500, 9, 9), (4099, 10, 9), (4100, 1, 1), (9000, 3, 2),
    (11, 19, 321), (70, 33, 645), (130, 517, 335),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "x".join(map(str, sizes)))
def test_grid(dtype, sizes):
    check(*problem(*sizes, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    rows=st.integers(0, 70),
    inside=st.integers(0, 70),
    outside=st.integers(0, 70),
    seed=st.integers(0, 2**32 - 1),
)
@example(rows=5, inside=0, outside=3, seed=0)
def test_random_sizes(dtype, rows, inside, outside, seed):
    check(*problem(rows, inside, outside, dtype, seed))


@pytest.mark.parametrize("lead", [(), (1,), (2, 3), (2, 0, 3), (1, 2, 1, 2, 1, 2, 1)])
@pytest.mark.parametrize("outside", [(), (4,)])
def test_leading_axes_and_a_weight_of_one_axis(lead, outside):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((*lead, 5)), rng.standard_normal((*outside, 5))
    bias, dy = rng.standard_normal(outside), rng.standard_normal((*lead, *outside))
    tolerance = DIRECT[np.dtype(float)]
    y = F.linear(x, weight, bias)
    assert y.shape == lead + outside
    tolerance.check(y, reference.linear(x, weight, bias))
    gradients = F.linear_backward(dy, x, weight, bias)
    expected = reference.linear_backward(dy, x, weight)
    for got, wanted in zip(gradients, expected, strict=True):
        tolerance.check(got, wanted)
    assert F.linear_backward(dy, x, weight)[2] is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (0,)])
def test_one_bias_for_all_features(dtype, shape, lead):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((*lead, 4)).astype(dtype), np.ones((5, 4), dtype)
    bias, dy = np.full(shape, 0.75, dtype), rng.standard_normal((*lead, 5)).astype(dtype)
    np.testing.assert_array_equal(
        F.linear(x, weight, bias), F.linear(x, weight, np.full(5, bias, dtype))
    )
    dx, dw, db = F.linear_backward(dy, x, weight, bias)
    for got, wanted in zip((dx, dw), F.linear_backward(dy, x, weight), strict=False):
        np.testing.assert_array_equal(got, wanted)
    assert (db.shape, db.dtype) == (shape, dtype)
    np.testing.assert_array_equal(F.linear_backward(dy, x, weight, Exported(bias))[2], db)
    DIRECT[np.dtype(dtype)].check(db.reshape(1), np.array([dy.sum(dtype=float)]), 1.0)


def test_gradients_by_central_differences():
    x, weight, bias, dy = problem(3, 5, 4, np.float64)
    dx, dw, db = F.linear_backward(dy, x, weight, bias)
    CENTRAL_DIFFERENCE.check(dx, gradient(lambda v: F.linear(v, weight, bias), x, dy))
    CENTRAL_DIFFERENCE.check(dw, gradient(lambda v: F.linear(x, v, bias), weight, dy))
    CENTRAL_DIFFERENCE.check(db, gradient(lambda v: F.linear(x, weight, v), bias, dy))


def variants(x):
    """The same values in other memory."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]
    yield np.ascontiguousarray(x[::-1])[::-1]
    yield np.asfortranarray(x)
    yield x.astype(x.dtype.newbyteorder(">"))
    yield np.broadcast_to(x, (2, *x.shape))[1]
    frozen = x.copy()
    frozen.flags.writeable = False
    yield frozen


def test_any_memory_layout():
    x, weight, bias, dy = problem(6, 9, 5, np.float32)
    y, gradients = F.linear(x, weight, bias), F.linear_backward(dy, x, weight, bias)
    for other in variants(x):
        np.testing.assert_array_equal(F.linear(other, weight, bias), y)
    for other in variants(weight):
        np.testing.assert_array_equal(F.linear(x, other, bias), y)
    for other in variants(dy):
        for got, expected in zip(F.linear_backward(other, x, weight, bias), gradients, strict=True):
            np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(F.linear(x.tolist(), weight.astype(float)).shape, y.shape)


def test_out():
    x, weight, bias, _ = problem(6, 6, 6, np.float32)
    expected = F.linear(x, weight, bias)
    out = np.empty_like(expected)
    assert F.linear(x, weight, bias, out=out) is out
    np.testing.assert_array_equal(out, expected)
    turned = np.empty_like(expected).T
    assert F.linear(x, weight, bias, out=turned) is turned
    np.testing.assert_array_equal(turned, expected)
    assert F.linear(x, weight, bias, out=x) is x  # overlaps an input
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_features_give_the_bias_and_no_samples_no_gradient(dtype):
    x, weight, bias, dy = problem(4, 0, 3, dtype)
    np.testing.assert_array_equal(F.linear(x, weight, bias), np.broadcast_to(bias, (4, 3)))
    np.testing.assert_array_equal(F.linear(x, weight), np.zeros((4, 3)))
    assert [g.shape for g in F.linear_backward(dy, x, weight, bias)] == [(4, 0), (3, 0), (3,)]
    for sizes in (0, 5, 3), (0, 40, 50), (2, 5, 0):
        x, weight, bias, dy = problem(*sizes, dtype)
        assert F.linear(x, weight, bias).shape == dy.shape
        for gradient_, like in zip(
            F.linear_backward(dy, x, weight, bias), (x, weight, bias), strict=True
        ):
            np.testing.assert_array_equal(gradient_, np.zeros_like(like))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "sizes", [(1, 19, 9), (5, 40, 37), (7, 300, 9), (70, 41, 39), (300, 41, 39)]
)
def test_what_is_not_finite_stays_in_its_rows_and_columns(sizes, bad):
    """In every lane and tail: the values around it must not meet it, not even times zero."""
    x, weight, bias, dy = problem(*sizes, np.float32)
    rows, inside, outside = sizes
    rng = np.random.default_rng(1)
    for row, column, k in zip(
        rng.permutation(rows)[:4], rng.permutation(inside), rng.permutation(outside), strict=False
    ):
        broken = x.copy()
        broken[row, column] = bad
        hit = np.zeros(dy.shape, bool)
        hit[row] = True
        np.testing.assert_array_equal(~np.isfinite(F.linear(broken, weight, bias)), hit)
        hit = np.zeros(weight.shape, bool)
        hit[:, column] = True
        np.testing.assert_array_equal(~np.isfinite(F.linear_backward(dy, broken, weight)[1]), hit)
        broken = weight.copy()
        broken[k, column] = bad
        hit = np.zeros(dy.shape, bool)
        hit[:, k] = True
        np.testing.assert_array_equal(~np.isfinite(F.linear(x, broken, bias)), hit)
        hit = np.zeros(x.shape, bool)
        hit[:, column] = True
        np.testing.assert_array_equal(~np.isfinite(F.linear_backward(dy, x, broken)[0]), hit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "sizes",
    [(1, 700, 900), (5, 512, 1024), (40, 300, 500), (400, 260, 250), (6000, 9, 7), (1024, 784, 10)],
    ids=lambda sizes: "x".join(map(str, sizes)),
)
def test_same_bits_on_any_number_of_threads(sizes, dtype):
    x, weight, bias, dy = problem(*sizes, dtype)
    check_same_bits(lambda: (F.linear(x, weight, bias), *F.linear_backward(dy, x, weight, bias)))


@pytest.mark.parametrize("isa", _core.available_isas())
def test_every_instruction_set(isa):
    code = (
        "import numpy as np, test_linear as t\n"
        "for dtype in t.DTYPES:\n"
        "    for sizes in t.SIZES[::2]: t.check(*t.problem(*sizes, dtype))"
    )
    paths = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    environment = os.environ | {"PISTE_ISA": isa, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


X, W, B = np.zeros((2, 4)), np.zeros((3, 4)), np.zeros(3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X.astype(int), W), TypeError, "input: expected dtype float32 or float64, got int64"),
        ((X, W.astype(np.float32)), TypeError, "weight: expected dtype float64 as the input has"),
        ((X, W, B.astype(np.float32)), TypeError, "bias: expected dtype float64 as the input has"),
        ((None, W), TypeError, "input: expected an array, got None"),
        ((X, None), TypeError, "weight: expected an array, got None"),
        ((X, W[None]), ValueError, r"weight: expected shape \(out, in\) or \(in,\), got \(1, 3"),
        ((X, W[0, 0]), ValueError, r"weight: expected shape \(out, in\) or \(in,\), got \(\)"),
        ((X[:, :3], W), ValueError, r"input: expected shape \(..., 4\), got \(2, 3\)"),
        ((X[0, 0], W), ValueError, r"input: expected shape \(..., 4\), got \(\)"),
        ((X, W, np.zeros(2)), ValueError, r"bias: expected shape \(3,\), got \(2,\)"),
        ((X, W[0], B), ValueError, r"bias: expected shape \(\), got \(3,\)"),
        ((X, W[0], B[:1]), ValueError, r"bias: expected shape \(\), got \(1,\)"),
        ((X, W, np.zeros((2, 3))), ValueError, r"bias: expected shape \(3,\), got \(2, 3\)"),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        F.linear(*arguments)


def test_what_is_refused_of_the_gradient_and_out():
    with pytest.raises(ValueError, match=r"grad_output: expected shape \(2, 3\), got \(2, 4\)"):
        F.linear_backward(X, X, W)
    with pytest.raises(TypeError, match="grad_output: expected dtype float64"):
        F.linear_backward(np.zeros((2, 3), np.float32), X, W)
    with pytest.raises(ValueError, match=r"out: expected shape \(2, 3\), got \(3,\)"):
        F.linear(X, W, out=np.empty(3))


def test_the_core_checks_again():
    y = np.empty((2, 3))
    with pytest.raises(ValueError, match=r"\[linear\] expected an input of 4 features"):
        _core.linear(X[:, :3].copy(), W, None, y)
    with pytest.raises(ValueError, match=r"\[linear\] expected a weight \(out, in\) or \(in\)"):
        _core.linear(X, W[None], None, y)
    with pytest.raises(ValueError, match=r"\[linear\] expected an output of shape \(2, 3\)"):
        _core.linear(X, W, None, np.empty((3, 2)))
    with pytest.raises(ValueError, match=r"\[linear\] bias has shape \(4,\), expected \(3,\)"):
        _core.linear(X, W, np.zeros(4), y)
    with pytest.raises(ValueError, match=r"\[linear\] grad_weight has shape \(4, 3\)"):
        _core.linear_backward(y, X, W, np.empty_like(X), np.empty((4, 3)), None)
    with pytest.raises(ValueError, match=r"\[linear\] grad_input has shape \(2, 3\)"):
        _core.linear_backward(y, X, W, np.empty((2, 3)), np.empty_like(W), None)
