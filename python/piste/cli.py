"""The command line: ``piste train``, ``piste info``, ``piste predict``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import nn
from ._build import get_num_threads, set_num_threads, show_config
from ._core import __version__
from .data import Dataset, load_digits, load_npz
from .errors import DivergenceError
from .models import MODELS
from .optim import SGD
from .trainer import Trainer


def _batch_size(text: str) -> int | str:
    if text == "full":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 'full' or a whole number above 0, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="piste", description="Train networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"piste {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train a network; without --data, on digits")
    train.add_argument("--data", metavar="FILE.npz", help="x_train y_train x_test y_test")
    train.add_argument("--model", choices=sorted(MODELS), default="lenet")
    train.add_argument("--epochs", type=int, default=None, metavar="N")
    train.add_argument("--batch-size", type=_batch_size, default=32, metavar="M|full|1")
    train.add_argument("--lr", type=float, default=0.05)
    train.add_argument("--momentum", type=float, default=0.9)
    train.add_argument("--weight-decay", type=float, default=0.0)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--threads", type=int, metavar="N")
    train.add_argument("--save", default="piste-weights.safetensors", metavar="PATH")
    train.add_argument("--plot", default="piste-loss.png", metavar="PATH")
    train.set_defaults(run=_train)

    info = commands.add_parser("info", help="version, instruction set, threads, compiler")
    info.set_defaults(run=_info)

    predict = commands.add_parser("predict", help="print the class of each image")
    predict.add_argument("weights", metavar="WEIGHTS")
    predict.add_argument("images", metavar="IMAGES.npz", help="with an array x, x_test or one only")
    predict.set_defaults(run=_predict)
    return parser


def _checked(data: Dataset) -> tuple[tuple[int, ...], int]:
    """Shape of an image with its channels, and the number of classes."""
    for part in ("train", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        if x.ndim not in (3, 4) or len(x) != len(y) or y.ndim != 1 or not len(x):
            raise ValueError(
                f"expected images x_{part} (n, [channels,] height, width) and labels y_{part} "
                f"(n,), got shapes {x.shape} and {y.shape}"
            )
        if y.dtype.kind not in "iu":
            raise ValueError(f"expected integer labels y_{part}, got dtype {y.dtype}")
    if data.x_train.shape[1:] != data.x_test.shape[1:]:
        raise ValueError(
            f"expected images of one shape, got {data.x_train.shape[1:]} to train with and "
            f"{data.x_test.shape[1:]} to test with"
        )
    shape = data.x_train.shape[1:]
    labels = max(int(data.y_train.max()), int(data.y_test.max()))
    return (1, *shape) if len(shape) == 2 else shape, labels + 1


def _train(options: argparse.Namespace) -> None:
    if options.threads is not None:
        set_num_threads(options.threads)
    data = load_npz(options.data) if options.data else load_digits()
    shape, classes = _checked(data)
    epochs = options.epochs if options.epochs is not None else (2 if options.data else 20)
    for path in (options.save, options.plot):
        if not Path(path).absolute().parent.is_dir():
            raise ValueError(f"{path}: no such folder")
    nn.manual_seed(options.seed)
    model = MODELS[options.model](shape, classes)
    optimizer = SGD(options.lr, options.momentum, weight_decay=options.weight_decay)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=options.seed)
    print(
        f"{options.model} on {len(data.x_train)} images of {'x'.join(map(str, shape))}, "
        f"{len(data.x_test)} held out, {get_num_threads()} threads"
    )
    start = time.perf_counter()
    history = trainer.fit(
        data.x_train,
        data.y_train,
        epochs=epochs,
        batch_size=options.batch_size,
        validation_data=(data.x_test, data.y_test),
        callbacks=[_print_epoch],
    )
    seconds = time.perf_counter() - start
    _, accuracy = trainer.evaluate(data.x_test, data.y_test)
    if len(history):
        rate = np.median(history.samples_per_second)
        print(f"trained {epochs} epochs in {seconds:.2f} s, {rate:.0f} samples per second")
    trainer.save(options.save)
    print(f"weights in {options.save}")
    _plot(trainer, options.plot)
    print(f"test accuracy {accuracy:.4f}")


def _print_epoch(trainer: Trainer, history: Any) -> None:
    print(
        f"epoch {len(history):3}  loss {history.loss[-1]:.4f}  "
        f"held out: loss {history.val_loss[-1]:.4f}, accuracy {history.val_accuracy[-1]:.4f}",
        flush=True,
    )


def _plot(trainer: Trainer, path: str) -> None:
    try:
        from .plot import save_history

        save_history(trainer.history, path)
    except ImportError:
        print('no loss curve: pip install "piste[plot]" draws one')
    else:
        print(f"loss curve in {path}")


def _info(options: argparse.Namespace) -> None:
    show_config()


def _images(path: str) -> npt.NDArray[Any]:
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            names = file.files
            wanted = [name for name in ("x", "x_test") if name in names] or names
            if len(wanted) != 1 and wanted == names:
                raise ValueError(f"expected an array x or x_test, got {names}")
            return np.asarray(file[wanted[0]])
    except Exception as error:
        raise ValueError(f"{path}: not a readable npz of images ({error})") from None


def _predict(options: argparse.Namespace) -> None:
    trainer = Trainer.load(options.weights)
    for label in trainer.predict(_images(options.images)).argmax(axis=1):
        print(label)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 2 after a line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (DivergenceError, OSError, TypeError, ValueError) as error:
        print(f"piste: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("piste: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
