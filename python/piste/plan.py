"""What a step will run, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from . import _core
from .functional._arguments import as_int

Mode = Literal["train", "evaluate", "predict"]
_MODES = ("train", "evaluate", "predict")


@dataclass(frozen=True, eq=False)  # equality would cost time at import
class PlanStep:
    """One step of a plan: a kernel that passes over the batch.

    Attributes
    ----------
    direction
        ``"forward"`` or ``"backward"``.
    layer
        The layer's name in the model, or ``""`` for what belongs to none.
    kernel, algorithm
        What runs, with all that is fused into it; the algorithm where there is more than one.
    input, output
        Shapes of the layer's input and output, the batch included.
    bytes
        Read and written: activations, gradients and parameters.
    flops
        Two per multiply-add of a product, one per value elsewhere.
    segment
        Micro-batches go through all steps of a segment one after another, in the cache.
    """

    direction: str
    layer: str
    kernel: str
    algorithm: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    bytes: int
    flops: float
    segment: int


@dataclass(frozen=True, eq=False)  # equality would cost time at import
class Plan:
    """The plan of one batch; ``print`` it for a table.

    Attributes
    ----------
    mode, dtype, isa
        What it was made for.
    threads, threads_set
        Those that share a step, and `piste.get_num_threads()` when the plan was made. One thread
        does little work alone, as waiting for others would take longer.
    batch, micro_batch, groups
        Samples; how many go through a segment together; and how many groups of them keep sums of
        their own, which are added in order, so that threads don't change the result.
    arena_bytes, worker_bytes
        Memory that is shared, and that each thread has besides.
    steps
        In the order in which they run.
    """

    mode: str
    dtype: str
    isa: str
    threads: int
    threads_set: int
    batch: int
    micro_batch: int
    groups: int
    arena_bytes: int
    worker_bytes: int
    steps: tuple[PlanStep, ...]

    @property
    def memory_bytes(self) -> int:
        """What a step allocates when it runs for the first time; later steps allocate nothing."""
        return self.arena_bytes + self.threads * self.worker_bytes

    @property
    def flops(self) -> float:
        """Of all steps."""
        return sum(step.flops for step in self.steps)

    def __str__(self) -> str:
        head = ("step", "pass", "layer", "kernel", "algorithm", "input", "output", "bytes", "flops")
        rows = [head]
        lines: list[int] = []  # rows that a segment begins with
        for number, step in enumerate(self.steps):
            if number and step.segment != self.steps[number - 1].segment:
                lines.append(len(rows))
            shapes = (_product(step.input), _product(step.output))
            rows.append(
                (str(number), step.direction, step.layer, step.kernel, step.algorithm, *shapes,
                 _scaled(step.bytes, "B"), _scaled(step.flops, "")),
            )  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        texts = [
            "  ".join(
                cell.rjust(width) if i in (0, 7, 8) else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        for i in (*reversed(lines), 1):
            texts.insert(i, rule)
        why = " (little work to share)" if self.threads < self.threads_set else ""
        return "\n".join(
            [
                f"{self.mode}: batch {self.batch} in {self.groups} groups, micro-batches of "
                f"{self.micro_batch}, {self.dtype}, {self.isa}, {_threads(self.threads)}{why}",
                *texts,
                rule,
                f"{_scaled(self.flops, 'flop')}; arena {_scaled(self.arena_bytes, 'B')}, "
                f"{_threads(self.threads)} with {_scaled(self.worker_bytes, 'B')} each: "
                f"{_scaled(self.memory_bytes, 'B')}",
            ]
        )

    __repr__ = __str__


def make_plan(
    network: Any, shape: Sequence[int], mode: Mode, optimizer: Any, augmentation: Any
) -> Plan:
    """The plan of a compiled network for a batch of `shape`, and the core's optimizer."""
    if mode not in _MODES:
        raise ValueError(f"mode: expected 'train', 'evaluate' or 'predict', got {mode!r}")
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"shape: expected that of a batch, such as x.shape, got {shape!r}")
    extents = [as_int(extent, "shape", 1) for extent in shape]
    if len(extents) == 3:
        extents.insert(1, 1)
    if len(extents) not in (2, 4):
        raise ValueError(
            "shape: expected (n, features), (n, height, width) or (n, channels, height, width), "
            f"got {tuple(shape)}"
        )
    try:
        table = network.net.plan(mode, extents[0], extents[1:], optimizer, augmentation)
    except MemoryError as error:
        if not str(error).endswith("a batch's map"):
            raise  # so little that a plan takes it itself
        raise ValueError(
            "shape: expected a batch whose maps take at most 2**47 bytes each, the most that "
            f"64-bit machines address, got {tuple(shape)} ({error})"
        ) from None
    return Plan(
        mode,
        str(network.dtype),
        table.isa,
        table.threads,
        _core.num_threads(),
        table.batch,
        table.micro_batch,
        table.groups,
        table.arena_bytes,
        table.worker_bytes,
        tuple(
            PlanStep(
                step.pass_,
                step.layer,
                step.kernel,
                step.algorithm,
                (table.batch, *step.input),
                (table.batch, *step.output),
                step.bytes,
                step.flops,
                step.segment,
            )
            for step in table.steps
        ),
    )


def _product(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def _scaled(value: float, unit: str) -> str:
    """Three digits and a prefix: bytes by 1024, other units by 1000."""
    base = 1024 if unit == "B" else 1000
    prefixes = ("", "Ki", "Mi", "Gi", "Ti") if unit == "B" else ("", "k", "M", "G", "T")
    power = min(int(math.log(value, base)), len(prefixes) - 1) if value >= 1 else 0
    digits = value / base**power
    text = f"{digits:.0f}" if power == 0 or digits >= 99.5 else f"{digits:.3g}"
    return f"{text} {prefixes[power]}{unit}".rstrip()


__all__ = ["Plan", "PlanStep"]
