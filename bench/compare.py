"""Compare piste with other systems: same shapes, same threads, interleaved rounds.

Every system runs in a process of its own, so that no thread pool or allocator meets another's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cases import Case, flops, layer_cases, predict_cases, step_cases
from conditions import UNLIMITED, add_arguments, hold, machine, title
from ops import op_bytes, op_cases

PEERS = ("torch", "torch_channels_last", "jax", "mlx", "sklearn", "onnxruntime")
ON_REQUEST = ("torch_compile",)  # compiles each network for up to a minute
GRIDS = ("linear", "grid")  # sets of many layers, run on request
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Row = dict[str, Any]
Figures = list[tuple[int, float, float]]  # size, sum and root mean square of each result


class Worker:
    """A child process that times cases in one system."""

    def __init__(self, python: str, name: str, threads: int) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("worker.py")), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)),
        )
        answer = self._answer()
        self.missing: str | None = answer.get("error")
        self.version: str = answer.get("version", "")
        self.case = ""
        self.results: Figures | None = None  # of the case, where it is no training step
        self.peak = 0  # bytes that the process has held

    def _answer(self) -> Row:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return {"error": f"the process ended with code {self.process.wait()}"}
        answer: Row = json.loads(line)
        return answer

    def times(self, case: Case, seconds: float, least: int = 3) -> list[float]:
        """Seconds of each call, at least so many; none where the system can't do the case."""
        if self.process.poll() is not None:
            return []
        if case["name"] != self.case:
            self.case, self.results = case["name"], None
        assert self.process.stdin is not None
        request = {"case": case, "seconds": seconds, "least": least}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self._answer()
        if "error" in answer:
            print(f"{self.name}, {case['name']}: {answer['error']}", file=sys.stderr)
        self.results = answer.get("results") or self.results
        self.peak = answer.get("peak", 0)
        return answer.get("times") or []

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def check_results(case: Case, workers: list[Worker]) -> None:
    """That all computed the same: times of different things are not to be compared."""
    own, *others = (worker for worker in workers if worker.results)
    for other in others:
        pairs = zip(own.results or [], other.results or [], strict=True)
        for (size, total, rms), (other_size, other_total, other_rms) in pairs:
            scale = 1e-3 * other_rms  # rounding errors are far below
            alike = abs(rms - other_rms) <= scale and size == other_size
            if not alike or abs(total - other_total) > scale * math.sqrt(size):
                raise SystemExit(
                    f"{case['name']}: {own.name} computed (size, sum, RMS) {own.results}, "
                    f"{other.name} {other.results}"
                )


def compare(case: Case, workers: list[Worker], rounds: int, seconds: float) -> Row:
    """Median milliseconds of every system, rounds taken in turn."""
    times: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for i in range(rounds):
        for worker in workers:
            times[worker.name] += worker.times(case, seconds)
        if i == 0 and case["kind"] != "step":
            check_results(case, workers)
    medians = {name: 1e3 * statistics.median(t) for name, t in times.items() if t}
    row = {"case": case["name"], "kind": case["kind"], "flops": flops(case), "ms": medians}
    if case["kind"] == "op":
        row["bytes"] = op_bytes(case, [size for size, *_ in workers[0].results or []])
    return row


def line(row: Row, peers: list[str]) -> str:
    """A row of the table."""
    own = row["ms"].get("piste")
    text = f"{row['case']:38}" + (f"{own:10.3f}" if own else f"{'-':>10}")
    work = row["flops"] or row.get("bytes")
    text += f"{work / own / 1e6:8.1f}" if own and work else f"{'':8}"
    for peer in peers:
        other = row["ms"].get(peer)
        text += f"{other:21.3f}" if other else f"{'-':>21}"
        text += f"{other / own:7.2f}" if other and own else f"{'':7}"
    return text


def ratios(rows: list[Row], peer: str) -> dict[str, float]:
    """peer / piste, of the cases that both did."""
    both = [row for row in rows if {peer, "piste"} <= row["ms"].keys()]
    return {row["case"]: row["ms"][peer] / row["ms"]["piste"] for row in both}


def geometric_means(rows: list[Row], peers: list[str]) -> dict[str, float]:
    """Of the ratios, for every peer that has some."""
    values = {peer: ratios(rows, peer).values() for peer in peers}
    return {peer: statistics.geometric_mean(v) for peer, v in values.items() if v}


def summary(rows: list[Row], peer: str) -> list[str]:
    """Lines on the ratios of all cases and of each direction."""
    lines = []
    for kind in ("", " forward", " backward", " training"):
        values = ratios([row for row in rows if row["case"].endswith(kind)], peer)
        if not values:
            continue
        worst = min(values, key=values.__getitem__)
        geometric = statistics.geometric_mean(values.values())
        mean = statistics.fmean(values.values())
        lines.append(
            f"{peer} / piste{kind}: geometric mean {geometric:.2f}, mean {mean:.2f}, "
            f"least {values[worst]:.2f} ({worst})"
        )
    return lines


