"""The update of stochastic gradient descent, on lists of arrays."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, MutableSequence, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, as_float, check_shape, describe
from ._arguments import as_finite


class _Written:
    """An array to update in place. The core updates `work`: the array itself, or a copy of one that
    is not contiguous, which `finish` writes back.
    """

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{name}: expected a NumPy array to update, got {describe(value)}")
        self.array, self.name = value, name
        self.work = as_float(value, name)
        if not value.flags.writeable:
            raise ValueError(f"{name}: the array is read-only")

    def finish(self) -> None:
        if self.work is not self.array:
            self.array[...] = self.work


class _Slot:
    """One parameter, its gradient and its momentum buffer (None without momentum)."""

    def __init__(self, index: int, param: object, grad: object, buffer: object, momentum: bool):
        self.index = index
        self.param = _Written(param, f"params[{index}]")
        work = self.param.work
        self.grad = as_float(grad, f"grads[{index}]", like=work)
        check_shape(self.grad, work.shape, f"grads[{index}]")
        self.new_buffer = momentum and buffer is None
        self.buffer: _Written | None = None
        if momentum:
            name = f"momentum_buffers[{index}]"
            self.buffer = _Written(np.empty_like(work) if buffer is None else buffer, name)
            as_float(self.buffer.array, name, like=work)
            check_shape(self.buffer.array, work.shape, name)

    def written(self) -> list[_Written]:
        return [self.param] if self.buffer is None else [self.param, self.buffer]


def _bounds(array: npt.NDArray[Any]) -> tuple[int, int]:
    """First byte of an array and the one after its last."""
    address = array.__array_interface__["data"][0]
    if not array.size:
        return address, address
    spans = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    return (
        address + sum(span for span in spans if span < 0),
        address + sum(span for span in spans if span > 0) + array.itemsize,
    )


def _separate(slots: Sequence[_Slot]) -> None:
    """Refuse arrays to update that overlap; copy gradients that overlap one."""
    written = [(*_bounds(w.array), w) for slot in slots for w in slot.written()]
    written.sort(key=lambda entry: entry[:2])
    ends = list(itertools.accumulate((high for _, high, _ in written), max))
    for i, (low, _, here) in enumerate(written):
        if i == 0 or ends[i - 1] <= low:
            continue
        for _, high, other in written[:i]:
            if high > low and np.shares_memory(here.array, other.array):
                raise ValueError(f"{here.name}: shares memory with {other.name}")
    lows = [low for low, _, _ in written]
    for slot in slots:
        low, high = _bounds(slot.grad)
        before = int(np.searchsorted(lows, high))
        if before and ends[before - 1] > low:
            slot.grad = slot.grad.copy()


def sgd_(
    params: Sequence[FloatArray],
    grads: Sequence[npt.ArrayLike | None],
    momentum_buffers: Sequence[FloatArray | None] | None = None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> None:
    """One step of gradient descent, in place: ``param -= lr * grad`` and its kin.

    As ``torch.optim.SGD`` (momentum and Nesterov's after Sutskever et al. 2013): with ``g = grad +
    weight_decay * param`` (or of ``-grad``, to maximize) and ``buffer = momentum * buffer + (1 -
    dampening) * g``, a parameter loses `lr` times `g` without momentum, `buffer` with it, and
    ``g + momentum * buffer`` with Nesterov's.

    Parameters
    ----------
    params
        float32 or float64 arrays to update, of any strides.
    grads
        Their gradients, alike in shape and dtype; None leaves a parameter as it is.
    momentum_buffers
        Arrays like the parameters, updated too where the momentum is not 0. In place of a None in
        this list a new array is put, which starts at `g`.
    lr, momentum, dampening, weight_decay
        Finite numbers, all but the dampening of at least 0.
    nesterov
        Needs a momentum above 0 and no dampening.
    maximize
        Ascend.

    Raises
    ------
    TypeError, ValueError
        Where anything does not fit, an array is read-only, or two arrays to update share memory.
        Nothing has been changed then.
    """
    rate, decay = as_finite(lr, "lr", 0), as_finite(weight_decay, "weight_decay", 0)
    inertia, damping = as_finite(momentum, "momentum", 0), as_finite(dampening, "dampening")
    if nesterov and (inertia == 0 or damping != 0):
        raise ValueError("nesterov: expected a momentum above 0 and no dampening")
    slots = _slots(params, grads, momentum_buffers, inertia != 0)
    _separate(slots)
    for dtype in (np.float32, np.float64):
        alike = [slot for slot in slots if slot.param.work.dtype == dtype]
        if not alike:
            continue
        _core.sgd(
            [slot.param.work.reshape(-1) for slot in alike],
            [slot.grad.reshape(-1) for slot in alike],
            [None if slot.buffer is None else slot.buffer.work.reshape(-1) for slot in alike],
            [slot.new_buffer for slot in alike],
            rate,
            inertia,
            damping,
            decay,
            bool(nesterov),
            bool(maximize),
        )
    for slot in slots:
        for written in slot.written():
            written.finish()
        if slot.new_buffer and slot.buffer is not None:
            momentum_buffers[slot.index] = slot.buffer.array  # type: ignore[index]


def _slots(
    params: Sequence[FloatArray],
    grads: Sequence[npt.ArrayLike | None],
    momentum_buffers: Sequence[FloatArray | None] | None,
    momentum: bool,
) -> list[_Slot]:
    for name, given in (("params", params), ("grads", grads)):
        if not isinstance(given, Collection) or isinstance(given, Mapping):
            raise TypeError(f"{name}: expected a list of arrays, got {describe(given)}")
    buffers: Sequence[FloatArray | None] = [None] * len(params)
    if momentum:
        if momentum_buffers is None:
            raise ValueError("momentum_buffers: expected a list for a momentum above 0, got None")
        buffers = momentum_buffers
    for name, entries in (("grads", grads), ("momentum_buffers", buffers)):
        if len(entries) != len(params):
            raise ValueError(f"{name}: expected {len(params)} arrays, got {len(entries)}")
    slots = [
        _Slot(i, param, grad, buffer, momentum)
        for i, (param, grad, buffer) in enumerate(zip(params, grads, buffers, strict=True))
        if grad is not None
    ]
    if any(slot.new_buffer for slot in slots) and not isinstance(buffers, MutableSequence):
        raise TypeError(
            "momentum_buffers: expected a list, into which new arrays are put for None, got "
            f"{type(buffers).__name__}"
        )
    return slots
