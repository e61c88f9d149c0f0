"""Pictures, where matplotlib is installed."""

from __future__ import annotations

import io
import os

from .checkpoint import write_file
from .history import History

FORMATS = (".png", ".pdf", ".svg")
"""Endings of the files that can be drawn."""


def save_history(history: History, path: str | os.PathLike[str]) -> None:
    """Draw loss and accuracy by epoch to an image file.

    Raises
    ------
    ImportError
        Where matplotlib is missing: ``pip install "piste[plot]"``.
    OSError
        Where the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    epochs = range(1, len(history) + 1)
    for axes, name, title in ((losses, "loss", "loss"), (accuracies, "accuracy", "accuracy")):
        axes.plot(epochs, getattr(history, name), label="training", marker=".")
        held_out = getattr(history, f"val_{name}")
        if held_out:
            axes.plot(epochs, held_out, label="held out", marker=".")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend()
    if all(loss > 0 for loss in history.loss):
        losses.set_yscale("log")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format=os.path.splitext(path)[1][1:])
    write_file(path, picture.getvalue())
