"""What the README shows runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


COMMANDS = re.findall(r"^```sh\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL)


def run(code, folder):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("code", SNIPPETS, ids=lambda code: code.split("\n")[0])
def test_snippet(code, tmp_path):
    result = run(code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def test_the_example_learns(tmp_path):
    example = next(code for code in SNIPPETS if "Trainer" in code)
    result = run(example + "assert accuracy > 0.93, accuracy\n", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "held out: loss" in result.stdout


def test_the_example_is_short():
    example = next(code for code in SNIPPETS if "Trainer" in code)
    assert len(example.splitlines()) <= 24


def test_the_command_line_on_data_of_your_own(tmp_path):
    lines = next(block for block in COMMANDS if "piste predict" in block).splitlines()
    assert all(line.startswith("piste ") for line in lines)
    run(next(code for code in SNIPPETS if "np.savez" in code), tmp_path).check_returncode()
    for line in lines:
        result = subprocess.run(
            [sys.executable, "-m", "piste.cli", *line.split()[1:]],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        accuracy = re.search(r"test accuracy ([\d.]+)", result.stdout)
        assert accuracy is None or float(accuracy[1]) > 0.95
    assert len(result.stdout.split()) == 100


def test_the_two_commands_come_first():
    assert COMMANDS[:2] == ["pip install . && piste train", 'pip install ".[test]" && pytest']


def test_folders_on_the_map_exist():
    folders = re.findall(r"^\| `([^`]+/)` \|", TEXT, re.MULTILINE)
    assert len(folders) >= 10
    assert [folder for folder in folders if not (README.parent / folder).is_dir()] == []
