"""What a user reads where the build lacks something. The compilers that lack it are scripts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(not (ROOT / "CMakeLists.txt").exists(), reason="needs the source tree"),
    pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]


def configure(folder, compiler):
    """CMake's complaint, its line breaks taken out."""
    result = subprocess.run(
        ["cmake", "-S", ROOT, "-B", folder / "build", "-DPISTE_BINDINGS=OFF"],
        env={**os.environ, "CXX": str(compiler)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return result.returncode, " ".join(result.stderr.split())


NO_CXX20 = 'case "$*" in *++20*) exit 1;; esac; exec g++ "$@"'
NO_SHUFFLES = 'exec g++ "$@" -D__builtin_shufflevector=unknown'  # GCC 11


def compiler(folder, commands):
    script = folder / "c++"
    script.write_text(f"#!/bin/sh\n{commands}\n")
    script.chmod(0o755)
    return script


def test_without_a_compiler(tmp_path):
    status, complaint = configure(tmp_path, tmp_path / "none")
    assert status != 0
    assert (
        "piste needs a C++ compiler, and none was found. Install one (Debian: apt-get install"
        in (complaint)
    )


@pytest.mark.parametrize("commands", [NO_CXX20, NO_SHUFFLES])
def test_with_a_compiler_that_is_too_old(tmp_path, commands):
    status, complaint = configure(tmp_path, compiler(tmp_path, commands))
    assert status != 0
    assert "piste needs GCC 12 or newer, or Clang 14 or newer" in complaint
    assert "found GNU" in complaint


def test_with_all_that_it_needs(tmp_path):
    status, complaint = configure(tmp_path, "g++")
    assert status == 0, complaint
