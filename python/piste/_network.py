"""A module lowered to the engine, and the arrays that go in and out of it."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._arrays import FloatArray, as_array, as_float, check_shape, empty

if TYPE_CHECKING:
    from .nn.module import Module

_READ = tuple(map(np.dtype, (np.uint8, np.float32, np.float64)))  # by the engine


def _is_mapped(array: npt.NDArray[Any]) -> bool:
    base: object = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


class _Calls:
    """The calls of `forward` by hand, of a network and its twin of the other dtype together.

    Were they to name each other, or themselves, their memory would wait for Python's collector.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.steps = 0
        self.forwarded = dtype  # that of the one which ran last


class CompiledNetwork:
    """The engine's network of one module; its parameters are the module's arrays.

    `dtype` is that of a module without floats of its own.
    """

    last_change: object = None  # of any layer's options, when this network was known to be right
    changes: tuple[object, ...] = ()  # the last one of each layer

    def __init__(self, module: Module, dtype: npt.DTypeLike = np.float32) -> None:
        module._check_passes()
        parameters = module.parameters()
        if len({id(array) for array in parameters}) < len(parameters):
            raise ValueError(
                "a layer with weights stands in the network twice; sharing weights is not supported"
            )
        # Running statistics count too: a norm without weights has nothing else.
        arrays = [a for _, child in module.named_modules() for _, a in child._own_items()]
        dtypes = {array.dtype for array in arrays if array.dtype.kind == "f"}
        if len(dtypes) > 1:
            names = sorted(str(dtype) for dtype in dtypes)
            raise TypeError(f"all layers of a network need one dtype, got {' and '.join(names)}")
        self.has_floats = bool(dtypes)
        self.dtype: np.dtype[Any] = dtypes.pop() if dtypes else np.dtype(dtype)
        single = self.dtype == np.float32
        self.net: Any = _core.NetworkF32() if single else _core.NetworkF64()
        try:
            self.net.output(module._lower(self.net, self.net.input(), ""))
        except RecursionError:
            raise ValueError(
                f"{type(module).__name__}: modules are nested more deeply than Python's limit, "
                f"sys.getrecursionlimit() = {sys.getrecursionlimit()}, lets them be followed; "
                "put layers side by side in one Sequential"
            ) from None
        self.net.set_input_scale(1 / 255, 0)
        layers = [child for _, child in module.named_modules()]
        axes = next((child._axes for child in layers if child._axes is not None), None)
        # Only what takes images, or flattens whatever comes, is given images without channels; a
        # layer that flattens, alone, would count its axes from the back of others.
        self._adds_channels = axes == 2 or (
            axes is None
            and len(layers) > 1
            and any(type(child).__name__ == "Flatten" for child in layers)
        )
        self._input_shape: tuple[int, ...] | None = None
        self._twin: CompiledNetwork | None = None  # of the other dtype, for calls by hand
        self._calls = _Calls(self.dtype)
        self._sample_and_output: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())  # the last
        self._read_as_is: tuple[object, ...] = ()  # dtype, layout and sample shape of the last

    def go_on_from(self, before: CompiledNetwork) -> None:
        """Take over what outlasts a change of options; what `forward` kept does not."""
        self._calls = before._calls
        for gradient, last in zip(self.net.gradients(), before.net.gradients(), strict=True):
            gradient[...] = last

    def in_dtype_of(self, x: object, module: Module) -> CompiledNetwork:
        """This network; where its `module` has no floats of its own, one in the dtype of `x`."""
        double = isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.dtype.itemsize == 8
        dtype = np.dtype(np.float64 if double else np.float32)
        if dtype == self.dtype:
            return self
        if self._twin is None:
            self._twin = CompiledNetwork(module, dtype)
            self._twin._calls = self._calls
        return self._twin

    def images(self, x: npt.ArrayLike, layout: str = "NCHW") -> npt.NDArray[Any]:
        """`x` as the engine takes it: uint8 or floats in NCHW order, with any strides.

        Nothing is copied but float types that the engine doesn't read. Images without a channel
        axis (n, height, width) get one.
        """
        # The batches of a loop are much like each other, and small ones should not wait for this.
        if type(x) is np.ndarray and (x.dtype, layout, x.shape[1:]) == self._read_as_is:
            return x
        if layout not in ("NCHW", "NHWC"):
            raise ValueError(f"layout: expected 'NCHW' or 'NHWC', got {layout!r}")
        array = as_array(x, "x")
        if array.dtype not in _READ or not array.dtype.isnative:
            if array.dtype.kind != "f":
                raise TypeError(f"x: expected floats or uint8, got {array.dtype}")
            if _is_mapped(array):
                raise TypeError(
                    "x: expected a memory map of native float32, float64 or uint8, got "
                    f"{array.dtype.str}, which would have to be converted in memory"
                )
            with np.errstate(over="ignore"):  # training and evaluation see infinity
                array = as_float(np.asarray(array, dtype=self.dtype), "x")
        given, array = array.shape, self._in_order(array, layout)
        if not 2 <= array.ndim <= 5:
            sizes = "[[depth,] height,] width"
            images = f"{sizes}, channels" if layout == "NHWC" else f"channels, {sizes}"
            raise ValueError(
                f"x: expected shape (n, features), (n, height, width) or (n, {images}), got "
                f"{array.shape}{self._advice(given, layout)}"
            )
        try:
            self.output_shape(array)
        except ValueError as error:
            advice = self._advice(given, layout)
            raise ValueError(f"{error}{advice}; x has shape {array.shape}") from None
        if array is x:
            self._read_as_is = array.dtype, layout, array.shape[1:]
        return array

    def _in_order(self, x: npt.NDArray[Any], layout: str) -> npt.NDArray[Any]:
        if x.ndim == 3 and self._adds_channels:
            return x[:, None]
        return np.moveaxis(x, -1, 1) if x.ndim > 2 and layout == "NHWC" else x

    def _advice(self, shape: tuple[int, ...], layout: str) -> str:
        """What may have been forgotten where `shape` does not fit: that with which it would."""
        other = "NCHW" if layout == "NHWC" else "NHWC"
        one, turned = "x[None], a batch of one sample,", f"layout={other!r}"
        for text, case in (
            (one, ((1, *shape), layout)),
            (turned, (shape, other)),
            (f"{one} with {turned}", ((1, *shape), other)),
        ):
            if self._fits(*case):
                return f"; {text} would fit"
        return ""

    def _fits(self, shape: tuple[int, ...], layout: str) -> bool:
        x = self._in_order(np.broadcast_to(np.uint8(0), shape), layout)
        try:
            return 2 <= x.ndim <= 5 and bool(self.net.output_shape(x.shape[1:]))
        except ValueError:
            return False

    def output_shape(self, x: npt.NDArray[Any]) -> tuple[int, ...]:
        """Shape of the whole output for the images `x`."""
        sample, output = self._sample_and_output
        if sample != x.shape[1:]:
            sample, output = x.shape[1:], self.net.output_shape(x.shape[1:])
            self._sample_and_output = sample, output
        return (len(x), *output)

    def single_value_norm(self, x: npt.NDArray[Any]) -> str | None:
        """The first batch norm that gets one value per channel of each of the images `x`."""
        steps = self.net.plan("train", 1, x.shape[1:]).steps
        norms = (step for step in steps if step.kernel.startswith("batch norm"))
        return next((norm.layer for norm in norms if math.prod(norm.input[1:]) == 1), None)

    def predict(
        self, x: npt.ArrayLike, layout: str = "NCHW", augmentation: Any = None
    ) -> FloatArray:
        """Outputs in evaluation mode."""
        images = self.images(x, layout)
        out = empty(self.output_shape(images), self.dtype)
        if len(images):
            self.net.predict(images, out, augmentation)
        return out

    def forward(self, x: npt.ArrayLike, training: bool) -> FloatArray:
        """Outputs, keeping what `backward` needs."""
        images = self.images(x)
        out = empty(self.output_shape(images), self.dtype)
        if len(images):
            self.net.forward(images, out, training, 0, self._calls.steps)
        self._calls.steps += 1
        self._calls.forwarded = self.dtype
        self._kept = images  # the engine reads it again in backward
        self._input_shape, self._output_shape = images.shape, out.shape
        return out

    def backward(self, grad_output: npt.ArrayLike) -> FloatArray:
        """Gradient by the input of the last forward."""
        if self._twin is not None and self._calls.forwarded != self.dtype:
            return self._twin.backward(grad_output)
        if self._input_shape is None:
            raise RuntimeError("backward: call forward first; again after an option has changed")
        grad = as_array(grad_output, "grad_output")
        if grad.dtype.kind != "f":
            raise TypeError(f"grad_output: expected floats, got {grad.dtype}")
        grad = as_float(np.asarray(grad, dtype=self.dtype), "grad_output")
        check_shape(grad, self._output_shape, "grad_output")
        grad_input = empty(self._input_shape, self.dtype)
        if len(grad):
            self.net.backward(grad, grad_input)
        else:
            for gradient in self.net.gradients():
                gradient[...] = 0
        return grad_input
