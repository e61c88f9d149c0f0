"""What the kernels' object files define, compiled so that nothing is inlined away.

A weak symbol (an inline function or a template of the standard library) exists once per program:
the linker could keep the copy that was compiled for AVX2, and a CPU without it would stop there.
"""

import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CPP = Path(__file__).parents[2] / "cpp"
KERNELS = sorted((CPP / "src" / "kernels").rglob("*.isa.cpp"))
FLAGS = [
    "-std=c++20",
    "-O0",
    "-fno-exceptions",
    "-Wno-psabi",
    "-march=x86-64-v3",
    "-DPISTE_ISA=avx2",
    "-DPISTE_VECTOR_BYTES=32",
    f"-I{CPP / 'include'}",
    f"-I{CPP / 'src'}",
]

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
    pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm"),
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs x86-64"),
]


def faults(source, folder):
    """Symbols of one source that another instruction set's code could meet."""
    target = folder / (source.name + ".o")
    subprocess.run(["g++", *FLAGS, "-c", str(source), "-o", str(target)], check=True)
    listing = subprocess.run(
        ["nm", "-C", "--defined-only", str(target)], check=True, capture_output=True, text=True
    ).stdout
    symbols = re.findall(r"^[0-9a-f]+ (\S) (.+)$", listing, re.MULTILINE)
    visible = [(kind, name) for kind, name in symbols if kind.isupper() or kind in "uvw"]
    assert visible, f"{source.name} defines nothing that can be called"
    return [
        f"{source.name}: {kind} {name}"
        for kind, name in visible
        if kind in "uvwVW" or not name.startswith("piste::avx2::")
    ]


def test_kernels_define_nothing_outside_their_namespace(tmp_path):
    assert len(KERNELS) >= 9
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda source: faults(source, tmp_path), KERNELS))
    assert [fault for per_file in found for fault in per_file] == []


def test_the_audit_sees_a_weak_symbol(tmp_path):
    source = tmp_path / "weak.isa.cpp"
    source.write_text(
        "inline int shared(int x) { return x; }\n"
        "namespace piste::PISTE_ISA { int use(int x) { return shared(x); } }\n"
    )
    assert faults(source, tmp_path) == ["weak.isa.cpp: W shared(int)"]


def test_the_audit_sees_a_symbol_elsewhere(tmp_path):
    source = tmp_path / "stray.isa.cpp"
    source.write_text("int stray(int x) { return x; }\n")
    assert faults(source, tmp_path) == ["stray.isa.cpp: T stray(int)"]
