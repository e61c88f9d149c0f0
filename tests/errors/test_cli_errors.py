"""Whatever is wrong on the command line: one clear line, exit status 2, no traceback."""

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from piste import Trainer, cli, nn
from piste.optim import SGD

X, Y = np.full((4, 8, 8), 9, np.uint8), np.array([0, 1, 2, 0])


def npz(path, **arrays):
    np.savez(path, **{"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, **arrays})


def write_files(folder):
    npz(folder / "good.npz")
    (folder / "link.npz").symlink_to("good.npz")
    (folder / "hard.png").hardlink_to(folder / "good.npz")
    (folder / "text.npz").write_text("not an archive")
    (folder / "empty.npz").write_bytes(b"")
    (folder / "folder.npz").mkdir()
    np.save(folder / "array.npy", X)
    np.savez(folder / "partial.npz", x_train=X)
    npz(folder / "pickled.npz", y_train=np.array([{}, [], None, 1], object))
    whole = (folder / "good.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    broken = bytearray(whole)
    broken[200:260] = bytes(60)
    (folder / "broken.npz").write_bytes(broken)
    with zipfile.ZipFile(folder / "letters.npz", "w") as file:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            file.writestr(f"{name}.npy", "not an array")
    claim = io.BytesIO()
    np.save(claim, X)
    with zipfile.ZipFile(folder / "claims.npz", "w") as file:  # a header of 10**18 values
        for name in ("x_train", "y_train", "x_test", "y_test"):
            content = claim.getvalue().replace(b"(4, 8, 8)", b"(10**6,)*3"[:9])
            file.writestr(f"{name}.npy", content)
    npz(folder / "uneven.npz", y_train=Y[:3])
    npz(folder / "none.npz", x_train=X[:0], y_train=Y[:0])
    npz(folder / "flat.npz", x_train=X[:, :0])
    npz(folder / "deep.npz", x_train=X[:, None, None])
    npz(folder / "scalar.npz", x_train=np.float32(1))
    npz(folder / "shapes.npz", x_test=X[:, :7])
    npz(folder / "text-images.npz", x_train=np.full((4, 8, 8), "a"))
    npz(folder / "long.npz", x_train=X.astype(np.int64))
    npz(folder / "float-labels.npz", y_train=Y.astype(float))
    npz(folder / "onehot.npz", y_train=np.eye(3, dtype=int)[Y])
    npz(folder / "negative.npz", y_train=Y - 1)
    npz(folder / "beyond.npz", y_test=Y + 10**9)
    nan = X.astype(np.float32)
    nan[2, 3, 4] = np.nan
    npz(folder / "nan.npz", x_train=nan)
    npz(folder / "nan-test.npz", x_test=nan)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    Trainer(model, nn.CrossEntropyLoss(), SGD(0.1)).save(folder / "weights")
    np.savez(folder / "images.npz", x=X)
    np.savez(folder / "wide.npz", x=X[:, :, :7])
    np.savez(folder / "nan-images.npz", x=nan)
    np.savez(folder / "two.npz", a=X, b=X)


MISTAKES = [
    ("train --data missing.npz", "missing.npz: no such file"),
    ("train --data text.npz", "text.npz: not a readable npz file"),
    ("train --data empty.npz", "empty.npz: not a readable npz file"),
    ("train --data folder.npz", "folder.npz: not a readable npz file"),
    ("train --data array.npy", "array.npy: not a readable npz file"),
    ("train --data cut.npz", "cut.npz: not a readable npz file"),
    ("train --data broken.npz", "broken.npz: array 'x_train' cannot be read"),
    ("train --data letters.npz", "x_train: expected images"),
    ("train --data claims.npz", "claims.npz: array 'x_train' cannot be read"),
    ("train --data pickled.npz", "pickled.npz: array 'y_train' cannot be read: Object arrays"),
    ("train --data partial.npz", "missing ['y_train', 'x_test', 'y_test']"),
    ("train --data uneven.npz", "y_train: expected 4 labels, one per image, got shape (3,)"),
    ("train --data none.npz", "x_train: expected images (n, [channels,] height, width)"),
    ("train --data none.npz", "got shape (0, 8, 8), which is empty"),
    ("train --data flat.npz", "got shape (4, 0, 8)"),
    ("train --data deep.npz", "got shape (4, 1, 1, 8, 8)"),
    ("train --data scalar.npz", "x_train: expected images"),
    ("train --data shapes.npz", "x_test: expected images of shape (8, 8) as in x_train"),
    ("train --data text-images.npz", "x_train: expected uint8 or floats, got dtype <U1"),
    ("train --data long.npz", "x_train: expected uint8 or floats, got dtype int64"),
    ("train --data float-labels.npz", "y_train: expected integer labels, got dtype float64"),
    ("train --data onehot.npz", "y_train: expected 4 labels, one per image, got shape (4, 3)"),
    ("train --data negative.npz", "y_train: expected labels of at least 0, got -1"),
    ("train --data beyond.npz", "label 1000000002 would mean 1000000003 classes for 4 samples"),
    ("train --data nan.npz", "x_train: sample 2 holds NaN or infinity"),
    ("train --data nan-test.npz", "x_test: sample 2 holds NaN or infinity"),
    ("train --data good.npz --model lenet5", "lenet5: expected images of at least 12x12, got 8x8"),
    ("train --model alexnet", "argument --model: invalid choice: 'alexnet'"),
    ("train --batch-size 0", "expected 'full' or a whole number above 0, got '0'"),
    ("train --batch-size -4", "expected 'full' or a whole number above 0, got '-4'"),
    ("train --batch-size half", "expected 'full' or a whole number above 0, got 'half'"),
    ("train --lr fast", "argument --lr: invalid float value: 'fast'"),
    ("train --lr -1", "lr: expected a finite number"),
    ("train --lr nan", "lr: expected a number, got NaN"),
    ("train --lr 1e30", "training diverged at step"),
    ("train --lr-decay -1", "lr-decay: expected a finite number, 0 or more, got -1.0"),
    ("train --momentum inf", "momentum: expected a finite number"),
    ("train --weight-decay -0.1", "weight_decay: expected a finite number"),
    ("train --epochs -1", "epochs: expected a whole number of at least 0, got -1"),
    ("train --epochs 1.5", "argument --epochs: invalid int value: '1.5'"),
    ("train --seed -1", "seed: expected an integer from 0"),
    ("train --threads 0", "n: expected 1 to 1024 threads, got 0"),
    ("train --save no/where", "no/where: no such folder"),
    ("train --save folder.npz", "folder.npz: is a folder"),
    ("train --save /proc/weights", "/proc/weights: cannot be written"),
    ("train --plot no/where.png", "no/where.png: no such folder"),
    ("train --plot loss.xyz", "loss.xyz: expected a name ending in .png, .pdf, .svg"),
    ("train --data good.npz --save good.npz", "--save: expected a file of its own, got that of --"),
    ("train --data good.npz --save ./good.npz", "got that of --data: ./good.npz"),
    ("train --data good.npz --save link.npz", "got that of --data: link.npz"),
    ("train --data good.npz --plot hard.png", "--plot: expected a file of its own, got that of"),
    ("train --save new.png --plot ./new.png", "got that of --save: ./new.png"),
    ("train --save=", "argument --save: expected a path, got ''"),
    ("train --plot=", "argument --plot: expected a path, got ''"),
    ("train --data=", "argument --data: expected a path, got ''"),
    ("train --speed", "unrecognized arguments: --speed"),
    ("train --data", "argument --data: expected one argument"),
    ("predict missing images.npz", "missing: no such file"),
    ("predict folder.npz images.npz", "folder.npz: not a whole weights file (it is a folder)"),
    ("predict images.npz images.npz", "images.npz: not a whole weights file"),
    ("predict empty.npz images.npz", "empty.npz: not a whole weights file"),
    ("predict weights missing.npz", "missing.npz: no such file"),
    ("predict weights text.npz", "text.npz: not a readable npz file"),
    ("predict weights two.npz", "two.npz: expected an array x or x_test, got ['a', 'b']"),
    ("predict weights wide.npz", "expected 64 input features, got 56; x has shape (4, 1, 8, 7)"),
    ("predict weights nan-images.npz", "x: sample 2 holds NaN or infinity"),
    ("predict weights", "the following arguments are required: IMAGES.npz"),
    ("fly", "invalid choice: 'fly'"),
    ("", "the following arguments are required: command"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("files")
    write_files(path)
    return path


def contents(folder):
    return {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("command", "message"), MISTAKES, ids=[m[0] or "-" for m in MISTAKES])
def test_one_line_and_status_2(folder, monkeypatch, capsys, command, message):
    monkeypatch.chdir(folder)
    before = contents(folder)
    try:
        status = cli.main(command.split())
    except SystemExit as end:  # argparse's own way
        status = end.code
    printed = capsys.readouterr()
    assert status == 2
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("piste")
    if "diverged" not in message:  # all else is found before anything begins
        assert printed.out == ""
    assert contents(folder) == before


def test_no_traceback_from_a_process_of_its_own(folder):
    result = subprocess.run(
        [sys.executable, "-m", "piste.cli", "train", "--data", "broken.npz"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("piste: broken.npz: array 'x_train' cannot be read")
    assert len(result.stderr.splitlines()) == 1


def test_memory_that_is_not_there(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(Trainer, "fit", fail)
    assert cli.main(["train"]) == 2
    assert capsys.readouterr().err == "piste: not enough memory\n"


def test_divergence_after_an_epoch_keeps_the_weights(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.full((64, 4, 4), 200, np.uint8)
    npz("data.npz", x_train=x, y_train=np.arange(64) % 3, x_test=x, y_test=np.arange(64) % 3)
    options = "--model mlp --lr 1e-3 --lr-decay 1e36 --epochs 2 --data data.npz --save w"
    assert cli.main(["train", *options.split()]) == 2
    printed = capsys.readouterr()
    assert "training diverged at step" in printed.err
    assert "weights of the last good step in w" in printed.out
    assert all(np.isfinite(a).all() for a in Trainer.load("w").model.parameters())
