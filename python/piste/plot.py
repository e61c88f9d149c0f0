"""Pictures, where matplotlib is installed."""

from __future__ import annotations

import os

from .history import History


def save_history(history: History, path: str | os.PathLike[str]) -> None:
    """Draw loss and accuracy by epoch to an image file.

    Raises
    ------
    ImportError
        Where matplotlib is missing: ``pip install "piste[plot]"``.
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
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        axes.legend()
    losses.set_yscale("log")
    figure.savefig(path, dpi=120)
