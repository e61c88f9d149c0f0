"""Normalising layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._arrays import as_dtype
from ..functional._arguments import as_finite, as_flag, as_int, as_positive, as_share
from .module import Module


class _Norm(Module):
    """A weight of ones and a bias of zeros, or neither."""

    def _make(
        self, shape: tuple[int, ...], affine: bool, bias: bool, dtype: npt.DTypeLike | None
    ) -> None:
        kind = as_dtype(dtype)
        self._add_parameter("weight", np.ones(shape, kind) if affine else None)
        self._add_parameter("bias", np.zeros(shape, kind) if affine and bias else None)


class _ChannelNorm(_Norm):
    """Of each channel, with PyTorch's arguments on running statistics."""

    _fixed = ("num_features", "affine", "track_running_stats")
    affine: bool
    track_running_stats: bool

    def _settle(self, **options: Any) -> None:
        self.num_features = as_int(options["num_features"], "num_features", 1)
        self.eps = as_finite(options["eps"], "eps", 0)
        momentum = options["momentum"]
        self.momentum = None if momentum is None else as_share(momentum, "momentum")
        for name in ("affine", "track_running_stats"):
            setattr(self, name, as_flag(options[name], name))

    def _make_all(self, bias: bool, dtype: npt.DTypeLike | None) -> None:
        size, kind, tracked = self.num_features, as_dtype(dtype), self.track_running_stats
        self._make((size,), self.affine, as_flag(bias, "bias"), kind)
        self._add_buffer("running_mean", np.zeros(size, kind) if tracked else None)
        self._add_buffer("running_var", np.ones(size, kind) if tracked else None)
        self._add_buffer("num_batches_tracked", np.zeros((), np.int64) if tracked else None)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set_options(
            num_features=num_features, eps=eps, momentum=momentum, affine=affine,
            track_running_stats=track_running_stats,
        )  # fmt: skip
        self._make_all(bias, dtype)

    def _settle(self, **options: Any) -> None:
        super()._settle(**options)
        as_positive(options["eps"], "eps")

    def _lower(self, net: Any, value: int, name: str) -> int:
        sizes = self._axes, self.num_features
        running = self.running_mean, self.running_var, self.num_batches_tracked
        options = *sizes, self.weight, self.bias, *running, self.momentum, self.eps
        return int(net.batch_norm(value, name or "batch_norm", *options))


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (n, features) or (n, channels, length); see `BatchNorm2d`."""

    _axes = 1


class BatchNorm2d(_BatchNorm):
    """Batch normalisation per channel of (n, channels, h, w) (Ioffe and Szegedy 2015).

    `momentum` is a batch's share in the new running statistics; with None they are the means over
    all `num_batches_tracked` batches. In evaluation they take the place of the batch's own.
    """

    _axes = 2


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (n, channels, d, h, w); see `BatchNorm2d`."""

    _axes = 3


class GroupNorm(_Norm):
    """Normalisation of each sample's groups of channels (Wu and He 2018)."""

    _fixed = ("num_channels", "affine")

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set_options(num_groups=num_groups, num_channels=num_channels, eps=eps, affine=affine)
        self._make((self.num_channels,), self.affine, as_flag(bias, "bias"), dtype)

    def _settle(
        self, num_groups: object, num_channels: object, eps: object, affine: object
    ) -> None:
        self.num_groups = as_int(num_groups, "num_groups", 1)
        self.num_channels = as_int(num_channels, "num_channels", 1)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"num_groups: {num_channels} channels cannot be split into {num_groups} groups"
            )
        self.eps, self.affine = as_finite(eps, "eps"), as_flag(affine, "affine")

    def _lower(self, net: Any, value: int, name: str) -> int:
        sizes = 0, self.num_channels, self.num_groups
        options = *sizes, self.weight, self.bias, self.eps
        return int(net.group_norm(value, name or "group_norm", *options))

    def extra_repr(self) -> str:
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps}"
        return text + f", affine={self.affine}, bias={self.bias is not None}"


class _InstanceNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set_options(
            num_features=num_features, eps=eps, momentum=momentum, affine=affine,
            track_running_stats=track_running_stats,
        )  # fmt: skip
        self._make_all(bias, dtype)

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return self._one_sample(shape, self.num_features)

    def _lower(self, net: Any, value: int, name: str) -> int:
        sizes = self._axes, self.num_features
        arrays = self.weight, self.bias, self.running_mean, self.running_var
        options = *sizes, *arrays, self.momentum or 0.0, self.eps
        return int(net.instance_norm(value, name or "instance_norm", *options))


class InstanceNorm1d(_InstanceNorm):
    """Normalisation of each channel of each sample, of (n, channels, length)."""

    _axes = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalisation of each channel of each sample (Ulyanov et al. 2016).

    With `track_running_stats`, running statistics take in the mean over a batch's samples, by
    `momentum` (None: not at all), and take the place of a sample's own in evaluation. As in
    PyTorch, `num_batches_tracked` stays 0.
    """

    _axes = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalisation of each channel of each sample, of (n, channels, d, h, w)."""

    _axes = 3


class LayerNorm(_Norm):
    """Normalisation over the last axes, with a weight per value (Ba et al. 2016)."""

    _fixed = ("normalized_shape", "elementwise_affine")

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self._set_options(
            normalized_shape=normalized_shape, eps=eps, elementwise_affine=elementwise_affine
        )
        self._make(self.normalized_shape, self.elementwise_affine, as_flag(bias, "bias"), dtype)

    def _settle(self, normalized_shape: object, eps: object, elementwise_affine: object) -> None:
        sizes = (
            tuple(normalized_shape)
            if isinstance(normalized_shape, (tuple, list))
            else (normalized_shape,)
        )
        self.normalized_shape = tuple(as_int(size, "normalized_shape", 1) for size in sizes)
        if not self.normalized_shape:
            raise ValueError("normalized_shape: expected at least one size, got ()")
        self.eps = as_finite(eps, "eps")
        self.elementwise_affine = as_flag(elementwise_affine, "elementwise_affine")

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return (1, *shape) if shape == self.normalized_shape else None

    def _lower(self, net: Any, value: int, name: str) -> int:
        options = self.normalized_shape, self.weight, self.bias, self.eps
        return int(net.layer_norm(value, name or "layer_norm", *options))

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class LocalResponseNorm(Module):
    """Normalisation over neighbouring channels (Krizhevsky et al. 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self._set_options(size=size, alpha=alpha, beta=beta, k=k)

    def _settle(self, size: object, alpha: object, beta: object, k: object) -> None:
        self.size = as_int(size, "size", 1)
        self.alpha, self.beta = as_finite(alpha, "alpha"), as_finite(beta, "beta")
        self.k = as_finite(k, "k")

    def _lower(self, net: Any, value: int, name: str) -> int:
        options = self.size, self.alpha, self.beta, self.k
        return int(net.local_response_norm(value, name or "local_response_norm", *options))

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
