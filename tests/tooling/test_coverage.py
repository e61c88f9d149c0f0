"""What the interface promises is there, with its gradient and inside plans."""

import subprocess
import sys

import pytest
from piste import coverage, functional, nn

# Operations with one name per number of axes.
WITH_AXES = [
    "conv",
    "conv_transpose",
    "max_pool",
    "avg_pool",
    "adaptive_avg_pool",
    "adaptive_max_pool",
]
OTHERS = [
    "linear",
    "batch_norm",
    "layer_norm",
    "group_norm",
    "instance_norm",
    "local_response_norm",
    "dropout",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "hardswish",
    "hardsigmoid",
    "hardtanh",
    "tanhshrink",
    "softsign",
    "prelu",
    "sigmoid",
    "tanh",
    "softmax",
    "log_softmax",
    "logsigmoid",
    "threshold",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "poisson_nll_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "soft_margin_loss",
    "multi_margin_loss",
    "least_squares_loss",
]
ENTRIES = {entry.name: entry for entry in coverage.entries()}


def test_the_table_has_what_is_promised_and_nothing_else():
    assert sorted(ENTRIES) == sorted(WITH_AXES + OTHERS)


@pytest.mark.parametrize("name", WITH_AXES + OTHERS)
def test_every_operation_is_complete(name):
    entry = ENTRIES[name]
    assert entry.backward
    assert entry.layers
    if name in WITH_AXES:
        assert entry.axes == "1 2 3"
        assert len(entry.layers) == 3


def test_norms_have_a_layer_per_number_of_axes():
    for name in ("batch_norm", "instance_norm"):
        assert [layer[-2] for layer in ENTRIES[name].layers] == ["1", "2", "3"]


def test_every_layer_is_an_operation_or_known_to_be_none():
    layers = {layer for entry in ENTRIES.values() for layer in entry.layers}
    classes = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)}
    assert classes - layers == {
        "Concat", "Flatten", "Identity", "Loss", "Module", "Residual", "Sequential", "Summary",
        "Unflatten",
    }  # fmt: skip


def test_the_module_prints_the_table():
    command = [sys.executable, "-m", "piste.coverage"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == coverage.table()
    rows = printed.strip().splitlines()[2:]
    assert len(rows) == len(ENTRIES)
    conv = next(row for row in rows if row.startswith("| conv |"))
    assert conv.startswith("| conv | 1 2 3 | stride, padding, dilation, groups, algorithm | yes |")
    assert set(functional.__all__) >= {name + "_backward" for name in OTHERS}
