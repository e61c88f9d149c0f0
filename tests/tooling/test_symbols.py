"""What object files define, compiled so that nothing is inlined away.

Kernels: a weak symbol (an inline function or a template of the standard library) exists once per
program: the linker could keep the copy that was compiled for AVX2, and a CPU without it would stop
there.

Threads and dispatch: a static in a function is made by whichever thread comes first. A child forked
meanwhile does not have that thread, and would wait for it for ever.
"""

import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CPP = Path(__file__).parents[2] / "cpp"
UNDER_FORKS = sorted(
    [*(CPP / "src" / "base").glob("*.cpp"), *(CPP / "src" / "dispatch").glob("*.cpp")]
)
KERNELS = sorted((CPP / "src" / "kernels").rglob("*.isa.cpp"))
COMMON = ["-std=c++20", "-O0", f"-I{CPP / 'include'}", f"-I{CPP / 'src'}"]
FLAGS = [
    *COMMON,
    "-fno-exceptions",
    "-Wno-psabi",
    "-march=x86-64-v3",
    "-DPISTE_ISA=avx2",
    "-DPISTE_VECTOR_BYTES=32",
]

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
    pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm"),
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs x86-64"),
]


def symbols_of(source, flags, folder):
    """Kinds and names of all that one source defines."""
    target = folder / (source.name + ".o")
    subprocess.run(["g++", *flags, "-c", str(source), "-o", str(target)], check=True)
    listing = subprocess.run(
        ["nm", "-C", "--defined-only", str(target)], check=True, capture_output=True, text=True
    ).stdout
    return re.findall(r"^[0-9a-f]+ (\S) (.+)$", listing, re.MULTILINE)


def faults(source, folder):
    """Symbols of one source that another instruction set's code could meet."""
    symbols = symbols_of(source, FLAGS, folder)
    visible = [(kind, name) for kind, name in symbols if kind.isupper() or kind in "uvw"]
    assert visible, f"{source.name} defines nothing that can be called"
    return [
        f"{source.name}: {kind} {name}"
        for kind, name in visible
        if kind in "uvwVW" or not name.startswith("piste::avx2::")
    ]


def audited(audit, sources, folder):
    """What an audit finds in all of the sources."""
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda source: audit(source, folder), sources))
    return [fault for per_file in found for fault in per_file]


def test_kernels_define_nothing_outside_their_namespace(tmp_path):
    assert len(KERNELS) >= 9
    assert audited(faults, KERNELS, tmp_path) == []


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


def statics_in_functions(source, folder):
    flags = [*COMMON, "-DPISTE_HAVE_baseline", "-DPISTE_HAVE_avx2"]
    return [name for _, name in symbols_of(source, flags, folder) if "guard variable" in name]


def test_forks_find_no_static_half_made(tmp_path):
    assert len(UNDER_FORKS) >= 6
    assert audited(statics_in_functions, UNDER_FORKS, tmp_path) == []


def test_the_audit_sees_a_static_in_a_function(tmp_path):
    source = tmp_path / "late.cpp"
    source.write_text("int find();\nint found() { static int n = find(); return n; }\n")
    assert statics_in_functions(source, tmp_path) == ["guard variable for found()::n"]
