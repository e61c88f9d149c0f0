import itertools

import numpy as np
import piste
import piste.functional as F
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import losses as reference
from tolerances import DIRECT

SHAPES = [(), (1,), (33,), (3, 5), (0, 2), (7, 1, 3), (2, 1, 2, 1, 2, 1, 2)]


def problem(dtype=np.float64, shapes=SHAPES, seed=0):
    rng = np.random.default_rng(seed)
    return [
        [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in shapes] for _ in range(3)
    ]


OPTIONS = [
    {"lr": lr, "momentum": m, "dampening": d, "weight_decay": w, "nesterov": n, "maximize": x}
    for lr, m, d, w, n, x in itertools.product(
        [0.1], [0.0, 0.9], [0.0, 0.3], [0.0, 0.01], [False, True], [False, True]
    )
    if not n or (m and not d)
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(map(str, o.values())))
def test_steps_follow_the_formula(dtype, options):
    params, grads, _ = problem(dtype)
    buffers = [None] * len(params)
    expected = [(p.astype(float), None) for p in params]
    for _ in range(3):
        F.sgd_(params, grads, buffers, **options)
        expected = [
            reference.sgd(p, g.astype(float), b, **options)
            for (p, b), g in zip(expected, grads, strict=True)
        ]
    tolerance = DIRECT[np.dtype(dtype)]
    for p, b, (wanted_p, wanted_b) in zip(params, buffers, expected, strict=True):
        tolerance.check(p, wanted_p, 1.0)
        if options["momentum"]:
            assert b.dtype == dtype
            tolerance.check(b, wanted_b, 1.0)
        else:
            assert b is None


def test_buffers_that_are_given_are_used_and_updated_in_place():
    params, grads, buffers = problem()
    kept = list(buffers)
    options = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0}
    options |= {"nesterov": False, "maximize": False}
    expected = [
        reference.sgd(p, g, b, **options) for p, g, b in zip(params, grads, buffers, strict=True)
    ]
    assert F.sgd_(params, grads, buffers, **options) is None
    for b, before, p, (wanted_p, wanted_b) in zip(buffers, kept, params, expected, strict=True):
        assert b is before
        DIRECT[b.dtype].check(b, wanted_b, 1.0)
        DIRECT[b.dtype].check(p, wanted_p, 1.0)


def test_views_are_updated_where_they_lie():
    whole = np.arange(48.0).reshape(6, 8)
    before = whole.copy()
    views = [whole[:, 0], whole[::-1, 2:4], whole.T[5:, ::2]]
    big_endian = np.arange(3.0).astype(">f8")
    grads = [np.ones(view.shape) for view in views] + [np.ones(3)]
    F.sgd_([*views, big_endian], grads, None, lr=1)
    for view in (before[:, 0], before[::-1, 2:4], before.T[5:, ::2]):
        view -= 1
    np.testing.assert_array_equal(whole, before)
    np.testing.assert_array_equal(big_endian, [-1, 0, 1])


def test_float32_and_float64_together_and_a_gradient_of_none():
    params = [np.ones(2, np.float32), np.ones(3), np.ones(4)]
    F.sgd_(params, [np.ones(2, np.float32), None, np.ones(4)], [None] * 3, lr=0.5)
    assert [float(p[0]) for p in params] == [0.5, 1, 0.5]
    F.sgd_([], [], [], lr=0.5)
    buffers = [None] * 3
    F.sgd_(params, [np.ones(2, np.float32), None, np.ones(4)], buffers, lr=0.5, momentum=0.5)
    assert [b is None for b in buffers] == [False, True, False]


def test_gradients_may_share_memory_with_parameters():
    memory = np.arange(20.0)
    expected = memory.copy()
    expected[1:] -= 0.5 * memory[:-1]
    F.sgd_([memory[1:]], [memory[:-1]], None, lr=0.5)
    np.testing.assert_array_equal(memory, expected)
    same = np.arange(4.0)
    F.sgd_([same], [same], None, lr=1)
    np.testing.assert_array_equal(same, 0)


@given(
    sizes=st.lists(st.integers(0, 40000), max_size=6),
    threads=st.integers(2, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_same_bits_on_any_number_of_threads(sizes, threads, seed):
    before, results = piste.get_num_threads(), []
    try:
        for n in (1, threads):
            piste.set_num_threads(n)
            params, grads, buffers = problem(np.float32, [(size,) for size in sizes], seed)
            F.sgd_(params, grads, buffers, lr=0.1, momentum=0.9, weight_decay=0.01)
            results.append(params + buffers)
    finally:
        piste.set_num_threads(before)
    for got, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_nan_and_infinity_go_through():
    for at in range(21):
        p, g = np.ones(21, np.float32), np.zeros(21, np.float32)
        g[at] = np.nan
        F.sgd_([p], [g], None, lr=1)
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(p)), [at])
        g[at] = np.inf
        p = np.ones(21, np.float32)
        F.sgd_([p], [g], None, lr=1)
        np.testing.assert_array_equal(np.flatnonzero(p == -np.inf), [at])


