"""Data sets; files that are broken are tested with the command line."""

import numpy as np
import pytest
from piste.data import load_digits, load_npz


@pytest.mark.parametrize("share", [0, 1, -0.5, 2, float("nan")])
def test_shares_that_leave_nothing(share):
    with pytest.raises(ValueError, match="test_share: expected a share between 0 and 1, got"):
        load_digits(share)


@pytest.mark.parametrize("share", ["a", None, [0.2]])
def test_shares_that_are_no_numbers(share):
    with pytest.raises(TypeError, match="test_share: expected a number, got"):
        load_digits(share)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), ("a", TypeError), (0.5, TypeError)])
def test_seeds_that_are_none(seed, error):
    with pytest.raises(error, match="seed: expected an integer"):
        load_digits(seed=seed)


def test_the_digits():
    data = load_digits()
    assert data.x_train.shape == (1438, 8, 8)
    assert data.x_test.shape == (359, 8, 8)
    assert data.x_train.dtype == np.uint8
    assert data.x_train.max() == 255
    np.testing.assert_array_equal(
        np.bincount(np.concatenate([data.y_train, data.y_test])),
        [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
    )
    other = load_digits(seed=1)
    assert not np.array_equal(other.y_test, data.y_test)


def test_a_missing_and_a_partial_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz: no such file"):
        load_npz(tmp_path / "none.npz")
    np.savez(tmp_path / "partial.npz", x_train=np.zeros(3), extra=np.zeros(3))
    with pytest.raises(ValueError, match=r"missing \['y_train', 'x_test', 'y_test'\]"):
        load_npz(tmp_path / "partial.npz")


def test_other_arrays_in_the_file_are_not_read(tmp_path):
    arrays = dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), np.arange(3))
    np.savez(tmp_path / "more.npz", pickled=np.array([{}], object), **arrays)
    np.testing.assert_array_equal(load_npz(tmp_path / "more.npz").x_test, [0, 1, 2])
