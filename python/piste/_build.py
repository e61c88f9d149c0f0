"""What this build is and how it runs: threads, instruction set, compiler."""

from __future__ import annotations

import operator

from . import _core


def set_num_threads(n: int) -> None:
    """Use `n` threads from the next operation on; results have the same bits for any `n`.

    The default is the smallest of the CPU affinity, the cgroup CPU quota and ``OMP_NUM_THREADS``
    (which sets no limit unless it begins with a number from 1 to 1024), or ``PISTE_NUM_THREADS``
    where that is set.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        Unless ``1 <= n <= 1024``.
    """
    try:
        count = operator.index(None if isinstance(n, bool) else n)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"n: expected a whole number of threads, got {n!r}") from None
    if not 1 <= count <= 1024:
        raise ValueError(f"n: expected 1 to 1024 threads, got {count}")
    _core.set_num_threads(count)


def get_num_threads() -> int:
    """Threads that the next operation uses, the calling one included.

    Raises
    ------
    ValueError
        Where ``PISTE_NUM_THREADS`` is set and no whole number from 1 to 1024.
    """
    return _core.num_threads()


ALGORITHMS = ("auto", "direct", "winograd")


def as_algorithm(value: object) -> str:
    """`value`, one of `ALGORITHMS`.

    Raises
    ------
    ValueError
        For anything else.
    """
    if value not in ALGORITHMS:
        raise ValueError(f"algorithm: expected one of {', '.join(ALGORITHMS)}, got {value!r}")
    return str(value)


def set_algorithm(algorithm: str) -> None:
    """How convolutions are computed from now on, unless they choose for themselves.

    Parameters
    ----------
    algorithm
        ``"direct"`` sums products in the formula's order. ``"winograd"`` (Lavin and Gray 2016)
        needs a quarter to a half of the products for 3x3 kernels with stride 1, at about five
        times the rounding error (at most 3e-5 of the output's root mean square in float32); other
        convolutions are direct. ``"auto"``, the default, takes whichever is faster.

    Raises
    ------
    ValueError
        For any other name.
    """
    _core.set_algorithm(as_algorithm(algorithm))


def get_algorithm() -> str:
    """What `set_algorithm` set."""
    return str(_core.algorithm())


def config() -> dict[str, object]:
    """What `show_config` prints, as a dictionary."""
    return {
        "version": _core.__version__,
        "isa": _core.active_isa(),
        "isas available": _core.available_isas(),
        "threads": _core.num_threads(),
        "cpus": _core.available_cpus(),
        "compiler": _core.compiler,
    }


def show_config() -> None:
    """Print version, instruction set chosen and available, threads and compiler."""
    for name, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        print(f"{name + ':':16}{text}")
