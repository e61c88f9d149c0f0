"""What every layer is: named arrays, children, and how it is lowered to the engine."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._arrays import FloatArray, as_array, as_float, check_shape, describe, lasting
from .._network import CompiledNetwork
from ..functional._arguments import as_int

if TYPE_CHECKING:
    from ._summary import Summary

_COMPOSE = "compose layers of piste.nn instead, by Sequential, Residual and Concat"

_DEEPEST_SHOWN = 100  # by repr; the spaces before its lines grow with the depth's square

_averaged: dict[int, Any] = {}
"""By the identity of arrays, as other modules may share them, the core's optimiser that puts
averages into their place, inside `Trainer.averaged_weights`."""

_generator: np.random.Generator | None = None  # made when needed: NumPy loads its module late
_changing = threading.Lock()
_last_change = object()  # of an option of any layer; each is another object


def manual_seed(seed: int) -> None:
    """Seed the generator that initialises the layers constructed from now on."""
    global _generator
    _generator = np.random.default_rng(as_int(seed, "seed", 0))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, layers are initialised as after `manual_seed`; afterwards as if nothing had been."""
    global _generator
    before = _generator
    manual_seed(seed)
    try:
        yield
    finally:
        _generator = before


def uniform(shape: tuple[int, ...], bound: float, dtype: npt.DTypeLike) -> FloatArray:
    """Values from ``[-bound, bound)``, drawn in float64 so that dtypes share their values."""
    global _generator
    if _generator is None:
        _generator = np.random.default_rng()
    return _generator.uniform(-bound, bound, shape).astype(dtype)


