"""What importing the package loads, and how many threads it then uses."""

import os
import subprocess
import sys

import numpy as np
import piste
import pytest
from piste import _core


def python(code, **environment):
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize(
    "module",
    ["safetensors", "matplotlib", "tqdm", "argparse", "json", "pathlib", "secrets", "numpy.random"],
)
def test_import_leaves_alone(module):
    # What NumPy or the interpreter's start-up has loaded before is not the package's doing.
    code = (
        "import sys, numpy; before = set(sys.modules); import piste; "
        f"print({module!r} in set(sys.modules) - before)"
    )
    assert python(code) == "False"


def threads(**environment):
    return int(python("import piste; print(piste.get_num_threads())", **environment))


def test_threads_by_default_are_the_cpus_granted():
    assert threads() == _core.available_cpus()


@pytest.mark.parametrize("n", [1, 3, 1024])
def test_piste_num_threads_decides(n):
    assert threads(PISTE_NUM_THREADS=str(n)) == n
    assert threads(PISTE_NUM_THREADS=str(n), OMP_NUM_THREADS="2") == n


def test_omp_num_threads_only_lowers():
    assert threads(OMP_NUM_THREADS="1") == 1
    assert threads(OMP_NUM_THREADS="1,4") == 1
    assert threads(OMP_NUM_THREADS="1024") == _core.available_cpus()


@pytest.mark.parametrize("text", ["", "0", "-2", "many", "1025"])
def test_a_number_of_threads_that_is_none_counts_as_unset(text):
    assert threads(PISTE_NUM_THREADS=text) == _core.available_cpus()


@pytest.mark.parametrize("n", [0, -1, 1025])
def test_set_num_threads_out_of_range(n):
    before = piste.get_num_threads()
    with pytest.raises(ValueError, match=f"n: expected 1 to 1024 threads, got {n}"):
        piste.set_num_threads(n)
    assert piste.get_num_threads() == before


@pytest.mark.parametrize("n", [1.5, "2", None, np.float32(2)])
def test_set_num_threads_of_another_type(n):
    before = piste.get_num_threads()
    with pytest.raises(TypeError, match="n: expected a whole number of threads, got"):
        piste.set_num_threads(n)
    assert piste.get_num_threads() == before


def test_set_num_threads():
    before = piste.get_num_threads()
    try:
        piste.set_num_threads(np.int64(3))
        assert piste.get_num_threads() == 3
    finally:
        piste.set_num_threads(before)
