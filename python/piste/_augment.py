"""Changes of images as a batch is gathered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import describe
from ._settled import Settled
from .functional._arguments import as_int, as_share

_MOST_PADDING = 1 << 20


class Augment(Settled):
    """What a trainer does to images: `Trainer(..., augment=Augment(0.5, 4, mean, std))`.

    Images to train on are cut out and mirrored at random, drawn anew for every sample of every
    step from the trainer's seed, on any number of threads alike. All images, those to predict and
    evaluate too, are normalised; calling the model itself does not.

    Parameters
    ----------
    horizontal_flip
        Probability that left and right are exchanged.
    crop_padding
        Zero pixels around the image, out of which a window of its size is cut anywhere.
    mean, std
        For each channel (or a number for the only one): values become ``(value - mean) / std``,
        those of the padding too; uint8 counts as value / 255. None: 0 and 1.

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense.
    """

    def __init__(
        self,
        horizontal_flip: float = 0.0,
        crop_padding: int = 0,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> None:
        self.horizontal_flip = as_share(horizontal_flip, "horizontal_flip")
        self.crop_padding = as_int(crop_padding, "crop_padding", 0)
        if self.crop_padding > _MOST_PADDING:
            raise ValueError(f"crop_padding: expected at most {_MOST_PADDING}, got {crop_padding}")
        self.mean, self.std = _per_channel(mean, "mean"), _per_channel(std, "std")
        if self.std is not None and min(self.std, default=1) <= 0:
            raise ValueError(f"std: expected numbers above 0, got {std}")
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError(f"std: expected {len(self.mean)} numbers as mean has, got {std}")

    def _lower(self, dtype: np.dtype[Any]) -> Any:
        """The engine's object."""
        make: Any = _core.AugmentationF32 if dtype == np.float32 else _core.AugmentationF64
        return make(self.horizontal_flip, self.crop_padding, self.mean or (), self.std or ())

    def _describe(self) -> dict[str, Any]:
        return {"class": "Augment", **vars(self)}

    def __repr__(self) -> str:
        return f"Augment({', '.join(f'{k}={v}' for k, v in vars(self).items())})"


def _per_channel(values: float | Sequence[float] | None, name: str) -> tuple[float, ...] | None:
    if values is None:
        return None
    numbers = np.atleast_1d(np.asarray(values)) if _is_array_like(values) else None
    if numbers is None or numbers.ndim != 1 or numbers.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, one per channel, got {describe(values)}")
    if not numbers.size:
        raise ValueError(f"{name}: expected at least one number, got none")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name}: expected finite numbers, got {values}")
    return tuple(float(number) for number in numbers)


def _is_array_like(values: object) -> bool:
    return not isinstance(values, (str, bytes, dict, set)) and (
        isinstance(values, Iterable) or np.isscalar(values)
    )