def start(options: argparse.Namespace, peers: Sequence[str]) -> list[Worker]:
    """piste with this interpreter and the peers that one of the given ones has."""
    workers = [Worker(sys.executable, "piste", options.threads)]
    if workers[0].missing:
        raise SystemExit(f"piste: {workers[0].missing}")
    for name in peers:
        if options.isa and name in UNLIMITED:
            print(f"without {name}: it cannot be held to {options.isa}", file=sys.stderr)
            continue
        for python in options.pythons:
            worker = Worker(python, name, options.threads)
            if not worker.missing:
                workers.append(worker)
                break
            worker.close()
        else:
            print(f"without {name}: {worker.missing}", file=sys.stderr)
    return workers


def speed(row: Row, triad: float | None) -> str:
    """GB/s of piste and, where that of a triad is known, the share of it."""
    own = row["ms"].get("piste")
    if not own or not row["bytes"]:
        return ""
    rate = row["bytes"] / own / 1e6
    return f"{rate:.1f}" + (f", {rate / triad:.0%}" if triad else "")


def markdown(rows: list[Row], peers: list[str], title: str, triad: float | None = None) -> str:
    """The table for a page: piste's milliseconds, and how many times as long each peer took."""
    moved = any("bytes" in row for row in rows)
    extra = [f"GB/s{', of triad' if triad else ''}"] if moved else []
    lines = [title, "", f"| {' | '.join(['case', 'piste, ms', *extra, *peers])} |"]
    lines.append("|---|" + "---:|" * (1 + len(extra) + len(peers)))
    for row in rows:
        own = row["ms"].get("piste")
        ratios = (row["ms"].get(peer) for peer in peers)
        cells = [row["case"], f"{own:.3g}" if own else ""]
        cells += [speed(row, triad)] if moved else []
        cells += [f"{other / own:.2f}" if other and own else "" for other in ratios]
        lines.append(f"| {' | '.join(cells)} |")
    means = geometric_means(rows, peers)
    cells = [f"**{means[peer]:.2f}**" if peer in means else "" for peer in peers]
    lines.append(f"| {' | '.join(['**geometric mean**', '', *[''] * len(extra), *cells])} |")
    if len(rows) > 100:
        lines += ["", *(text for peer in means for text in summary(rows, peer))]
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pythons", metavar="PYTHON", nargs="+", help="interpreters that have the peers"
    )
    parser.add_argument(
        "--peers", nargs="+", choices=(*PEERS, *ON_REQUEST), default=PEERS, metavar="PEER",
        help=f"default: {' '.join(PEERS)}; there is {' '.join(ON_REQUEST)} too",
    )  # fmt: skip
    add_arguments(parser)
    parser.add_argument(
        "--only",
        choices=("layers", "steps", "predict", *GRIDS, "ops"),
        help="one set of cases; predict, the networks forward, linear and grid, many linear layers "
        "and convolutions, and ops, all operations, run only so",
    )
    parser.add_argument("--case", metavar="TEXT", default="", help="cases whose name has TEXT")
    parser.add_argument("--rounds", type=int, metavar="R", default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="per case, system and round")
    parser.add_argument(
        "--triad", type=float, metavar="GB/S", help="what peak.cpp prints: a column of shares of it"
    )
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--markdown", type=Path, metavar="OUT")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: expected at least 1")
    return options


def main() -> None:
    options = arguments()
    hold(options)
    cases = layer_cases() if options.only in (None, "layers") else []
    cases += step_cases() if options.only in (None, "steps") else []
    cases += layer_cases(options.only) if options.only in GRIDS else []
    cases += predict_cases() if options.only == "predict" else []
    cases += op_cases() if options.only == "ops" else []
    workers = start(options, options.peers)
    peers = [worker.name for worker in workers[1:]]
    versions = ", ".join(dict.fromkeys(worker.version for worker in workers))
    heading = f"{title(options)}; {versions}"
    print(heading)
    print(
        f"{'case':38}{'piste ms':>10}{'GB/s' if options.only == 'ops' else 'GF/s':>8}"
        + "".join(f"{p:>21}{'ratio':>7}" for p in peers)
    )
    rows = []
    for case in cases:
        if options.case in case["name"]:
            rows.append(compare(case, workers, options.rounds, options.seconds))
            print(line(rows[-1], peers), flush=True)
    for worker in workers:
        worker.close()
    means = geometric_means(rows, peers)
    for peer in means:
        print("\n".join(summary(rows, peer)))
    if options.json:
        result = {"machine": machine(), "versions": versions}
        result |= {"threads": options.threads, "isa": options.isa}
        options.json.write_text(
            json.dumps({**result, "rows": rows, "geometric_means": means}, indent=1) + "\n"
        )
    if options.markdown:
        text = markdown(rows, peers, f"{heading}. Medians of one run.", options.triad)
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
