"""Compare piste with other systems: same shapes, same threads, interleaved rounds.

Every system runs in a process of its own, so that no thread pool or allocator meets another's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from cases import Case, flops, layer_cases, step_cases
from report import Row, geometric_means, header, line, machine, markdown

PEERS = ("torch", "torch_channels_last", "jax", "mlx", "sklearn")
ON_REQUEST = ("torch_compile",)  # a minute of compilation for each network
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Worker:
    """A child process that times cases in one system."""

    def __init__(self, python: str, name: str, threads: int) -> None:
        self.name = name
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("worker.py")), name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        answer = self._answer()
        self.missing: str | None = answer.get("error")
        self.version: str = answer.get("version", "")

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


def start(pythons: list[str], names: list[str], threads: int) -> list[Worker]:
    """piste with this interpreter, and each peer with the first of `pythons` that has it."""
    workers = [Worker(sys.executable, "piste", threads)]
    if workers[0].missing:
        raise SystemExit(f"piste: {workers[0].missing}")
    for name in names:
        for python in pythons:
            worker = Worker(python, name, threads)
            if not worker.missing:
                workers.append(worker)
                break
            worker.close()
        else:
            print(f"without {name}: {worker.missing}", file=sys.stderr)
    return workers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "peer_pythons", metavar="PEER_PYTHON", nargs="+", help="interpreters that have the peers"
    )
    parser.add_argument(
        "--peers", nargs="+", choices=(*PEERS, *ON_REQUEST), default=PEERS, metavar="NAME",
        help=f"by default {', '.join(PEERS)}; also {', '.join(ON_REQUEST)}",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, metavar="N", default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=("layers", "steps"))
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
    cases = layer_cases() if options.only != "steps" else []
    cases += step_cases() if options.only != "layers" else []
    workers = start(options.peer_pythons, options.peers, options.threads)
    peers = [worker.name for worker in workers[1:]]
    where, versions = machine(options.threads), {w.name: w.version for w in workers}
    print(where, ", ".join(versions.values()), header(peers), sep="\n")
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
        result = {"machine": where, "versions": versions, "rows": rows, "geometric_means": means}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(markdown(rows, versions, where))


if __name__ == "__main__":
    main()
