"""One side of the comparison: times cases as lines of JSON ask for it.

`worker.py BACKEND THREADS` answers `{"version": text}`, then for each line
`{"case": {...}, "seconds": s}` with `{"times": [...]}`, `{"times": null}` where the backend can't
do the case, or `{"error": text}`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable


def measure(run: Callable[[], object], seconds: float) -> list[float]:
    """Times of single calls, at least three, until `seconds` have gone by."""
    run()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return times


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
        try:
            if request["case"]["name"] != name:
                run = None  # frees the last case before the next one is made
                name, run = request["case"]["name"], backend.prepare(request["case"])
            answer(times=run and measure(run, request["seconds"]))
        except Exception as error:
            name = None
            answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
