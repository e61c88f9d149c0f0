"""Compare piste with other systems: same shapes, same threads, interleaved rounds.

Every system runs in a process of its own, so that no thread pool or allocator meets another's.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from cases import Case, flops, layer_cases, step_cases

PEERS = ("torch", "torch_channels_last", "jax", "mlx", "sklearn")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Row = dict[str, Any]


class Worker:
    """A child process that times cases in one system."""

    def __init__(self, python: str, name: str, threads: int) -> None:
        self.name = name
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("worker.py")), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.missing: str | None = self._answer().get("error")

    def _answer(self) -> Row:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return {"error": f"the process ended with code {self.process.wait()}"}
        answer: Row = json.loads(line)
        return answer

    def times(self, case: Case, seconds: float) -> list[float]:
        """Seconds of each call; none where the system can't do the case."""
        if self.process.poll() is not None:
            return []
        assert self.process.stdin is not None
        print(json.dumps({"case": case, "seconds": seconds}), file=self.process.stdin, flush=True)
        answer = self._answer()
        if "error" in answer:
            print(f"{self.name}, {case['name']}: {answer['error']}", file=sys.stderr)
        return answer.get("times") or []

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(case: Case, workers: list[Worker], rounds: int, seconds: float) -> Row:
    """Median milliseconds of every system, rounds taken in turn."""
    times: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for _ in range(rounds):
        for worker in workers:
            times[worker.name] += worker.times(case, seconds)
    medians = {name: 1e3 * statistics.median(t) for name, t in times.items() if t}
    return {"case": case["name"], "kind": case["kind"], "flops": flops(case), "ms": medians}


def line(row: Row, peers: list[str]) -> str:
    """A row of the table."""
    own = row["ms"].get("piste")
    text = f"{row['case']:28}" + (f"{own:10.3f}" if own else f"{'-':>10}")
    text += f"{row['flops'] / own / 1e6:8.1f}" if own and row["flops"] else f"{'':8}"
    for peer in peers:
        other = row["ms"].get(peer)
        text += f"{other:21.3f}" if other else f"{'-':>21}"
        text += f"{other / own:7.2f}" if other and own else f"{'':7}"
    return text


def geometric_means(rows: list[Row], peers: list[str]) -> dict[str, float]:
    """Of the ratios peer / piste, over the cases that both did."""
    means = {}
    for peer in peers:
        pairs = [
            (r["ms"][peer], r["ms"]["piste"]) for r in rows if {peer, "piste"} <= r["ms"].keys()
        ]
        if pairs:
            means[peer] = math.exp(statistics.fmean(math.log(a / b) for a, b in pairs))
    return means


def start(pythons: list[str], peers: list[str], threads: int) -> list[Worker]:
    """piste with this interpreter and the peers that one of `pythons` has."""
    workers = [Worker(sys.executable, "piste", threads)]
    if workers[0].missing:
        raise SystemExit(f"piste: {workers[0].missing}")
    for name in peers:
        for python in pythons:
            worker = Worker(python, name, threads)
            if not worker.missing:
                workers.append(worker)
                break
            worker.close()
        else:
            print(f"without {name}: {worker.missing}", file=sys.stderr)
    return workers


def machine() -> str:
    """The CPU's name and how many of them this process may use."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for row in information.read_text().splitlines():
            if row.startswith("model name"):
                name = row.split(":", 1)[1].strip()
                break
    return f"{name}, {os.cpu_count()} CPUs"


def markdown(rows: list[Row], peers: list[str], title: str) -> str:
    """The table for a page: piste's milliseconds, and how many times as long each peer took."""
    lines = [title, "", f"| case | piste, ms | {' | '.join(peers)} |"]
    lines.append("|---|---:|" + "---:|" * len(peers))
    for row in rows:
        own = row["ms"].get("piste")
        ratios = (row["ms"].get(peer) for peer in peers)
        cells = (f"{other / own:.2f}" if other and own else "" for other in ratios)
        shown = f"{own:.3g}" if own else ""
        lines.append(f"| {row['case']} | {shown} | {' | '.join(cells)} |")
    means = geometric_means(rows, peers)
    cells = (f"**{means[peer]:.2f}**" if peer in means else "" for peer in peers)
    lines.append(f"| **geometric mean** | | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pythons", metavar="PYTHON", nargs="+", help="interpreters that have the peers"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--threads", type=int, metavar="N", default=os.cpu_count() or 1)
    parser.add_argument(
        "--only",
        choices=("layers", "steps", "linear"),
        help="one set of cases; linear, a grid of linear layers, runs only so",
    )
    parser.add_argument("--case", metavar="TEXT", default="", help="cases whose name has TEXT")
    parser.add_argument("--rounds", type=int, metavar="R", default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="per case, system and round")
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--markdown", type=Path, metavar="OUT")
    options = parser.parse_args()
    if options.threads < 1 or options.rounds < 1:
        parser.error("--threads and --rounds: expected at least 1")
    return options


def main() -> None:
    options = arguments()
    if hasattr(os, "sched_setaffinity"):  # the children inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    cases = layer_cases() if options.only in (None, "layers") else []
    cases += step_cases() if options.only in (None, "steps") else []
    cases += layer_cases("linear") if options.only == "linear" else []
    workers = start(options.pythons, options.peers, options.threads)
    peers = [worker.name for worker in workers[1:]]
    print(
        f"{'case':28}{'piste ms':>10}{'GF/s':>8}" + "".join(f"{p:>21}{'ratio':>7}" for p in peers)
    )
    rows = []
    for case in cases:
        if options.case in case["name"]:
            rows.append(compare(case, workers, options.rounds, options.seconds))
            print(line(rows[-1], peers), flush=True)
    for worker in workers:
        worker.close()
    means = geometric_means(rows, peers)
    for peer, mean in means.items():
        print(f"geometric mean {peer} / piste: {mean:.2f}")
    if options.json:
        result = {"machine": machine(), "threads": options.threads, "rows": rows}
        options.json.write_text(json.dumps({**result, "geometric_means": means}, indent=1) + "\n")
    if options.markdown:
        threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
        title = f"{machine()}, {threads}, {datetime.date.today()}; medians of the same run."
        options.markdown.write_text(markdown(rows, peers, title))


if __name__ == "__main__":
    main()
