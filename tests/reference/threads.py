"""What is computed on several numbers of threads."""

import numpy as np
import piste


def on_each(compute, counts=range(1, 9)):
    """The results of `compute()`, one for each number of threads."""
    before = piste.get_num_threads()
    results = []
    try:
        for n in counts:
            piste.set_num_threads(n)
            results.append(compute())
    finally:
        piste.set_num_threads(before)
    return results


def check_same_bits(compute, counts=range(1, 9)):
    """`compute()` gives the same arrays on any number of threads."""
    first, *others = on_each(compute, counts)
    for result in others:
        for got, expected in zip(result, first, strict=True):
            np.testing.assert_array_equal(got, expected)
