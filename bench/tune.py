"""Times the ways to compute a convolution around every threshold of `conv_choice.h`.

`python bench/tune.py` prints, for the active instruction set, how many times as long the way for
small sizes takes as the way for large ones, and the threshold that loses the least time.
"""

from __future__ import annotations

import argparse
import datetime
import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import piste
from conditions import machine
from piste import _core
from piste import functional as F

HEADER = Path(__file__).parents[1] / "cpp/src/ops/conv_choice.h"


@dataclass(frozen=True)
class Layer:
    """A convolution at one size of what the threshold is about."""

    input: tuple[int, int, int, int]
    filters: int
    kernel: int
    stride: int = 1


@dataclass(frozen=True)
class Threshold:
    """A constant of the header: `below` is the way up to a size, `above` the one beyond."""

    name: str
    below: str
    above: str
    inclusive: bool  # whether the constant is the last size of `below`, not the first of `above`
    sizes: Sequence[int]
    layers: dict[str, Callable[[int], Layer]]


THRESHOLDS = (
    Threshold("winograd_channels", "direct", "winograd", False, (2, 4, 6, 8, 10, 12, 16, 24, 32), {
        "c to c at 12": lambda c: Layer((16, c, 12, 12), c, 3),
        "c to c at 28": lambda c: Layer((8, c, 28, 28), c, 3),
        "c to 64 at 28": lambda c: Layer((8, c, 28, 28), 64, 3),
    }),
    Threshold("winograd_filters", "direct", "winograd", False, (1, 2, 3, 4, 5, 6, 7), {
        "16 to f at 28": lambda f: Layer((8, 16, 28, 28), f, 3),
        "64 to f at 28": lambda f: Layer((8, 64, 28, 28), f, 3),
        "32 to f at 56": lambda f: Layer((4, 32, 56, 56), f, 3),
        "64 to f at 12": lambda f: Layer((16, 64, 12, 12), f, 3),
    }),
    Threshold("planes_channels", "planes", "rows", True, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32), {
        "3x3 to 32 at 28": lambda c: Layer((8, c, 28, 28), 32, 3),
        "5x5 to 16 at 28": lambda c: Layer((8, c, 28, 28), 16, 5),
        "3x3, stride 2, to 32 at 28": lambda c: Layer((8, c, 28, 28), 32, 3, 2),
        "3x3 to 64 at 8": lambda c: Layer((16, c, 8, 8), 64, 3),
    }),
    Threshold(
        "planes_pointwise_channels", "planes", "pointwise", True,
        (8, 12, 16, 24, 32, 48, 64, 96, 128), {
        "to 32 at 28": lambda c: Layer((8, c, 28, 28), 32, 1),
        "to 256 at 28": lambda c: Layer((8, c, 28, 28), 256, 1),
        "to 128 at 14": lambda c: Layer((8, c, 14, 14), 128, 1),
    }),
    Threshold("pointwise_pixels", "rows", "pointwise", False, (3, 4, 5, 6, 7, 8, 10, 12, 16, 20), {
        "128 to 128": lambda side: Layer((16, 128, side, side), 128, 1),
        "256 to 64": lambda side: Layer((16, 256, side, side), 64, 1),
        "96 to 512": lambda side: Layer((4, 96, side, side), 512, 1),
    }),
)  # fmt: skip


def least_times(layer: Layer, ways: Sequence[str], seconds: float) -> dict[str, float]:
    """Of forward and backward together, calls of the ways taken by turns."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(layer.input, np.float32)
    weight = rng.standard_normal(
        (layer.filters, layer.input[1], layer.kernel, layer.kernel), np.float32
    )
    options = {"stride": layer.stride, "padding": layer.kernel // 2}
    y = F.conv2d(x, weight, **options)
    times: dict[str, list[float]] = {way: [] for way in ways}
    end = time.perf_counter() + seconds
    while min(map(len, times.values())) < 5 or time.perf_counter() < end:
        for way in ways:
            _core.set_algorithm(way)
            start = time.perf_counter()
            F.conv2d(x, weight, **options, out=y)
            F.conv2d_backward(y, x, weight, **options)
            times[way].append(time.perf_counter() - start)
    _core.set_algorithm("auto")
    return {way: min(found[1:]) for way, found in times.items()}


def excess(losses: Sequence[float], cut: int) -> float:
    """Mean of log(time / time of `above`) where the first `cut` sizes go `below`.

    `losses` are log(below / above) of each size.
    """
    return sum(losses[:cut]) / len(losses)


def tune(threshold: Threshold, seconds: float) -> None:
    standing = re.search(rf"\b{threshold.name} = (\d+)[,;]", HEADER.read_text())
    assert standing, f"{HEADER} has no {threshold.name}"
    print(f"## {threshold.name}\n\n{threshold.below} / {threshold.above}, forward and backward\n")
    shown = [size**2 if threshold.name.endswith("pixels") else size for size in threshold.sizes]
    print(f"| layer | {' | '.join(map(str, shown))} |\n|---|" + "---:|" * len(shown))
    logarithms: list[list[float]] = []
    for name, layer in threshold.layers.items():
        row = []
        for size in threshold.sizes:
            times = least_times(layer(size), (threshold.below, threshold.above), seconds)
            row.append(math.log(times[threshold.below] / times[threshold.above]))
        logarithms.append(row)
        print(f"| {name} | {' | '.join(f'{math.exp(r):.2f}' for r in row)} |", flush=True)
    means = [statistics.fmean(column) for column in zip(*logarithms, strict=True)]
    print(f"| geometric mean | {' | '.join(f'{math.exp(m):.2f}' for m in means)} |\n")
    cut = min(range(len(shown) + 1), key=lambda cut: excess(means, cut))
    last, first = shown[max(cut - 1, 0)], shown[min(cut, len(shown) - 1)]
    follows, stands = last if threshold.inclusive else first, int(standing[1])
    standing_cut = sum(size < stands + threshold.inclusive for size in shown)
    loss = math.expm1(excess(means, standing_cut) - excess(means, cut))
    print(
        f"It follows: {threshold.below} up to {last if cut else 'none'}, {threshold.above} from "
        f"{first if cut < len(shown) else 'none'}; {threshold.name} = {follows}. It stands at "
        f"{stands}, which takes {loss:.1%} longer over these sizes.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, metavar="N", default=piste.get_num_threads())
    parser.add_argument("--only", choices=[t.name for t in THRESHOLDS])
    parser.add_argument("--seconds", type=float, default=0.1, help="per layer and size")
    options = parser.parse_args()
    piste.set_num_threads(options.threads)
    print("# Where one way to compute a convolution gives way to the next\n")
    print(
        f"{machine()}, {options.threads} threads, {_core.active_isa()}, {datetime.date.today()}; "
        f"piste {piste.__version__}, float32. Above 1 the second way is faster.\n"
    )
    for threshold in THRESHOLDS:
        if options.only in (None, threshold.name):
            tune(threshold, options.seconds)


if __name__ == "__main__":
    main()
