"""The stub of the extension is what pybind11-stubgen makes of it."""

import subprocess
import sys
from pathlib import Path

import piste

COMMAND = "pybind11-stubgen piste._core -o FOLDER"


def test_the_stub_is_current(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pybind11_stubgen", "piste._core", "-o", str(tmp_path)],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    fresh = (tmp_path / "piste" / "_core.pyi").read_text()
    committed = (Path(piste.__file__).parent / "_core.pyi").read_text()
    names = ("compiler: str", "__version__: str")  # values that differ from build to build
    strip = lambda text: [line for line in text.splitlines() if not line.startswith(names)]  # noqa: E731
    assert strip(committed) == strip(fresh), f"regenerate it: {COMMAND}"
