"""Where the time of a training step goes, beside what the machine's roofline allows.

The engine puts a clock around each step of its plan. The roofline's time is the longer of two: the
flops at the peak rate of multiply-adds, and the bytes at that of a triad in memory. Both rates are
measured right before each network, by `peak.cpp` and the system's C++ compiler, unless given.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import piste
from backend_piste import step_trainer, version
from cases import Case, step_arrays, step_cases
from conditions import machine
from piste import _core

NETWORKS = ("lenet5 batch 64", "cifar cnn batch 64", "resnet20 batch 64")
NOTES = (
    "A step's time is that of all threads, divided by their number; the rest is their waiting for "
    "each other and the call itself. A share of the roofline above 100 % is no error: "
    "micro-batches find their bytes in the cache, and Winograd multiplies less than is counted. "
    "The loss, the activations and the norms count one flop per value."
)
# What a forced instruction set takes away from the machine's own.
NARROWER = {"avx2": ["-mno-avx512f"], "baseline": ["-mno-avx"]}
Row = tuple[str, float, float, float]  # cells before the figures, flops, bytes, seconds


class Peak:
    """The machine's rates, in flops and bytes per second."""

    def __init__(self, given: list[float] | None, threads: int) -> None:
        self.given = given
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.folder = tempfile.TemporaryDirectory()
        self.program = str(Path(self.folder.name) / "peak")
        if not given:
            source = str(Path(__file__).with_name("peak.cpp"))
            flags = ["-std=gnu++20", "-O3", "-march=native", "-fopenmp"]
            flags += NARROWER.get(_core.active_isa(), [])
            compiler = os.environ.get("CXX", "c++")
            subprocess.run([compiler, *flags, source, "-o", self.program], check=True)

    def measure(self) -> tuple[float, float]:
        """FLOP/s and bytes/s, now."""
        rates = self.given
        if not rates:
            command = [self.program]
            text = subprocess.run(
                command, env=self.environment, check=True, capture_output=True, text=True
            ).stdout
            rates = [float(word) for word in text.split()]
        return 1e9 * rates[0], 1e9 * rates[1]


def layer_rows(plan: piste.Plan, parts: list[float]) -> list[Row]:
    """Rows of the layers, one for each pass: a layer may take several steps, one after another."""

    def cells(timed: tuple[Any, float]) -> str:
        step = timed[0]
        return f"{step.direction} | {step.layer} | {step.kernel} | {step.algorithm}"

    rows = []
    for name, phases in itertools.groupby(zip(plan.steps, parts, strict=True), cells):
        steps, seconds = zip(*phases, strict=True)
        flops, size = sum(step.flops for step in steps), sum(step.bytes for step in steps)
        rows.append((name, flops, size, sum(seconds)))
    return rows


def profile(case: Case, seconds: float) -> tuple[list[Row], float]:
    """Rows of the layers and of what a step does besides, and a whole step's seconds."""
    trainer, (x, y) = step_trainer(case), step_arrays(case)
    plan, net = trainer.plan(x.shape), trainer._network.net
    for _ in range(3):
        trainer.step(x, y)
    net.time_steps(True)
    found = []
    end = time.perf_counter() + seconds
    while len(found) < 5 or time.perf_counter() < end:
        before = time.perf_counter()
        trainer.step(x, y)
        whole = time.perf_counter() - before
        times = net.step_times()
        parts = [step / plan.threads for step in times.steps]
        found.append([*parts, times.prepare, times.finish, times.update, whole])
    *parts, prepare, finish, update, whole = (
        statistics.median(column) for column in zip(*found, strict=True)
    )
    rows: list[Row] = [("before | | weights packed |", 0, 0, prepare), *layer_rows(plan, parts)]
    values = sum(array.size for array in trainer.model.parameters())
    rows.append(("after | | gradients of groups added |", 0, 0, finish))
    # Momentum: a gradient is read, weights and their buffers are read and written.
    rows.append(("after | | update |", 4 * values, 5 * 4 * values, update))
    rows.append(("| | rest |", 0, 0, whole - sum(row[-1] for row in rows)))
    return rows, whole


def line(cells: str, flops: float, size: float, seconds: float, roof: float, whole: float) -> str:
    figures = [
        f"{flops / 1e6:.3g}" if flops else "",
        f"{size / 1e6:.3g}" if size else "",
        f"{1e3 * seconds:.3f}",
        f"{1e3 * roof:.3f}" if roof else "",
        f"{roof / seconds:.0%}" if roof else "",
        f"{seconds / whole:.1%}",
    ]
    return f"| {cells} | {' | '.join(figures)} |"


def table(case: Case, peak: Peak, seconds: float) -> str:
    flops_rate, bytes_rate = peak.measure()
    rows, whole = profile(case, seconds)
    lines = [
        f"## {case['name']}: {1e3 * whole:.3g} ms",
        "",
        f"Peak {flops_rate / 1e9:.0f} GFLOP/s, triad {bytes_rate / 1e9:.1f} GB/s.",
        "",
        "| pass | layer | kernel | algorithm | Mflop | MB | ms | roofline, ms | roofline / time "
        "| share of step |",
        "|---|---|---|---|" + "---:|" * 6,
    ]
    roofs = [max(flops / flops_rate, size / bytes_rate) for _, flops, size, _ in rows]
    lines += [line(*row, roof, whole) for row, roof in zip(rows, roofs, strict=True)]
    flops, size = (float(np.sum([row[i] for row in rows])) for i in (1, 2))
    lines.append(line("**whole step** | | |", flops, size, whole, sum(roofs), whole))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, metavar="N", default=piste.get_num_threads())
    parser.add_argument("--case", metavar="TEXT", help="networks whose name has TEXT")
    parser.add_argument("--seconds", type=float, default=3.0, help="per network")
    parser.add_argument(
        "--peak", type=float, nargs=2, metavar=("GFLOPS", "GBS"), help="instead of measuring them"
    )
    options = parser.parse_args()
    piste.set_num_threads(options.threads)
    peak = Peak(options.peak, options.threads)
    print(
        "# Where the time of a training step goes\n\n"
        f"{machine()}, {options.threads} threads, {datetime.date.today()}; {version}. Medians of "
        f"{options.seconds:g} s. {NOTES}\n"
    )
    for case in step_cases():
        chosen = case["name"] in NETWORKS if options.case is None else options.case in case["name"]
        if chosen:
            print(table(case, peak, options.seconds), flush=True)


if __name__ == "__main__":
    main()
