"""The command line: ``piste train``, ``piste info``, ``piste predict``."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from . import nn
from ._build import get_num_threads, set_num_threads, show_config
from ._core import __version__
from .checkpoint import check_target
from .data import Dataset, load_digits, load_npz, read_npz
from .errors import DivergenceError
from .history import History
from .models import MODELS
from .optim import SGD
from .plot import FORMATS, save_history
from .trainer import Trainer

_MOST_CLASSES = 1000  # beyond the number of samples: a label above is a mistake, not a class


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _batch_size(text: str) -> int | str:
    if text == "full":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 'full' or a whole number above 0, got {text!r}")
    return int(text)


def _path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="piste", description="Train networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"piste {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train a network; without --data, on digits")
    train.add_argument(
        "--data", type=_path, metavar="FILE.npz", help="x_train y_train x_test y_test"
    )
    train.add_argument("--model", choices=sorted(MODELS), default="lenet")
    train.add_argument(
        "--epochs", type=int, metavar="N", help="by default 2, or 20 on the small set of digits"
    )
    train.add_argument(
        "--batch-size", type=_batch_size, default=32, metavar="M|full|1", help="default: 32"
    )
    train.add_argument("--lr", type=float, default=0.05, help="learning rate, default: 0.05")
    train.add_argument(
        "--lr-decay",
        type=float,
        default=0.2,
        metavar="F",
        help="factor on the learning rate for the second half of the epochs, default: 0.2",
    )
    train.add_argument("--momentum", type=float, default=0.9, help="default: 0.9")
    train.add_argument("--weight-decay", type=float, default=0.0, help="default: 0")
    train.add_argument("--seed", type=int, default=0, help="default: 0")
    train.add_argument("--threads", type=int, metavar="N", help="default: the CPUs granted")
    train.add_argument("--save", type=_path, default="piste-weights.safetensors", metavar="PATH")
    train.add_argument("--plot", type=_path, default="piste-loss.png", metavar="PATH")
    train.set_defaults(run=_train)

    info = commands.add_parser("info", help="version, instruction set, threads, compiler")
    info.set_defaults(run=_info)

    predict = commands.add_parser("predict", help="print the class of each image")
    predict.add_argument("weights", type=_path, metavar="WEIGHTS")
    predict.add_argument(
        "images", type=_path, metavar="IMAGES.npz", help="with an array x, x_test or one only"
    )
    predict.set_defaults(run=_predict)
    return parser


def _check_images(x: npt.NDArray[Any], name: str) -> None:
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ValueError(
            f"{name}: expected images (n, [channels,] height, width) or features (n, features), "
            f"got shape {x.shape}{', which is empty' * (0 in x.shape)}"
        )
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise ValueError(f"{name}: expected uint8 or floats, got dtype {x.dtype}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
        raise ValueError(f"{name}: sample {int(bad.argmax())} holds NaN or infinity")


def _check_labels(y: npt.NDArray[Any], samples: int, name: str) -> None:
    if y.shape != (samples,):
        raise ValueError(f"{name}: expected {samples} labels, one per image, got shape {y.shape}")
    if y.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected integer labels, got dtype {y.dtype}")
    if y.min() < 0:
        raise ValueError(f"{name}: expected labels of at least 0, got {y.min()}")


def _checked(data: Dataset) -> tuple[tuple[int, int, int], int]:
    """Shape of an image with its channels, and the number of classes."""
    for part in ("train", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        _check_images(x, f"x_{part}")
        _check_labels(y, len(x), f"y_{part}")
    shape = data.x_train.shape[1:]
    if shape != data.x_test.shape[1:]:
        raise ValueError(
            f"x_test: expected images of shape {shape} as in x_train, got {data.x_test.shape[1:]}"
        )
    largest = max(int(data.y_train.max()), int(data.y_test.max()))
    if largest >= max(_MOST_CLASSES, len(data.x_train)):
        raise ValueError(
            f"y_train: label {largest} would mean {largest + 1} classes for "
            f"{len(data.x_train)} samples"
        )
    channels, height, width = (1,) * (3 - len(shape)) + shape
    return (channels, height, width), largest + 1


def _is_same_file(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(path) == os.path.realpath(other)


def _check_outputs(options: argparse.Namespace) -> None:
    """Before an hour of training, not after."""
    files = {"--data": options.data, "--save": options.save, "--plot": options.plot}
    for (name, path), (output, target) in itertools.combinations(files.items(), 2):
        if path is not None and _is_same_file(path, target):
            raise ValueError(f"{output}: expected a file of its own, got that of {name}: {target}")
    check_target(options.save)
    check_target(options.plot)
    if not options.plot.endswith(FORMATS):
        raise ValueError(f"{options.plot}: expected a name ending in {', '.join(FORMATS)}")


def _some(values: npt.NDArray[Any]) -> str:
    return ", ".join(map(str, values[:5])) + ", ..." * (len(values) > 5)


def _train(options: argparse.Namespace) -> None:
    if options.threads is not None:
        set_num_threads(options.threads)
    if options.epochs is not None and options.epochs < 0:
        raise ValueError(f"epochs: expected a whole number of at least 0, got {options.epochs}")
    if not 0 <= options.lr_decay < np.inf:
        raise ValueError(f"lr-decay: expected a finite number, 0 or more, got {options.lr_decay}")
    optimizer = SGD(options.lr, options.momentum, weight_decay=options.weight_decay)
    _check_outputs(options)
    data = load_digits() if options.data is None else load_npz(options.data)
    shape, classes = _checked(data)
    unseen = np.setdiff1d(data.y_test, data.y_train)
    if len(unseen):
        print(
            f"piste: note: y_test has classes that y_train lacks: {_some(unseen)}", file=sys.stderr
        )
    epochs = options.epochs if options.epochs is not None else (20 if options.data is None else 2)
    nn.manual_seed(options.seed)
    model = MODELS[options.model](shape, classes)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=options.seed)

    def decay(trainer: Trainer, history: History) -> None:
        if len(history) == (epochs + 1) // 2 < epochs:
            trainer.optimizer.lr *= options.lr_decay

    size = "x".join(map(str, data.x_train.shape[1:]))
    print(
        f"{options.model} on {len(data.x_train)} samples of {size}, "
        f"{len(data.x_test)} held out, {get_num_threads()} threads"
    )
    start = time.perf_counter()
    try:
        history = trainer.fit(
            data.x_train,
            data.y_train,
            epochs=epochs,
            batch_size=options.batch_size,
            validation_data=(data.x_test, data.y_test),
            callbacks=[_print_epoch, decay],
        )
    except (DivergenceError, KeyboardInterrupt):
        if len(trainer.history):  # what was learned so far is not lost
            trainer.save(options.save)
            print(f"weights of the last good step in {options.save}")
        raise
    seconds = time.perf_counter() - start
    print(f"test accuracy {trainer.evaluate(data.x_test, data.y_test)[1]:.4f}")
    if epochs:
        rate = np.median(history.samples_per_second)
        print(f"trained {epochs} epochs in {seconds:.2f} s, {rate:.0f} samples per second")
    trainer.save(options.save)
    print(f"weights in {options.save}")
    _plot(trainer.history, options.plot)


def _print_epoch(trainer: Trainer, history: History) -> None:
    print(
        f"epoch {len(history):3}  loss {history.loss[-1]:.4f}  "
        f"held out: loss {history.val_loss[-1]:.4f}, accuracy {history.val_accuracy[-1]:.4f}",
        flush=True,
    )


def _plot(history: History, path: str) -> None:
    try:
        save_history(history, path)
    except ImportError:
        print('no loss curve: pip install "piste[plot]" draws one')
    else:
        print(f"loss curve in {path}")


def _info(options: argparse.Namespace) -> None:
    show_config()


def _only_images(names: list[str]) -> list[str]:
    for name in ("x", "x_test"):
        if name in names:
            return [name]
    if len(names) != 1:
        raise ValueError(f"expected an array x or x_test, got {names}")
    return names


def _predict(options: argparse.Namespace) -> None:
    trainer = Trainer.load(options.weights)
    ((name, images),) = read_npz(options.images, _only_images).items()
    if images.ndim == 0 or len(images):
        _check_images(images, name)
    for label in trainer.predict(images).argmax(axis=1):
        print(label)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 2 after a line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has left: `piste train | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError as error:
        print(f"piste: not enough memory {error}".rstrip(), file=sys.stderr)
        return 2
    except (DivergenceError, OSError, TypeError, ValueError) as error:
        print(f"piste: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("piste: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
