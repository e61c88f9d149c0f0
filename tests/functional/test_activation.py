import numpy as np
import piste.functional as F
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import activation as reference
from tolerances import DIRECT

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@given(n=st.integers(0, 200), seed=st.integers(0, 2**32 - 1))
def test_relu(dtype, n, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((2, n)).astype(dtype)
    DIRECT[np.dtype(dtype)].check(F.relu(x), reference.relu(x))
    (dx,) = F.relu_backward(dy, x)
    DIRECT[np.dtype(dtype)].check(dx, reference.relu_backward(dy, x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("at", range(40))
def test_relu_keeps_nan_in_every_lane_and_tail(dtype, at):
    x = np.ones(40, dtype)
    x[at] = np.nan
    assert np.isnan(F.relu(x)[at])
    assert np.isnan(F.relu(x)).sum() == 1
