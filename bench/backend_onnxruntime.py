"""Networks forward in ONNX Runtime, their graphs made node by node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxruntime
from cases import Case, model_state, step_arrays
from onnx import TensorProto, helper, numpy_helper

version = f"ONNX Runtime {onnxruntime.__version__}"
_threads = 1


def set_threads(threads: int) -> None:
    global _threads
    _threads = threads


class _Graph:
    """Nodes in order, and the shapes of their arrays in the order of a state_dict."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node; returns the name of its output."""
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def array(self, kind: str, *shape: int) -> str:
        name = f"{len(self.shapes)}.{kind}"
        self.shapes[name] = shape
        return name

    def conv(
        self, x: str, channels: int, filters: int, kernel: int, stride: int, padding: int,
        bias: bool = True,
    ) -> str:  # fmt: skip
        arrays = [self.array("weight", filters, channels, kernel, kernel)]
        if bias:
            arrays.append(self.array("bias", filters))
        return self.add("Conv", x, *arrays, strides=[stride] * 2, pads=[padding] * 4)

    def linear(self, x: str, features: int, filters: int) -> str:
        arrays = self.array("weight", filters, features), self.array("bias", filters)
        return self.add("Gemm", x, *arrays, transB=1)

    def batch_norm(self, x: str, channels: int) -> str:
        kinds = ("weight", "bias", "running_mean", "running_var")
        return self.add("BatchNormalization", x, *(self.array(kind, channels) for kind in kinds))

    def block(self, x: str, channels: int, filters: int, stride: int) -> str:
        y = self.batch_norm(self.conv(x, channels, filters, 3, stride, 1, False), filters)
        y = self.conv(self.add("Relu", y), filters, filters, 3, 1, 1, False)
        y = self.batch_norm(y, filters)
        if channels != filters:
            x = self.batch_norm(self.conv(x, channels, filters, 1, stride, 0, False), filters)
        return self.add("Relu", self.add("Add", y, x))

    def layer(self, x: str, kind: str, *sizes: Any) -> str:
        if kind in ("max_pool", "avg_pool"):
            op = "MaxPool" if kind == "max_pool" else "AveragePool"
            return self.add(op, x, kernel_shape=sizes * 2, strides=sizes * 2)
        if kind in ("relu", "flatten"):
            return self.add(kind.capitalize(), x)
        return getattr(self, kind)(x, *sizes)


def _model(case: Case) -> bytes:
    graph, y = _Graph(), "x"
    for layer in case["layers"]:
        y = graph.layer(y, *layer)
    state = model_state(graph.shapes)
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in (("x", case["input"]), (y, [case["input"][0], case["classes"]]))
    )
    arrays = [numpy_helper.from_array(array, name) for name, array in state.items()]
    body = helper.make_graph(graph.nodes, "network", inputs, outputs, arrays)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(body, opset_imports=opset, ir_version=8).SerializeToString()


def prepare(case: Case) -> Callable[[], object] | None:
    """What is timed, or None where it can't be done."""
    if case["kind"] != "predict":
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = _threads, 1
    session = onnxruntime.InferenceSession(
        _model(case), options, providers=["CPUExecutionProvider"]
    )
    inputs = {"x": step_arrays(case)[0]}
    return lambda: session.run(None, inputs)[0]
