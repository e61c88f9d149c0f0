import os
import re
import subprocess
import sys

import numpy as np
import pytest


def piste(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "piste.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_train_on_the_digits_and_predict(tmp_path):
    result = piste("train", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    match = re.fullmatch(r"test accuracy (\d\.\d{4})", last)
    assert match
    assert float(match[1]) >= 0.98
    assert (tmp_path / "piste-weights.safetensors").exists()
    assert (tmp_path / "piste-loss.png").stat().st_size > 1000
    assert result.stderr == ""
    np.savez(tmp_path / "images.npz", x=np.zeros((3, 8, 8), np.uint8))
    result = piste("predict", "piste-weights.safetensors", "images.npz", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == 3


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx2x2", "avx512"])
def test_every_isa_trains(tmp_path, isa):
    from piste import _core

    if isa not in _core.available_isas():
        pytest.skip(f"this CPU does not run {isa}")
    result = piste("train", "--epochs", "5", cwd=tmp_path, PISTE_ISA=isa)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.split()[-1]) > 0.97


def test_an_unknown_isa_lists_those_available(tmp_path):
    result = piste("train", cwd=tmp_path, PISTE_ISA="mmx")
    assert result.returncode == 2
    assert re.search(r"PISTE_ISA=mmx is unknown .*; available: .*baseline", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "none.npz"], "none.npz: no such file"),
        (["train", "--data", "text.npz"], "text.npz: not a readable npz file"),
        (["train", "--data", "partial.npz"], "missing ['y_train', 'x_test', 'y_test']"),
        (["train", "--data", "uneven.npz"], "expected images x_train"),
        (["train", "--batch-size", "0"], "expected 'full' or a whole number above 0, got '0'"),
        (["train", "--lr", "-1"], "lr: expected a finite number"),
        (["train", "--lr", "1e30"], "training diverged at step"),
        (["train", "--epochs", "-1"], "epochs: expected an integer"),
        (["train", "--save", "none/w"], "none/w: no such folder"),
        (["train", "--speed"], "unrecognized arguments"),
        (["predict", "none", "images.npz"], "none: no such file"),
        ([], "required: command"),
    ],
)
def test_mistakes_are_one_line_and_status_2(tmp_path, arguments, message):
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "partial.npz", x_train=np.zeros((2, 8, 8)))
    x, y = np.zeros((4, 8, 8), np.uint8), np.zeros(3, int)
    np.savez(tmp_path / "uneven.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    result = piste(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
