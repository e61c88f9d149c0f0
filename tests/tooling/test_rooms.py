"""The one direction of dependency, and what each room may hold."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "cpp"
# Each room may include from these; "piste" is the public API in cpp/include.
MAY_INCLUDE = {
    "base": {"base", "piste"},
    "simd": {"simd"},
    "kernels": {"kernels", "simd", "piste"},
    "dispatch": {"dispatch", "kernels", "base", "piste"},
    "ops": {"ops", "dispatch", "kernels", "base", "piste"},
    "engine": {"engine", "ops", "dispatch", "kernels", "base", "piste"},
}
KERNELS_MAY_SEE = {"piste/index.h", "piste/kinds.h"}

pytestmark = pytest.mark.skipif(not SOURCES.exists(), reason="needs the source tree")


def includes(path):
    return re.findall(r'#include "([^"]+)"', path.read_text())


def files(*suffixes):
    return [p for p in SOURCES.rglob("*") if p.suffix in suffixes]


@pytest.mark.parametrize("room", MAY_INCLUDE)
def test_arrows(room):
    paths = [p for p in (SOURCES / "src" / room).rglob("*") if p.suffix in (".h", ".cpp")]
    assert paths
    for path in paths:
        for name in includes(path):
            assert name.split("/")[0] in MAY_INCLUDE[room], f"{path} includes {name}"
            if room == "kernels" and name.startswith("piste/"):
                assert name in KERNELS_MAY_SEE, f"{path} includes {name}"


def test_bindings_see_only_the_public_api():
    for path in (SOURCES / "bindings").glob("*"):
        for name in includes(path):
            local = (SOURCES / "bindings" / name).exists()
            assert local or name.startswith("piste/"), f"{path} includes {name}"


def test_threads_start_in_one_place():
    threads = re.compile(r"#pragma omp|pthread_create|std::j?thread\b(?!::hardware_concurrency)")
    users = [p.name for p in files(".h", ".cpp") if threads.search(p.read_text())]
    assert users == ["team.cpp"]


def test_machine_flags_stay_in_one_file():
    for path in [ROOT / "CMakeLists.txt", *(SOURCES / "cmake").glob("*.cmake")]:
        text = "\n".join(line.split("#")[0] for line in path.read_text().splitlines())
        assert "-march=native" not in text
        assert "-ffast-math" not in text
        if path.name != "isa.cmake":
            assert "-march" not in text
            assert "-mavx" not in text


def test_kernels_use_no_allocation_exceptions_or_std_functions():
    for path in (SOURCES / "src" / "kernels").rglob("*.isa.cpp"):
        text = path.read_text()
        for word in (
            "std::vector",
            "std::sort",
            "std::max",
            "std::min",
            "throw ",
            "new ",
            "malloc",
        ):
            code = "\n".join(line.split("//")[0] for line in text.splitlines())
            assert word not in code, f"{path.name} uses {word}"


@pytest.mark.parametrize("path", files(".h", ".cpp"), ids=lambda p: p.name)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 450
