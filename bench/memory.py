"""The memory that training steps take: piste beside PyTorch, each network in a new process.

It is the most that a process has held after ten steps, less what a process of the same interpreter
has held that imported NumPy and made the same arrays.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from cases import Case, step_cases
from compare import Worker
from conditions import add_arguments, hold, title

STEPS = 10


def peak(python: str, name: str, threads: int, case: Case) -> tuple[int, str]:
    """Bytes of a new process after all steps, and the system's version."""
    worker = Worker(python, name, threads)
    if worker.missing or not worker.times(case, 0, STEPS):
        raise SystemExit(f"{python}: {name} cannot run {case['name']}: {worker.missing}")
    worker.close()
    return worker.peak, worker.version


def beyond_numpy(python: str, name: str, threads: int, case: Case) -> tuple[int, str]:
    """Bytes beyond those of a process that only has the arrays; median of three."""
    whole = [peak(python, name, threads, case) for _ in range(3)]
    base = [peak(python, "numpy", threads, case)[0] for _ in range(3)]
    return int(statistics.median(w for w, _ in whole) - statistics.median(base)), whole[0][1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", metavar="PYTHON", help="the interpreter that has PyTorch")
    add_arguments(parser)
    parser.add_argument("--case", metavar="TEXT", default="", help="networks whose name has TEXT")
    options = parser.parse_args()
    hold(options)
    systems = ((sys.executable, "piste"), (options.python, "torch"))
    lines, versions = [], []
    for case in step_cases():
        if options.case not in case["name"]:
            continue
        found = [beyond_numpy(*system, options.threads, case) for system in systems]
        (own, _), (other, _) = found
        versions = [version for _, version in found]
        lines.append(
            f"| {case['name']} | {own / 1e6:.1f} | {other / 1e6:.1f} | {own / other:.2f} |"
        )
    print(
        f"{title(options)}; {', '.join(versions)}. "
        f"Peak memory of {STEPS} steps beyond that of NumPy and the arrays, medians of three "
        "processes.\n\n"
        "| network | piste, MB | torch, MB | piste / torch |\n|---|---:|---:|---:|"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
