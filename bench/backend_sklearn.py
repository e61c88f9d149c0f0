"""The steps that scikit-learn can do: one `partial_fit` of an MLPClassifier on one batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sklearn
from cases import Case, step_arrays
from sklearn.neural_network import MLPClassifier

version = f"scikit-learn {sklearn.__version__}"


def set_threads(threads: int) -> None:
    """The environment has set them before NumPy was loaded."""


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] != "step" or any(
        layer[0] not in ("linear", "relu") for layer in case["layers"]
    ):
        return None
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
