"""The benchmark programs run, and hold what they say they hold."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def run(program, *options):
    command = [sys.executable, str(BENCH / program), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86's sets have limits")
def test_every_system_is_held_to_one_instruction_set():
    options = ("--only", "steps", "--case", "logistic", "--rounds", "1", "--seconds", "0")
    text = run(
        "compare.py", sys.executable, *options, "--peers", "onnxruntime", "--isa", "baseline"
    )
    heading, _, row = text.splitlines()[:3]
    assert ", every system held to baseline, " in heading
    assert heading.endswith("(baseline)")
    assert row.startswith("logistic batch 64 ")


def test_the_profile_has_one_row_per_layer_and_pass():
    text = run("profile_step.py", "--case", "cifar", "--seconds", "0", "--peak", "100", "10")
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| ")]
    layers = [tuple(row) for row in rows if row[0].strip("| ") in ("forward", "backward")]
    assert ("| backward", "13") in layers
    assert len(set(layers)) == len(layers)
