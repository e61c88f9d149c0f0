"""One side of the comparison: times cases as lines of JSON ask for it.

`worker.py BACKEND THREADS` answers `{"version": text}`, then for each line
`{"case": {...}, "seconds": s, "least": n}` with `{"times": [...], "peak": bytes}`,
`{"times": null}` where the backend can't do the case, or `{"error": text}`. The first answer of a
case that is no training step has `"results"` too: of each array that it gave its size, its sum and
its root mean square, whatever the order of its axes.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def measure(run: Callable[[], object], seconds: float, least: int) -> list[float]:
    """Times of single calls, at least so many, until `seconds` have gone by."""
    run()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < least or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return times


def figures(results: object) -> list[tuple[int, float, float]]:
    """Of every array of a case's results: size, sum and root mean square."""
    arrays = results if isinstance(results, (tuple, list)) else (results,)
    values = [np.asarray(array).astype(np.float64) for array in arrays if array is not None]
    return [(a.size, float(a.sum()), float(np.sqrt(np.mean(a * a)))) for a in values]


def peak_memory() -> int:
    """The most bytes that this process has held.

    Linux keeps what a process inherits in `ru_maxrss`: its parent's size at the time of the fork.
    """
    status = Path("/proc/self/status")
    if status.exists():
        row = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(row.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not mix with the answers

    def answer(**fields: object) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    try:
        backend = importlib.import_module(f"backend_{sys.argv[1]}")
    except ImportError as error:
        answer(error=str(error))
        return
    backend.set_threads(int(sys.argv[2]))
    answer(version=backend.version)
    name, run = None, None
    for line in sys.stdin:
        request = json.loads(line)
        case, results = request["case"], None
        try:
            if case["name"] != name:
                run = None  # frees the last case before the next one is made
                name, run = case["name"], backend.prepare(case)
                if run and case["kind"] not in ("step", "training"):
                    results = figures(run())
            if run and case["kind"] == "training":  # looks at its clock itself
                seconds, accuracies = run()
                times, results = [seconds], figures(accuracies)
            else:
                times = run and measure(run, request["seconds"], request["least"])
            answer(times=times, results=results, peak=peak_memory())
        except Exception as error:
            name = None
            answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
