"""Draws the convolutions of `shapes/grid.json`: `python bench/grid.py > bench/shapes/grid.json`.

Every shape is drawn anew until it is small enough, so that the whole grid can be timed in minutes.
"""

from __future__ import annotations

import json
import math
import random

from cases import Case, output_shape, weight_shape

SEED = 200
CASES = 200
MOST_FLOPS = 1_500_000_000  # of the forward pass
MOST_BYTES = 60_000_000  # of input, weight and output in float32


def draw(rng: random.Random) -> Case:
    """One layer; batches are even in their logarithm, as large ones with many channels seldom fit.

    A fifth of the layers is depthwise, a fifth has 2 to 8 groups.
    """
    channels, filters = rng.randint(1, 300), rng.randint(1, 300)
    groups = 1
    kind = rng.random()
    if kind < 0.2:
        filters = groups = channels
    elif kind < 0.4:
        groups = rng.randint(2, 8)
        channels, filters = (math.ceil(c / groups) * groups for c in (channels, filters))
    kernel = rng.randint(1, 7)
    return {
        "kind": "conv2d",
        "input": [round(64 ** rng.random()), channels, rng.randint(5, 60), rng.randint(5, 60)],
        "filters": filters,
        "kernel": kernel,
        "stride": rng.choice((1, 1, 1, 2, 2, 3)),
        "padding": rng.randint(0, kernel // 2),
        "groups": groups,
    }


def fits(case: Case) -> bool:
    """Whether a kernel of an odd or even size has an output, within the limits above."""
    output, weight = output_shape(case), weight_shape(case)
    if min(output[2:]) < 1 or max(case["input"][1], case["filters"]) > 300:
        return False
    size = sum(math.prod(shape) for shape in (case["input"], weight, output))
    flops = 2 * math.prod(output) * math.prod(weight[1:])
    return flops <= MOST_FLOPS and 4 * size <= MOST_BYTES


def name(case: Case) -> str:
    n, channels, height, width = case["input"]
    options = "".join(
        f" {letter}{case[option]}"
        for letter, option, default in (("s", "stride", 1), ("p", "padding", 0), ("g", "groups", 1))
        if case[option] != default
    )
    return f"{n}x{channels}x{height}x{width}-{case['filters']} k{case['kernel']}{options}"


def main() -> None:
    rng = random.Random(SEED)
    cases: dict[str, Case] = {}
    while len(cases) < CASES:
        case = draw(rng)
        if fits(case):
            cases.setdefault(name(case), {"name": name(case), **case})
    print("[\n  " + ",\n  ".join(json.dumps(case) for case in cases.values()) + "\n]")


if __name__ == "__main__":
    main()
