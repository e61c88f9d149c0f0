"""A table of what each layer of a model does to one sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..functional._arguments import as_int
from ._sizes import Weighted
from .module import Module


@dataclass(frozen=True, eq=False)  # equality would cost time at import
class Row:
    """One layer, for one sample."""

    name: str
    """Its name in `state_dict` and in errors."""
    kind: str
    """Its class."""
    output_shape: tuple[int, ...]
    parameters: int
    """Numbers that are trained."""
    flops: int
    """Of a forward pass: two per multiply and add, one per value read by a pool or written else."""
    bytes: int
    """Read and written by a forward pass: input, output and parameters."""


@dataclass(frozen=True, eq=False)  # equality would cost time at import
class Summary:
    """Rows and their sums; ``print`` it."""

    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """Of all layers."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Of all layers."""
        return sum(row.flops for row in self.rows)

    @property
    def bytes(self) -> int:
        """Of all layers."""
        return sum(row.bytes for row in self.rows)

    def __str__(self) -> str:
        head = ("layer", "output shape", "parameters", "flops", "bytes")
        body = [
            (f"{row.name} {row.kind}".strip(), str(row.output_shape),
             f"{row.parameters:,}", f"{row.flops:,}", f"{row.bytes:,}")
            for row in self.rows
        ]  # fmt: skip
        total = ("total", "", f"{self.parameters:,}", f"{self.flops:,}", f"{self.bytes:,}")
        lines = [head, *body, total]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        texts = [
            "  ".join(
                cell.ljust(width) if i < 2 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "-" * max(map(len, texts))
        return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])


class _Recorder:
    """Stands in for the engine's network and notes which layer made which value."""

    def __init__(self, net: Any) -> None:
        self.net = net
        self.calls: list[tuple[str, list[int], int]] = []

    def __getattr__(self, builder: str) -> Any:
        def record(value: Any, name: str, *options: Any) -> int:
            made = int(getattr(self.net, builder)(value, name, *options))
            inputs = list(value) if isinstance(value, list) else [value]
            if builder == "add":  # add(x, z, name)
                inputs, name = [value, name], options[0]
            self.calls.append((name, [int(i) for i in inputs], made))
            return made

        return record


def _flops(module: Module, inputs: int, outputs: tuple[int, ...]) -> int:
    if isinstance(module, Weighted):
        # Each of the weights meets one value per pixel: of the input in a transposed convolution.
        channels = module.weight.shape[0]
        pixels = (
            inputs if getattr(module, "transposed", False) else math.prod(outputs)
        ) // channels
        return int(2 * module.weight.size * pixels)
    if hasattr(module, "kernel_size"):
        window = module.kernel_size
        taps = math.prod(window) if isinstance(window, tuple) else window ** (module._axes or 1)
        return math.prod(outputs) * taps
    return max(inputs, math.prod(outputs))


def summary(model: Module, input_shape: Sequence[int]) -> Summary:
    """What each layer of `model` does to one sample.

    Parameters
    ----------
    model
        Any module.
    input_shape
        Shape of a sample, without the batch: (channels, h, w), say.

    Returns
    -------
    Summary
        One row per layer, in the order in which they run; printed, a table.

    Raises
    ------
    ValueError, TypeError
        Where the shape is none or does not fit the model; the message names the layer.
    """
    from .._network import CompiledNetwork

    if not isinstance(input_shape, Iterable):
        raise TypeError(
            f"input_shape: expected that of a sample, such as (1, 28, 28), got {input_shape!r}"
        )
    shape = tuple(as_int(size, "input_shape", 1) for size in input_shape)
    compiled = CompiledNetwork(model)  # its own: the model's plans stay as they are
    net = type(compiled.net)()
    recorder = _Recorder(net)
    start = int(net.input())
    net.output(model._lower(recorder, start, ""))
    net.output_shape(shape)  # with the layer's name where something does not fit
    modules = dict(model.named_modules())
    shapes = {start: shape}
    rows = []
    for name, inputs, made in recorder.calls:
        net.output(made)
        shapes[made] = tuple(net.output_shape(shape))
        module = modules.get(name, model)  # the model itself has no name
        read = sum(math.prod(shapes[i]) for i in inputs)
        own = [array for array in module._parameters.values() if array is not None]
        parameters = sum(array.size for array in own)
        values = read + math.prod(shapes[made]) + parameters
        kind = type(module).__name__
        label = "" if module is model else name
        rows.append(
            Row(label, kind, shapes[made], parameters, _flops(module, read, shapes[made]),
                values * np.dtype(compiled.dtype).itemsize)
        )  # fmt: skip
    return Summary(tuple(rows))
