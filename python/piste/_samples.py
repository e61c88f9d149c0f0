"""What a trainer is given to learn from, as the engine takes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import FloatArray, as_array, as_float, describe, within_int64
from ._network import CompiledNetwork
from .nn.losses import Loss

Layout: TypeAlias = Literal["NCHW", "NHWC"]


class Samples:
    """Inputs, what a network should make of them, and how much each counts (None: all alike)."""

    def __init__(
        self,
        network: CompiledNetwork,
        loss: Loss,
        images: npt.NDArray[Any],
        targets: npt.NDArray[Any],
        weights: FloatArray | None,
    ) -> None:
        self.network, self.loss, self._changes = network, loss, loss._changes
        self.images, self.targets, self.weights = images, targets, weights

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(
        cls,
        network: CompiledNetwork,
        loss: Loss,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None,
        layout: Layout = "NCHW",
    ) -> Samples:
        """The user's arrays, checked.

        Raises
        ------
        ValueError, TypeError
            Where they do not fit the network and the loss, or there are no samples.
        """
        images = network.images(x, layout)
        targets = _targets(as_array(y, "y"), network.output_shape(images), loss, network.dtype)
        weights = None
        if sample_weight is not None:
            factors = as_array(sample_weight, "sample_weight")
            if factors.dtype.kind not in "fiub":
                raise TypeError(f"sample_weight: expected numbers, got dtype {factors.dtype}")
            with np.errstate(over="ignore"):  # which is refused right away
                weights = as_float(np.asarray(factors, network.dtype), "sample_weight")
            if weights.shape != (len(images),):
                raise ValueError(
                    f"sample_weight: expected shape {(len(images),)}, got {weights.shape}"
                )
            if not np.isfinite(weights).all() or (weights < 0).any():
                raise ValueError("sample_weight: expected finite values of at least 0")
        if not len(images):
            raise ValueError("x: expected at least one sample, got none")
        return cls(network, loss, images, targets, weights)

    @classmethod
    def held_out(
        cls, network: CompiledNetwork, loss: Loss, data: object, layout: Layout = "NCHW"
    ) -> Samples | None:
        """The user's validation data, checked; None as None.

        Raises
        ------
        ValueError, TypeError
            As `of`, or for what is no tuple of two or three.
        """
        if data is None:
            return None
        if not isinstance(data, Sequence) or len(data) not in (2, 3):
            raise TypeError(
                f"validation_data: expected (x, y) or (x, y, sample_weight), got {describe(data)}"
            )
        x, y, *weight = data
        try:
            if not len(network.images(x, layout)):
                raise ValueError("expected at least one sample, got none")
            return cls.of(network, loss, x, y, weight[0] if weight else None, layout)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"validation_data: {error}") from None

    def follow(self, network: CompiledNetwork, loss: Loss) -> None:
        """Go on with the model's `network` and the `loss`, where an option has changed since.

        Raises
        ------
        ValueError
            Where outputs have another shape than those that the targets were checked for, or the
            loss takes other targets.
        """
        if loss is not self.loss or loss._changes != self._changes:
            expected = self.network.output_shape(self.images)
            self.targets = _targets(self.targets, expected, loss, network.dtype)
            self.loss, self._changes = loss, loss._changes
        if network is self.network:
            return
        before, now = self.network.output_shape(self.images), network.output_shape(self.images)
        if before != now:
            raise ValueError(
                f"y: expected outputs of shape {before} for as long as `fit` runs, got {now} after "
                "a layer has changed"
            )
        self.network = network

    @property
    def has_labels(self) -> bool:
        """Whether the targets are integer labels, of which there is an accuracy."""
        return bool(self.targets.dtype == np.int64)

    def share(self, correct: int, loss: Loss) -> float:
        """Accuracy: the share of labels that counts; NaN where there are none."""
        if not self.has_labels:
            return math.nan
        counted = int(np.count_nonzero(self.targets != loss.ignore_index))
        return correct / counted if counted else math.nan


def _targets(
    y: npt.NDArray[Any], expected: tuple[int, ...], loss: Loss, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    if loss.labels and (y.dtype.kind in "iu" or y.ndim < len(expected)):
        if y.dtype.kind not in "iu":
            raise TypeError(f"y: expected integer labels, got dtype {y.dtype}")
        shape = (expected[0], *expected[2:])
        if y.shape != shape:
            raise ValueError(f"y: expected labels of shape {shape}, got {y.shape}")
        # A copy: what was checked here stays so.
        labels = np.array(within_int64(y), np.int64, order="C")
        at = _core.first_wrong_label(labels, expected[1], loss.ignore_index)
        if at >= 0:
            raise ValueError(f"y: label {y.flat[at]} at index {at} is not in [0, {expected[1]})")
        return labels
    if not loss.numbers:
        raise TypeError(f"y: expected integer labels, got dtype {y.dtype}")
    if y.dtype.kind not in ("f" if loss.labels else "fiub"):
        raise TypeError(f"y: expected numbers, got dtype {y.dtype}")
    if y.shape != expected:
        raise ValueError(f"y: expected shape {expected}, got {y.shape}")
    with np.errstate(over="ignore"):  # which is refused right away
        targets = np.ascontiguousarray(y, dtype)
    if not np.isfinite(targets).all():
        raise ValueError("y: expected finite targets, got NaN or infinity")
    low, high = loss.target_range
    if targets.size and not (low <= targets.min() and targets.max() <= high):
        raise ValueError(
            f"y: expected targets from {low:g} to {high:g}, got {targets.min():g} to "
            f"{targets.max():g}"
        )
    return targets


def check_finite(
    images: npt.NDArray[Any], batch: npt.NDArray[np.int64], dtype: np.dtype[Any], *, first: bool
) -> None:
    """A batch, the `first` or not, whose loss is not finite in `dtype`: are the data to blame?"""
    if images.dtype == np.uint8:
        return
    end = "nothing has changed" if first else "the steps before its batch stay"
    for sample in np.sort(batch):
        if not np.isfinite(images[sample]).all():
            raise ValueError(f"x: sample {sample} holds NaN or infinity; {end}")
        largest = float(np.abs(images[sample]).max(initial=0))
        if largest > float(np.finfo(dtype).max):
            raise ValueError(f"x: sample {sample} holds {largest:g}, too large for {dtype}; {end}")
