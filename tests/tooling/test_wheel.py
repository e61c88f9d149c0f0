"""What pip has installed: complete, nothing that is not needed, and small."""

import zlib
from importlib.metadata import PackageNotFoundError, files, metadata
from pathlib import Path

import piste
import pytest

try:
    FILES = [file for file in files("piste") or [] if "__pycache__" not in file.parts]
except PackageNotFoundError:
    FILES = []
INSTALLED = bool(FILES) and Path(piste.__file__).parents[1].name == "site-packages"

pytestmark = pytest.mark.skipif(not INSTALLED, reason="a development tree, nothing is installed")


def test_it_is_complete():
    names = {file.as_posix() for file in FILES}
    for name in ("py.typed", "_core.pyi", "data/digits.npz", "nn/__init__.py", "trainer.py"):
        assert f"piste/{name}" in names
    assert any(name.startswith("piste/_core.") and name.endswith(".so") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("digits.LICENSE") for name in names)
    assert any(name.endswith("bin/piste") for name in names)


def test_it_holds_nothing_else():
    kinds = {Path(name).suffix for name in FILES if name.parts[0] == "piste"}
    assert kinds <= {".py", ".pyi", ".so", ".npz", ".LICENSE", ".typed"}


def test_a_wheel_of_it_has_at_most_2_5_mb():
    compressed = sum(len(zlib.compress(file.locate().read_bytes())) for file in FILES)
    assert compressed < 2.5e6, f"{compressed / 1e6:.2f} MB"


def test_it_needs_two_packages_at_run_time():
    needs = [line for line in metadata("piste").get_all("Requires-Dist") if "extra" not in line]
    assert sorted(line.split(">")[0] for line in needs) == ["numpy", "safetensors"]
