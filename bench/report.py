"""Tables of a comparison: as text while it runs, as Markdown and JSON to keep."""

from __future__ import annotations

import math
import platform
import statistics
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def machine(threads: int) -> str:
    """What it ran on: the CPU's own name, threads and system."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {threads} threads, {platform.system()} {platform.release()}"


def rate(row: Row) -> str:
    """GFLOP/s of piste."""
    own = row["ms"].get("piste")
    return f"{row['flops'] / own / 1e6:.1f}" if own and row["flops"] else ""


def line(row: Row, peers: list[str]) -> str:
    """A row of the table as text."""
    own = row["ms"].get("piste")
    text = f"{row['case']:28}" + (f"{own:10.3f}" if own else f"{'-':>10}") + f"{rate(row):>8}"
    for peer in peers:
        other = row["ms"].get(peer)
        text += f"{other:21.3f}" if other else f"{'-':>21}"
        text += f"{other / own:7.2f}" if other and own else f"{'':7}"
    return text


def header(peers: list[str]) -> str:
    """What stands above the rows."""
    return f"{'case':28}{'piste ms':>10}{'GF/s':>8}" + "".join(
        f"{p:>21}{'ratio':>7}" for p in peers
    )


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


def markdown(rows: list[Row], versions: dict[str, str], where: str) -> str:
    """The table for people: milliseconds of each system, and times as long as piste takes."""
    peers = [name for name in versions if name != "piste"]
    head = ["case", "piste ms", "GFLOP/s", *(versions[peer] for peer in peers)]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for row in rows:
        own = row["ms"].get("piste")
        cells = [row["case"], f"{own:.2f}" if own else "-", rate(row)]
        for peer in peers:
            other = row["ms"].get(peer)
            ratio = f" ({other / own:.2f}x)" if other and own else ""
            cells.append(f"{other:.2f}{ratio}" if other else "-")
        lines.append("| " + " | ".join(cells) + " |")
    means = geometric_means(rows, peers)
    cells = [f"**{means[peer]:.2f}x**" if peer in means else "" for peer in peers]
    lines.append("| geometric mean of the ratios | | | " + " | ".join(cells) + " |")
    title = f"{versions['piste']} on {where}: median milliseconds, and how many times as long as"
    return f"{title}\npiste the other takes.\n\n" + "\n".join(lines) + "\n"
