"""Layers forward, piste beside NumPy: `pytest bench`."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Case, layer_arrays, layer_cases
from numpy.lib.stride_tricks import sliding_window_view
from piste import functional as F

CASES = [case for case in layer_cases() if case["direction"] == "forward"]


def piste_layer(case: Case, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    if case["kind"] == "linear":
        return F.linear(x, weight, bias)
    return F.conv2d(
        x, weight, bias, stride=case["stride"], padding=case["padding"], groups=case["groups"]
    )


def numpy_layer(case: Case, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    if case["kind"] == "linear":
        return x @ weight.T + bias
    pad, stride, kernel = case["padding"], case["stride"], case["kernel"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(padded, (kernel, kernel), (2, 3))[:, :, ::stride, ::stride]
    if case["groups"] > 1:  # depthwise
        y = np.einsum("nchwij,cij->nchw", windows, weight[:, 0])
    else:
        y = np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return y + bias[:, None, None]


@pytest.mark.parametrize("layer", [piste_layer, numpy_layer], ids=["piste", "numpy"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_forward(benchmark, case, layer):
    x, weight, bias, _ = layer_arrays(case)
    expected = numpy_layer(case, x, weight, bias)
    np.testing.assert_allclose(layer(case, x, weight, bias), expected, rtol=1e-4, atol=5e-5)
    benchmark.group = case["name"]
    benchmark(layer, case, x, weight, bias)
