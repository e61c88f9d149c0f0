"""Prints the rounding errors of each algorithm for 3x3 convolutions: `python bench/errors.py`.

float32 is held against sums in float64, float64 against sums in long double. Errors are relative
to the root mean square of the exact result.
"""

from __future__ import annotations

import numpy as np
import piste
from piste import _core
from piste import functional as F

# Name, algorithm, and the output (samples, height, width), 2048 pixels in all: where one is two
# rows high, tiles of 2x2 multiply less than those of 4x4.
WAYS = (
    ("direct", "direct", (8, 16, 16)),
    ("Winograd F(2x2, 3x3)", "winograd", (32, 2, 32)),
    ("Winograd F(4x4, 3x3)", "winograd", (8, 16, 16)),
)
EXACT = {np.float32: np.float64, np.float64: np.longdouble}
CHANNELS = (16, 64, 256)


def exact_results(
    x: np.ndarray, weight: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, dx and dweight of a 3x3 convolution with stride 1, in the dtype of the arrays."""
    height, width = dy.shape[2:]
    planes, grads = (np.moveaxis(array, 1, 0) for array in (x, dy))
    y, dx, dweight = np.zeros_like(grads), np.zeros_like(planes), np.zeros_like(weight)
    rows = np.ascontiguousarray(grads).reshape(len(grads), -1)
    for i, j in np.ndindex(3, 3):
        read = (..., slice(i, i + height), slice(j, j + width))
        inputs = planes[read].reshape(len(planes), -1)
        y += (weight[..., i, j] @ inputs).reshape(y.shape)
        dx[read] += (weight[..., i, j].T @ rows).reshape(len(planes), *grads.shape[1:])
        dweight[..., i, j] = rows @ inputs.T
    return np.moveaxis(y, 0, 1), np.moveaxis(dx, 0, 1), dweight


def errors(
    algorithm: str, dtype: type, channels: int, output: tuple[int, int, int]
) -> list[tuple[float, float]]:
    """RMS and largest error of forward, backward-data and backward-weights."""
    rng = np.random.default_rng(0)
    n, height, width = output
    shapes = (
        (n, channels, height + 2, width + 2),
        (channels, channels, 3, 3),
        (n, channels, height, width),
    )
    x, weight, dy = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    y = F.conv2d(x, weight, algorithm=algorithm)
    dx, dweight, _ = F.conv2d_backward(dy, x, weight, algorithm=algorithm)
    exact = exact_results(*(array.astype(EXACT[dtype]) for array in (x, weight, dy)))
    result = []
    for got, expected in zip((y, dx, dweight), exact, strict=True):
        error, rms = np.abs(got - expected), np.sqrt(np.mean(expected**2))
        result.append((float(np.sqrt(np.mean(error**2)) / rms), float(error.max() / rms)))
    return result


def main() -> None:
    passes = ("forward", "backward-data", "backward-weights")
    print("# Rounding errors of 3x3 convolutions\n")
    print(
        f"piste {piste.__version__} ({_core.active_isa()}), standard normal values, as many "
        "filters as channels, 2048 pixels: RMS and largest error, relative "
        "to the\nRMS of the exact result. `python bench/errors.py` prints this.\n"
    )
    columns = [f"{name}, {kind}" for name in passes for kind in ("RMS", "largest")]
    print(f"| dtype | channels | algorithm | {' | '.join(columns)} |")
    print("|---|---:|---|" + "---:|" * len(columns))
    for dtype in EXACT:
        for channels in CHANNELS:
            for name, algorithm, output in WAYS:
                found = errors(algorithm, dtype, channels, output)
                cells = (f"{error:.1e}" for pair in found for error in pair)
                print(f"| {dtype.__name__} | {channels} | {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
