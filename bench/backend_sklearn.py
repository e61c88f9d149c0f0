"""What scikit-learn can do: MLPClassifier's steps, SGDClassifier's trainings."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import sklearn
from cases import Case, step_arrays, training_arrays
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

version = f"scikit-learn {sklearn.__version__}"
_threads = 1


def set_threads(threads: int) -> None:
    """The environment has set them for NumPy before it was loaded."""
    global _threads
    _threads = threads


def _step(case: Case) -> Callable[[], object]:
    """One `partial_fit` on one batch."""
    x, y = step_arrays(case)
    hidden = [layer[2] for layer in case["layers"] if layer[0] == "linear"][:-1]
    model = MLPClassifier(
        hidden,
        solver="sgd",
        alpha=0,
        learning_rate_init=1e-3,
        momentum=0.9,
        nesterovs_momentum=False,
        batch_size=len(x),
    )
    classes = np.arange(case["classes"])
    return lambda: model.partial_fit(x, y, classes=classes)


def _training(case: Case) -> Callable[[], object]:
    """Of a linear model, sample by sample; its floats are made before."""
    x, y, x_test, y_test = training_arrays(case)
    x, x_test = (array.astype(np.float32) / 255 for array in (x, x_test))
    (lr,) = case["rates"]

    def run() -> tuple[float, list[float]]:
        model = SGDClassifier(
            loss="log_loss", alpha=0, learning_rate="constant", eta0=lr, max_iter=1, tol=None,
            n_jobs=_threads,
        )  # fmt: skip
        start = time.perf_counter()
        model.fit(x, y)
        return time.perf_counter() - start, [model.score(x_test, y_test)]

    return run


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    kinds = {layer[0] for layer in case.get("layers", [["none"]])}
    if case["kind"] == "step" and kinds <= {"linear", "relu"}:
        return _step(case)
    if case["kind"] == "training" and kinds == {"linear"} and case["batch"] == 1:
        return _training(case)
    return None
