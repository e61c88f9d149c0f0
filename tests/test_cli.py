"""The command line, as a user starts it."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from piste import Trainer, cli, nn
from piste.optim import SGD


def piste(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "piste.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_train_on_the_digits_and_predict(tmp_path):
    result = piste("train", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    accuracy, speed, weights, curve = result.stdout.splitlines()[-4:]
    match = re.fullmatch(r"test accuracy (\d\.\d{4})", accuracy)
    assert match
    assert float(match[1]) >= 0.98
    assert re.fullmatch(r"trained 20 epochs in [\d.]+ s, \d+ samples per second", speed)
    assert weights == "weights in piste-weights.safetensors"
    assert curve == "loss curve in piste-loss.png"
    assert (tmp_path / "piste-loss.png").read_bytes().startswith(b"\x89PNG")
    np.savez(tmp_path / "images.npz", x=np.zeros((3, 8, 8), np.uint8))
    result = piste("predict", "piste-weights.safetensors", "images.npz", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == 3


@pytest.fixture
def data(tmp_path):
    """A set of two classes that a line separates."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    x = (rng.integers(0, 60, (80, 12, 12)) + 150 * y[:, None, None]).astype(np.uint8)
    path = tmp_path / "data.npz"
    np.savez(path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    return path


@pytest.mark.parametrize("model", ["lenet", "lenet5", "mlp", "logistic"])
@pytest.mark.parametrize("batch_size", ["1", "32", "full"])
def test_any_npz_model_and_batch_size(data, tmp_path, monkeypatch, capsys, model, batch_size):
    monkeypatch.chdir(tmp_path)
    options = f"--data data.npz --model {model} --batch-size {batch_size} --epochs 3 --save w"
    assert cli.main(["train", *options.split(), "--lr", "0.001", "--plot", "loss.svg"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^test accuracy \d\.\d{4}$", printed, re.MULTILINE)
    steps = {"1": 180, "32": 6, "full": 3}[batch_size]
    assert Trainer.load("w").steps == steps
    assert "<svg" in (tmp_path / "loss.svg").read_text()


def test_features_without_an_image(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).standard_normal((50, 5))
    y = (x[:, 0] > 0).astype(int)
    np.savez("data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    options = "--data data.npz --model logistic --epochs 60 --save w"
    assert cli.main(["train", *options.split()]) == 0
    assert "logistic on 50 samples of 5, 50 held out" in capsys.readouterr().out
    for name in ("x_test", "x", "anything"):
        np.savez("features.npz", **{name: x})
        assert cli.main(["predict", "w", "features.npz"]) == 0
        labels = np.array(capsys.readouterr().out.split(), int)
        assert (labels == y).mean() > 0.9


def test_the_learning_rate_falls_in_the_second_half(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for epochs, rate in ((1, 0.4), (2, 0.1), (5, 0.1)):
        options = f"--data data.npz --model logistic --lr 0.4 --lr-decay 0.25 --epochs {epochs}"
        assert cli.main(["train", *options.split(), "--save", "w"]) == 0
        assert Trainer.load("w").optimizer.lr == pytest.approx(rate)


def test_no_epoch_and_no_matplotlib(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["train", "--data", "data.npz", "--epochs", "0", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "test accuracy" in printed
    assert 'no loss curve: pip install "piste[plot]" draws one' in printed


def test_ctrl_c_keeps_what_was_learned(data, tmp_path):
    command = [sys.executable, "-m", "piste.cli", "train", "--data", "data.npz", "--save", "w"]
    process = subprocess.Popen(
        [*command, "--epochs", "1000000"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    lines = [process.stdout.readline() for _ in range(4)]  # the first line, three epochs
    assert lines[3].startswith("epoch   3")
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "piste: interrupted\n"
    assert "weights of the last good step in w" in printed
    assert len(Trainer.load(tmp_path / "w").history) >= 3


def test_a_reader_that_leaves(data, tmp_path):
    command = [sys.executable, "-u", "-m", "piste.cli", "train", "--data", "data.npz"]
    process = subprocess.Popen(
        [*command, "--epochs", "100000"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_info(capsys):
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    for name in ("version:", "isa:", "isas available:", "threads:", "compiler:"):
        assert name in printed


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx2x2", "avx512"])
def test_every_isa_trains(tmp_path, isa):
    from piste import _core

    if isa not in _core.available_isas():
        pytest.skip(f"{isa} is not built, or this CPU does not run it")
    result = piste("train", "--epochs", "5", cwd=tmp_path, PISTE_ISA=isa)
    assert result.returncode == 0, result.stderr
    assert float(re.search(r"test accuracy (\S+)", result.stdout)[1]) > 0.95


def test_an_unknown_isa_lists_those_available(tmp_path):
    result = piste("train", cwd=tmp_path, PISTE_ISA="mmx")
    assert result.returncode == 2
    assert re.search(r"PISTE_ISA=mmx is unknown .*; available: .*baseline", result.stderr)


@pytest.mark.parametrize("command", [["train"], ["info"], ["predict", "w", "x.npz"]])
def test_a_number_of_threads_that_is_none(tmp_path, command):
    x = np.zeros((64, 28, 28), np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.Flatten(), nn.Linear(32 * 26 * 26, 3))
    Trainer(model, nn.CrossEntropyLoss(), SGD(0.1)).save(tmp_path / "w")
    result = piste(*command, cwd=tmp_path, PISTE_NUM_THREADS="many")
    assert result.returncode == 2
    message = "piste: [threads] PISTE_NUM_THREADS=many is no whole number from 1 to 1024\n"
    assert result.stderr == message


def test_classes_that_are_in_the_test_set_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.arange(20 * 16, dtype=np.float32).reshape(20, 4, 4) / 320
    y = np.arange(20) % 10
    np.savez("data.npz", x_train=x, y_train=y % 3, x_test=x, y_test=y)
    command = "train --data data.npz --model logistic --epochs 1 --save w --plot p.png"
    assert cli.main(command.split()) == 0
    note = "piste: note: y_test has classes that y_train lacks: 3, 4, 5, 6, 7, ...\n"
    assert capsys.readouterr().err == note