ONE, TWO = np.ones(3), np.ones(3)
FROZEN = np.ones(3)
FROZEN.flags.writeable = False
F32 = np.ones(3, np.float32)
INERTIA = {"momentum": 0.9}
MEMORY = np.ones(8)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([ONE], [ONE, ONE]), {}, ValueError, "grads: expected 1 arrays, got 2"),
        (([ONE], [ONE], [None, None]), INERTIA, ValueError, "momentum_buffers: expected 1 arrays"),
        (([ONE], [ONE], None), INERTIA, ValueError, "momentum_buffers: expected a list"),
        (([ONE], [ONE], (None,)), INERTIA, TypeError, "momentum_buffers: expected a list, into"),
        (([[1.0]], [[1.0]]), {}, TypeError, r"params\[0\]: expected a NumPy array to update, got"),
        (([ONE, FROZEN], [ONE, ONE]), {}, ValueError, r"params\[1\]: the array is read-only"),
        (([ONE], [ONE], [FROZEN]), INERTIA, ValueError, r"momentum_buffers\[0\]: .* read-only"),
        (([np.ones(3, int)], [ONE]), {}, TypeError, r"params\[0\]: expected dtype float32 or"),
        (([ONE], [F32]), {}, TypeError, r"grads\[0\]: expected dtype float64 .*, got float32"),
        (([ONE], [ONE], [F32]), INERTIA, TypeError, r"momentum_buffers\[0\]: expected dtype"),
        (([ONE], [np.ones(2)]), {}, ValueError, r"grads\[0\]: expected shape \(3,\), got \(2,\)"),
        (([ONE], [ONE], [np.ones(4)]), INERTIA, ValueError, r"momentum_buffers\[0\]: .*\(3,\)"),
        (([ONE, ONE], [TWO, TWO]), {}, ValueError, r"params\[\d\]: shares memory with params"),
        (([ONE], [TWO], [ONE]), INERTIA, ValueError, "shares memory with"),
        (
            ([MEMORY[:5], MEMORY[6:], MEMORY[4:6]], [MEMORY[:5], MEMORY[6:], MEMORY[4:6]]),
            {},
            ValueError,
            r"params\[2\]: shares memory with params\[0\]",
        ),
        ((iter([ONE]), [TWO]), {}, TypeError, "params: expected a list of arrays, got list_iter"),
        (
            ([ONE], iter([TWO])),
            {},
            TypeError,
            "grads: expected a list of arrays, got list_iterator",
        ),
        (([ONE], {"0": TWO}), {}, TypeError, "grads: expected a list of arrays, got dict"),
        (([ONE], [TWO]), {"lr": -1}, ValueError, "lr: expected a finite number of at least 0"),
        (([ONE], [TWO]), {"lr": np.inf}, ValueError, "lr: expected a finite number"),
        (([ONE], [TWO]), {"lr": "a"}, TypeError, "lr: expected a number"),
        (([ONE], [TWO]), {"momentum": -0.1}, ValueError, "momentum: expected a finite number"),
        (([ONE], [TWO]), {"weight_decay": np.nan}, ValueError, "weight_decay: expected a number"),
        (([ONE], [TWO]), {"dampening": -np.inf}, ValueError, "dampening: expected a finite"),
        (([ONE], [TWO]), {"nesterov": True}, ValueError, "nesterov: expected a momentum above 0"),
        (
            ([ONE], [TWO], [None]),
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            ValueError,
            "nesterov: expected a momentum above 0 and no dampening",
        ),
    ],
)
def test_what_is_refused_changes_nothing(arguments, options, error, message):
    params, grads, *buffers = arguments
    with pytest.raises(error, match=message):
        F.sgd_(params, grads, *(buffers or [None]), **{"lr": 0.1, **options})
    for array in (ONE, TWO, FROZEN, F32, MEMORY):
        np.testing.assert_array_equal(array, 1)
    for entry in buffers:
        assert entry is None or all(b is None or (b == 1).all() for b in entry)


def test_columns_of_one_matrix_share_no_memory():
    matrix = np.ones((5, 3))
    F.sgd_([matrix[:, 0], matrix[:, 2]], [np.ones(5)] * 2, None, lr=1)
    np.testing.assert_array_equal(matrix, [[0, 1, 0]] * 5)


def test_gradients_of_a_model_by_name():
    weight = np.ones(3)
    F.sgd_([weight], {"weight": np.ones(3)}.values(), lr=1)
    np.testing.assert_array_equal(weight, 0)
