"""piste: train convolutional networks on the CPU, from NumPy arrays."""

from . import functional
from ._build import get_num_threads, set_num_threads, show_config
from ._core import __version__

__all__ = [
    "__version__",
    "functional",
    "get_num_threads",
    "set_num_threads",
    "show_config",
]