class Module:
    """Base of all layers.

    Parameters are NumPy arrays that the engine reads and updates in place; assigning one copies
    into it, and they can't be resized. Buffers (running statistics) likewise, but they are not
    trained.

    Networks take batches. A layer called by itself also takes what PyTorch's does: one sample
    without the batch's axis, and where it works on each value, any shape.

    Options can be assigned to as well: the value is checked as the constructor's is, and every
    network that the layer stands in runs with it from the next call on. Those that decided which
    arrays the layer has, and their shapes, stay as they are.
    """

    training: bool = True
    _axes: int | None = None
    """Axes of the maps that a layer takes, (n, channels, ...), where its kind fixes them."""
    _indexed: Any = None  # what takes the network's place, where there are two outputs
    _shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None = None
    _options: tuple[str, ...] = ()  # the constructor's arguments that attributes keep
    _fixed: tuple[str, ...] = ()  # those among them that the arrays were made by
    _changed: object = None  # the last change of an option

    def __init__(self) -> None:
        object.__setattr__(self, "_parameters", {})
        object.__setattr__(self, "_buffers", {})
        object.__setattr__(self, "_modules", {})
        object.__setattr__(self, "_compiled", None)

    _parameters: dict[str, npt.NDArray[Any] | None]
    _buffers: dict[str, npt.NDArray[Any] | None]
    _modules: dict[str, Module]
    _compiled: CompiledNetwork | None

    def _set_options(self, **options: Any) -> None:
        """For constructors: options that can be assigned to from now on."""
        self._settle(**options)
        object.__setattr__(self, "_options", tuple(options))

    def _settle(self, *args: Any, **options: Any) -> None:
        """Check options, all of them, and keep them and what follows from them as attributes.

        Constructors and assignments both come here; no arrays are made, and none are asked for.
        """
        raise NotImplementedError(f"{type(self).__name__} has options and does not check them")

    def _change_option(self, name: str, value: object) -> None:
        with _changing:  # options are read and written all together
            self._settle_anew(name, value)

    def _settle_anew(self, name: str, value: object) -> None:
        settled = object.__new__(type(self))  # what raises must change nothing here
        settled._settle(**{each: getattr(self, each) for each in self._options} | {name: value})
        before, after = getattr(self, name), getattr(settled, name)
        if before == after:
            return
        if name in self._fixed:
            raise ValueError(
                f"{name}: expected {before!r}, with which the layer's arrays were made, got "
                f"{after!r}; make a new layer"
            )
        # In this order: whoever sees the last change sees what has changed.
        vars(self).update(vars(settled))
        change = object()
        object.__setattr__(self, "_changed", change)
        global _last_change
        _last_change = change

    def _add_parameter(self, name: str, array: FloatArray | None) -> None:
        self._parameters[name] = None if array is None else lasting(array)

    def _add_buffer(self, name: str, array: npt.NDArray[Any] | None) -> None:
        self._buffers[name] = None if array is None else lasting(array)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which are lowered anew: they keep nothing for `backward`."""
        return self.__dict__ | {"_compiled": None, "_shapes": None, "_changed": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for table in (self._parameters, self._buffers):
            for name, array in table.items():
                if array is not None and array.flags.owndata:  # made by copying or loading
                    table[name] = lasting(array)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(table, {})
            if name in entries:
                return entries[name]
        kind = type(self).__name__
        if "_modules" not in self.__dict__ and not name.startswith("__"):
            raise AttributeError(f"{kind}: its __init__ did not call super().__init__()")
        raise AttributeError(f"{kind!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, Module):
            if "_modules" not in self.__dict__:
                raise AttributeError(
                    f"{name}: cannot assign a module before Module.__init__() was called"
                )
            raise AttributeError(
                f"{name}: cannot assign a module, which {type(self).__name__} would not run; "
                f"{_COMPOSE}"
            )
        for table in ("_parameters", "_buffers"):
            entries = self.__dict__.get(table, {})
            if name in entries:
                _assign(entries[name], value, name)
                return
        if name in self._options:
            self._change_option(name, value)
            return
        object.__setattr__(self, name, value)

    def _own_items(self) -> list[tuple[str, npt.NDArray[Any]]]:
        own = [*self._parameters.items(), *self._buffers.items()]
        return [(name, array) for name, array in own if array is not None]

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names."""
        ahead = [(prefix, self)]  # the next one last
        while ahead:
            path, module = ahead.pop()
            yield path, module
            below = f"{path}." if path else ""
            ahead += [(below + name, child) for name, child in reversed(module._modules.items())]

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below this one."""
        return iter(self._modules.items())

    def children(self) -> Iterator[Module]:
        """The modules right below this one, without their names."""
        return iter(self._modules.values())

    def named_parameters(self) -> Iterator[tuple[str, FloatArray]]:
        """Trainable arrays with dotted names, in the order of registration."""
        for prefix, module in self.named_modules():
            for name, array in module._parameters.items():
                if array is not None:
                    yield (f"{prefix}.{name}" if prefix else name), array

    def parameters(self) -> list[FloatArray]:
        """Trainable arrays: the engine's own memory, not copies."""
        return [array for _, array in self.named_parameters()]

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all parameters and buffers under PyTorch's key names."""
        return {name: array.copy() for name, array in self._named_state()}

    def _named_state(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for prefix, module in self.named_modules():
            for name, array in module._own_items():
                yield (f"{prefix}.{name}" if prefix else name), array

    def summary(self, input_shape: Sequence[int]) -> Summary:
        """What each layer does to one sample of `input_shape`; see `piste.nn.summary`."""
        from ._summary import summary

        return summary(self, input_shape)

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Copy values in. Everything is checked before anything changes.

        Raises
        ------
        ValueError, TypeError
            For missing or unexpected keys, another shape, what is no number, or a parameter that is
            read-only.
        RuntimeError
            Inside `Trainer.averaged_weights`, at whose end the values would be lost.
        """
        if self._holds_averages():
            raise RuntimeError(
                "averaged_weights: loading weights is not possible inside, its end undoes it"
            )
        if not isinstance(state, Mapping):
            raise TypeError(f"state_dict: expected names with arrays, got {describe(state)}")
        own = dict(self._named_state())
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unexpected:
            raise ValueError(f"state_dict: missing keys {missing}, unexpected keys {unexpected}")
        self._check_writeable("nothing has been loaded")
        arrays = {name: as_array(value, name) for name, value in state.items()}
        for name, array in arrays.items():
            if array.shape != own[name].shape:
                raise ValueError(f"{name}: expected shape {own[name].shape}, got {array.shape}")
            if array.dtype.kind not in "fiu":
                raise TypeError(f"{name}: expected numbers, got dtype {array.dtype}")
            _check_range(array, own[name].dtype, name)
        # All of them in one call, which no signal divides.
        sources = [np.array(array, own[name].dtype, order="C") for name, array in arrays.items()]
        _core.overwrite([own[name] for name in arrays], sources)

    def _holds_averages(self) -> bool:
        if not _averaged:  # each step asks
            return False
        cores = (_averaged.get(id(array)) for _, array in self._named_state())
        return any(core is not None and core.averages_in_place for core in cores)

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all below it to training (or evaluation)."""
        for _, module in self.named_modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self) -> Module:
        """Switch to evaluation: dropout off, batch norm by its running statistics.

        The module whose `forward` is called decides for all below it; a `Trainer` trains all layers
        in training mode, whatever they were switched to.
        """
        return self.train(False)

    def _lower(self, net: Any, value: int, name: str) -> int:
        raise NotImplementedError(f"{type(self).__name__} cannot be lowered to C++; {_COMPOSE}")

    def _check_passes(self) -> None:
        """Refuse passes written in Python, here and below: the engine would never run them."""
        for _, module in self.named_modules():
            kind = type(module)
            if kind._lower is Module._lower:
                continue  # which says so itself
            for name in ("forward", "backward", "__call__"):
                own = getattr(module, name)
                if getattr(own, "__func__", own) is not getattr(Module, name):
                    raise TypeError(
                        f"{kind.__name__} overrides {name}, but networks are lowered to C++, which "
                        f"does not call it; {_COMPOSE}"
                    )

    def _by_hand(self, x: object = None) -> Any:
        """What calls of this module itself run on: without floats of its own, in `x`'s dtype."""
        network = self._network()
        return network if x is None or network.has_floats else network.in_dtype_of(x, self)

    def _check_writeable(self, otherwise: str, *, parameters: bool = True) -> None:
        """Refuse read-only arrays, whose memory the engine would write to all the same.

        Without `parameters`, running statistics alone: those that a forward pass writes to.
        """
        kept = () if parameters else {id(array) for array in self.parameters()}
        for name, array in self._named_state():
            if not array.flags.writeable and id(array) not in kept:
                raise ValueError(f"{name}: the array is read-only; {otherwise}")

    def _network(self) -> CompiledNetwork:
        """This module in the engine, with the options that its layers have now."""
        compiled = self._compiled
        if compiled is None or compiled.last_change is not _last_change:
            return self._lowered_anew(compiled)
        return compiled

    def _lowered_anew(self, before: CompiledNetwork | None) -> CompiledNetwork:
        """`before` itself where no option of a layer in it has changed since."""
        last = _last_change  # asked for first: what changes meanwhile is seen by the next call
        changes = tuple(module._changed for module in self.modules())
        if before is not None and before.changes == changes:
            before.last_change = last
            return before
        compiled = CompiledNetwork(self)
        if before is not None:
            compiled.go_on_from(before)
        compiled.changes, compiled.last_change = changes, last
        object.__setattr__(self, "_compiled", compiled)
        return compiled

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape as a batch of what this layer alone takes besides batches; None for those."""
        return None

    def _one_sample(
        self, shape: tuple[int, ...], channels: int | None = None
    ) -> tuple[int, ...] | None:
        """The shape (channels, ...) of one sample as that of a batch of one; None for another.

        `channels` is None where a layer takes any number. What may be images without a channel
        axis (n, height, width) stays that.
        """
        if self._axes is None or len(shape) != self._axes + 1:
            return None
        several = shape[0] == channels and (self._axes != 2 or channels > 1)
        return (1, *shape) if channels is None or several else None

    def _output_shape(self, shape: tuple[int, ...], output: FloatArray) -> tuple[int, ...]:
        """That of the output for an input of `shape` for which `_batch_shape` gave a batch."""
        return output.shape[1:]

    def _as_batch(self, network: Any, x: Any) -> tuple[Any, tuple[int, ...] | None]:
        """What `network` is to take for `x`, and the shape of `x` where that is another."""
        if network is self._indexed:
            return x, None
        if not isinstance(getattr(x, "shape", None), tuple):
            x = as_array(x, "x")
        shape = x.shape
        batch = self._batch_shape(shape)
        return (x, None) if batch is None else (as_array(x, "x").reshape(batch), shape)

    def __call__(self, x: npt.ArrayLike) -> FloatArray:
        """Predict: evaluation mode whatever `training` says; nothing is kept for `backward`."""
        network = self._by_hand(x)
        batch, shape = self._as_batch(network, x)
        output: FloatArray = network.predict(batch)
        return output if shape is None else output.reshape(self._output_shape(shape, output))

    def forward(self, x: npt.ArrayLike) -> FloatArray:
        """Output for `x`, keeping what `backward` needs; by `training`'s mode.

        Raises
        ------
        ValueError, TypeError
            For an input that does not fit, or where running statistics are read-only and training
            would update them.
        """
        if self.training and self._indexed is None and not self._network().net.writeable():
            self._check_writeable("eval() leaves the statistics as they are", parameters=False)
        network = self._by_hand(x)
        batch, shape = self._as_batch(network, x)
        output: FloatArray = network.forward(batch, self.training)
        if shape is None:
            object.__setattr__(self, "_shapes", None)
            return output
        result = output.reshape(self._output_shape(shape, output))
        object.__setattr__(self, "_shapes", (result.shape, output.shape, shape))
        return result

    def backward(self, grad_output: npt.ArrayLike) -> FloatArray:
        """Gradient by the input of the last `forward`; fills `gradients`."""
        gradient: FloatArray
        if self._shapes is None:
            gradient = self._by_hand().backward(grad_output)
            return gradient
        given, batch, shape = self._shapes
        grad = as_array(grad_output, "grad_output")
        check_shape(grad, given, "grad_output")
        gradient = self._by_hand().backward(grad.reshape(batch))
        return gradient.reshape(shape)

    def gradients(self) -> dict[str, FloatArray]:
        """Gradients of the last `backward` or training step, by parameter name."""
        names = [name for name, _ in self.named_parameters()]
        return dict(zip(names, self._network().net.gradients(), strict=True))

    def extra_repr(self) -> str:
        """Arguments shown by ``repr``."""
        return ""

    def __repr__(self) -> str:
        lines: list[str] = []
        ahead: list[tuple[str, str, Module | None]] = [("", "", self)]  # the next one last
        while ahead:
            indent, label, module = ahead.pop()
            if module is None:
                lines.append(f"{indent})")
                continue
            kind = type(module).__name__
            if module is not self and type(module).__repr__ is not Module.__repr__:
                text = repr(module)
            elif not module._modules:
                text = f"{kind}({module.extra_repr()})"
            elif len(indent) >= 2 * _DEEPEST_SHOWN:
                text = f"{kind}(... {sum(1 for _ in module.modules()) - 1} modules, nested deeper)"
            else:
                lines.append(f"{indent}{label}{kind}(")
                ahead.append((indent, "", None))
                ahead += [
                    (indent + "  ", f"({name}): ", child)
                    for name, child in reversed(module._modules.items())
                ]
                continue
            lines.append(indent + label + text.replace("\n", f"\n{indent}"))
        return "\n".join(lines)


class Elementwise(Module):
    """A layer that works on each value by itself: alone, it takes an array of any shape."""

    def _batch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if 2 <= len(shape) <= 5:
            return None
        size = math.prod(shape)
        return (1, size) if size else (0, 1)  # samples may not be empty

    def _output_shape(self, shape: tuple[int, ...], output: FloatArray) -> tuple[int, ...]:
        # Dropout of whole channels is none of each value: its sample has more axes.
        return shape if output.ndim == 2 else output.shape[1:]


def _assign(target: npt.NDArray[Any] | None, value: object, name: str) -> None:
    if target is None:
        raise ValueError(f"{name}: this layer has none")
    array = as_array(value, name)
    if array.shape != target.shape:
        raise ValueError(f"{name}: expected shape {target.shape}, got {array.shape}")
    if target.dtype.kind == "f" and array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got {describe(value)}")
    _check_range(array, target.dtype, name)
    target[...] = array


def _check_range(array: npt.NDArray[Any], dtype: np.dtype[Any], name: str) -> None:
    """Refuse finite numbers that would become infinite."""
    if array.dtype.kind == dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize:
        with np.errstate(over="ignore"):
            lost = np.isinf(array.astype(dtype)) & np.isfinite(array)
        if lost.any():
            raise ValueError(f"{name}: {array[lost].flat[0]:g} is too large for {dtype}")


__all__ = ["Module", "as_float", "manual_seed", "uniform"]
