"""What importing the package loads, and how many threads it then uses."""

import os
import pkgutil
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


ELSEWHERE = ["safetensors", "matplotlib", "tqdm", "argparse", "json", "pathlib", "secrets"]
ELSEWHERE += ["numpy.random", "dataclasses", "copy"]
LATE = ["_sweep", "callbacks", "checkpoint", "cli", "coverage", "data"]
LATE += ["functional", "history", "models", "nn", "optim", "plan", "plot", "resume", "serialize"]
LATE += ["trainer"]


@pytest.mark.parametrize("module", ELSEWHERE + [f"piste.{name}" for name in LATE])
def test_import_leaves_alone(module):
    # What NumPy or the interpreter's start-up has loaded before is not the package's doing.
    code = (
        "import sys, numpy; before = set(sys.modules); import piste; "
        f"print({module!r} in set(sys.modules) - before)"
    )
    assert python(code) == "False"


LATE_NAMES = {
    "piste.History": "piste.history",
    "piste.Trainer": "piste.trainer",
    "piste.Plan": "piste.plan",
    "piste.plan.PlanStep": "piste.plan",
    "piste.Sweep": "piste._sweep",
    "piste.sweep": "piste._sweep",
    "piste.data.load_digits": "piste.data",
    "piste.models.lenet": "piste.models",
    "piste.callbacks.EarlyStopping": "piste.callbacks",
    "piste.functional.linear": "piste.functional._operations",
    "piste.nn.Summary": "piste.nn._summary",
    "piste.nn.summary": "piste.nn._summary",
}


@pytest.mark.parametrize("name", LATE_NAMES)
def test_late_names_are_there_when_asked_for(name):
    source, own = LATE_NAMES[name], name.rpartition(".")[2]
    code = (
        f"import piste; first, again = {name}, {name}; import {source}; "
        f"print(first is again is {source}.{own})"
    )
    assert python(code) == "True"


@pytest.mark.parametrize("package", ["piste", "piste.functional", "piste.nn"])
def test_dir_and_star_have_the_late_names(package):
    code = (
        f"import {package} as package; print(set(package.__all__) - set(dir(package))); "
        f"from {package} import *; print(set(package.__all__) - set(globals()))"
    )
    assert python(code).split() == ["set()"] * 2


@pytest.mark.parametrize("package", [piste.functional, piste.nn])
def test_no_module_would_take_the_place_of_a_late_name(package):
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert modules
    assert not modules & set(package.__all__)


@pytest.mark.parametrize("package", [piste, piste.functional, piste.nn])
def test_other_names_are_refused_as_by_any_module(package):
    message = f"^module '{package.__name__}' has no attribute 'Sumary'$"
    with pytest.raises(AttributeError, match=message) as caught:
        package.Sumary  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("Sumary", package)


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
def test_an_omp_number_of_threads_that_is_none_counts_as_unset(text):
    assert threads(OMP_NUM_THREADS=text) == _core.available_cpus()


def test_an_empty_piste_num_threads_counts_as_unset():
    assert threads(PISTE_NUM_THREADS="") == _core.available_cpus()


@pytest.mark.parametrize("text", ["0", "-2", "many", "1025", "2.5", "4,2", "4 ", "9" * 30])
def test_a_piste_num_threads_that_is_none_is_refused(text):
    code = """
import piste
for _ in range(2):
    try:
        piste.get_num_threads()
    except ValueError as error:
        print(error)
"""
    message = f"[threads] PISTE_NUM_THREADS={text} is no whole number from 1 to 1024"
    assert python(code, PISTE_NUM_THREADS=text).splitlines() == [message] * 2


@pytest.mark.parametrize("n", [0, -1, 1025])
def test_set_num_threads_out_of_range(n):
    before = piste.get_num_threads()
    with pytest.raises(ValueError, match=f"n: expected 1 to 1024 threads, got {n}"):
        piste.set_num_threads(n)
    assert piste.get_num_threads() == before


@pytest.mark.parametrize("n", [1.5, "2", None, True, np.True_, np.float32(2)])
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
