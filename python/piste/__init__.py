"""piste: train convolutional networks on the CPU, from NumPy arrays."""

from typing import TYPE_CHECKING

from ._build import (
    get_algorithm,
    get_num_threads,
    set_algorithm,
    set_num_threads,
    show_config,
)
from ._core import __version__
from ._late import late
from .errors import DivergenceError

if TYPE_CHECKING:
    from . import callbacks, data, functional, models, nn, optim
    from ._sweep import Sweep, sweep
    from .history import History
    from .plan import Plan
    from .trainer import Trainer
else:
    __getattr__, __dir__ = late(
        __name__,
        callbacks=[],
        data=[],
        functional=[],
        models=[],
        nn=[],
        optim=[],
        _sweep=["Sweep", "sweep"],
        history=["History"],
        plan=["Plan"],
        trainer=["Trainer"],
    )

__all__ = [
    "DivergenceError",
    "History",
    "Plan",
    "Sweep",
    "Trainer",
    "__version__",
    "callbacks",
    "data",
    "functional",
    "get_algorithm",
    "get_num_threads",
    "models",
    "nn",
    "optim",
    "set_algorithm",
    "set_num_threads",
    "show_config",
    "sweep",
]
