"""piste: train convolutional networks on the CPU, from NumPy arrays."""

from . import callbacks, functional, nn, optim
from ._build import (
    get_algorithm,
    get_num_threads,
    set_algorithm,
    set_num_threads,
    show_config,
)
from ._core import __version__
from ._sweep import Sweep, sweep
from .errors import DivergenceError
from .history import History
from .plan import Plan
from .trainer import Trainer

__all__ = [
    "DivergenceError",
    "History",
    "Plan",
    "Sweep",
    "Trainer",
    "__version__",
    "callbacks",
    "functional",
    "get_algorithm",
    "get_num_threads",
    "nn",
    "optim",
    "set_algorithm",
    "set_num_threads",
    "show_config",
    "sweep",
]
