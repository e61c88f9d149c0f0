"""Times whole trainings: piste beside PyTorch and scikit-learn, and to 99 % from a cold start.

Every system runs in a process of its own, in turns. What is held out is looked at after the clock
has stopped. Images are those of `--data`, an npz file like MNIST's with x_train, y_train, x_test
and y_test, or patterns in noise.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from cases import Case, training_cases
from compare import Worker, start
from conditions import add_arguments, hold, title

PEERS = ("torch", "sklearn")


def compare(case: Case, workers: list[Worker], rounds: int) -> list[str]:
    """The table's lines: of every system the median time, and the mean accuracy of its models."""
    times: dict[str, list[float]] = {worker.name: [] for worker in workers}
    accuracies: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for _ in range(rounds):
        for worker in workers:
            times[worker.name] += worker.times(case, 0)
            for count, total, _ in worker.results or ():
                accuracies[worker.name].append(total / count)
    lines = []
    own = statistics.median(times["piste"])
    for name, found in times.items():
        if not found:
            continue
        accuracy, seconds = statistics.fmean(accuracies[name]), statistics.median(found)
        if accuracy < case["least_accuracy"]:
            raise SystemExit(f"{case['name']}: {name} has learnt {accuracy:.3f} only")
        lines.append(
            f"| {case['name']} | {name} | {seconds:.3g} | {seconds / own:.2f} | {accuracy:.4f} |"
        )
    return lines


def cold_start(data: str, rounds: int) -> str:
    """The table's line of new processes that train to 99 %, from their start to their end."""
    script = str(Path(__file__).with_name("cold_start.py"))
    command = [sys.executable, script, data]
    times = []
    for _ in range(rounds):
        before = time.perf_counter()
        report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        times.append(time.perf_counter() - before)
    epochs, accuracy = report.split()
    name = f"99 % in a new process, import included ({epochs} epochs)"
    return f"| {name} | piste | {statistics.median(times):.3g} | 1.00 | {float(accuracy):.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pythons", metavar="PYTHON", nargs="*", help="interpreters that have the peers"
    )
    parser.add_argument("--data", type=os.path.abspath, metavar="NPZ")
    add_arguments(parser)
    parser.add_argument("--case", metavar="TEXT", default="", help="trainings whose name has TEXT")
    parser.add_argument("--rounds", type=int, metavar="R", default=3)
    options = parser.parse_args()
    hold(options)
    workers = start(options, PEERS if options.pythons else ())
    versions = ", ".join(worker.version for worker in workers)
    images = "images of the given file" if options.data else "patterns in noise"
    print(
        f"{title(options)}; {versions}. "
        f"Medians of {options.rounds} trainings, {images}.\n\n"
        "| training | system | seconds | / piste | held-out accuracy |\n|---|---|---:|---:|---:|"
    )
    for case in training_cases():
        if options.case in case["name"]:
            taking = [worker for worker in workers if worker.name in case["systems"]]
            lines = compare({**case, "data": options.data}, taking, options.rounds)
            print("\n".join(lines), flush=True)
    for worker in workers:
        worker.close()
    if options.data and options.case in "99 %":
        print(cold_start(options.data, options.rounds))


if __name__ == "__main__":
    main()
