"""Large results take memory that earlier ones gave back, and never share it with live ones."""

import pickle

import numpy as np
import piste.functional as F
import pytest
from piste._arrays import empty

LARGE = (300, 1000)  # 1.2 MB of float32


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back():
    x = np.ones(LARGE, np.float32)
    y = F.relu(x)
    first = address(y)
    assert first % 64 == 0
    del y
    assert address(F.relu(x)) == first
    other = F.relu(x)
    y = F.relu(x)
    last = address(y)
    del other, y  # two alike: the one given back last is taken
    assert address(F.relu(x)) == last


@pytest.mark.parametrize("keep", [lambda y: y, lambda y: y[7], lambda y: y.reshape(-1).view("i4")])
def test_memory_in_use_stays(keep):
    y = empty(LARGE, np.float32)
    y[...] = 7
    kept = keep(y)
    expected = kept.copy()
    del y
    for _ in range(3):
        empty(LARGE, np.float32)[...] = 8
    np.testing.assert_array_equal(kept, expected)


def test_many_results_live_side_by_side():
    results = [empty(LARGE, np.float32) for _ in range(40)]
    for i, result in enumerate(results):
        result[...] = i
    assert [result.min() == result.max() == i for i, result in enumerate(results)] == [True] * 40


def test_a_result_takes_no_memory_that_is_much_larger_than_it():
    large = empty((20, *LARGE), np.float32)
    first, end = address(large), address(large) + large.nbytes
    del large
    small = empty(LARGE, np.float32)
    assert not first <= address(small) < end


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), LARGE, (1 << 25,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_arrays_are_as_others(shape, dtype):
    array = empty(shape, dtype)
    assert (array.shape, array.dtype, type(array)) == (shape, np.dtype(dtype), np.ndarray)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned


def test_results_pickle_as_others():
    array = empty(LARGE, np.float32)
    array[...] = 3
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)), array)
