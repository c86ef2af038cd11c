"""Runs a quantized graph as another processor would: exact integers, with or without VNNI, on any machine.

ONNX Runtime itself says what is computed: it fuses the graph, and the fused nodes are then run one by one in NumPy.
What multiplies no integers (float nodes, reshapes, pools without a form in `convert.integer`) is the same on every
x86 processor and is run by ONNX Runtime. On ARM sums and products are the same, sums of two tensors may round apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from convert.graph import Array, attribute
from convert.integer import OPERATORS, Inputs, Products
from convert.lstm import DYNAMIC_LSTM, dynamic_quantize_lstm
from convert.pairs import in_kernel_order, is_depthwise, pair_load
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Run, Tensors
from runtimes.ort import OnnxRuntime

UNKNOWN_PRODUCTS = ("MatMulInteger", "ConvInteger", "DynamicQuantize", "QAttention", "QMoE")


class Arithmetic(Enum):
    """How products of U8 and S8 are summed."""

    INT32 = "int32"
    """Exact: x86 with VNNI, ARM."""
    INT16_PAIRS = "int16 pairs"
    """x86 without VNNI: two products at a time, in int16, which saturates."""


class Emulated:
    """One graph in one arithmetic; a `Run`.

    Attributes:
        saturated: Pair sums that saturated so far, by output of the node; nodes where none did are left out.
    """

    def __init__(self, model: ModelProto, arithmetic: Arithmetic) -> None:
        self.saturated: dict[str, int] = {}
        self._pairs = arithmetic is Arithmetic.INT16_PAIRS
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._nodes = list(model.graph.node)
        self._outputs = [value.name for value in model.graph.output]
        self._others = {
            node.output[0]: _OrtNode(node, model, self._constants) for node in self._nodes if not has_form(node)
        }
        for node in self._nodes:
            if attribute(node, "channels_last", 0):
                raise BadData(f"cannot emulate {node.op_type} {node.name!r}: channels last; give the graph before that")
        self._last = {name: i for i, node in enumerate(self._nodes) for name in node.input}

    def __call__(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch."""
        values = {**self._constants, **inputs}
        for i, node in enumerate(self._nodes):
            self._run_node(node, values)
            for name in node.input:
                if name not in self._constants and self._last[name] == i and name not in self._outputs:
                    values.pop(name, None)
        return {name: values[name] for name in self._outputs}

    def _run_node(self, node: NodeProto, values: dict[str, Array]) -> None:
        other = self._others.get(node.output[0])
        if other is not None:
            values.update(other({name: values[name] for name in node.input if name}))
            return
        products = Products(pairs=self._pairs)
        given = [values[name] if name else None for name in node.input]
        values.update(zip(node.output, computed(node, given, products), strict=False))  # the last may be left out
        if products.saturated:
            self.saturated[node.output[0]] = self.saturated.get(node.output[0], 0) + products.saturated


class _OrtNode:
    """One node as a model of its own, run by ONNX Runtime; made when the types of its inputs are known."""

    def __init__(self, node: NodeProto, model: ModelProto, constants: Tensors) -> None:
        if node.op_type.startswith(UNKNOWN_PRODUCTS):
            raise BadData(f"cannot emulate {node.op_type} {node.name!r}: no form of it in convert.integer")
        self._node = node
        self._model = model
        self._fixed = {name: constants[name] for name in node.input if name in constants}
        self._run: Run | None = None

    def __call__(self, inputs: Tensors) -> Tensors:
        given = {name: value for name, value in inputs.items() if name not in self._fixed}
        if self._run is None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "node.onnx"
                onnx.save(self._alone(given), str(path))
                self._run = OnnxRuntime().load(path).run
        return self._run(given)

    def _alone(self, inputs: Tensors) -> ModelProto:
        kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in inputs.items()}
        body = helper.make_graph(
            [self._node],
            "node",
            [helper.make_tensor_value_info(name, kind, [None] * inputs[name].ndim) for name, kind in kinds.items()],
            [onnx.ValueInfoProto(name=name) for name in self._node.output if name],
            [numpy_helper.from_array(value, name) for name, value in self._fixed.items()],
        )
        return helper.make_model(body, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)


def computed(node: NodeProto, inputs: Inputs, products: Products) -> tuple[Array, ...]:
    """The outputs of a node that has a form."""
    if node.op_type == DYNAMIC_LSTM:
        return dynamic_quantize_lstm(node, inputs, products)
    return (OPERATORS[node.op_type](node, inputs, products),)


def has_form(node: NodeProto) -> bool:
    """Whether a node is computed in NumPy here."""
    if node.op_type == "MaxPool":
        padded = attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
        return padded and not attribute(node, "ceil_mode", 0) and len(node.output) == 1
    return node.op_type in (*OPERATORS, DYNAMIC_LSTM)


def fused(graph: Path) -> ModelProto:
    """The graph as ONNX Runtime runs it: quantizers fused with what stands between them.

    Raises:
        BadData: The file is missing, broken or holds what ONNX Runtime cannot run.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fused.onnx"
        OnnxRuntime().fuse(graph, path)
        return onnx.load(str(path))


def emulated(graph: Path, arithmetic: Arithmetic) -> Emulated:
    """A quantized graph as a function, in the given arithmetic.

    Args:
        graph: ONNX with quantizers (QDQ) or quantized operators.

    Raises:
        BadData: The graph is broken, or holds products of integers that have no form in `convert.integer`.
    """
    return Emulated(fused(graph), arithmetic)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one file scores on two kinds of x86 processor.

    Attributes:
        exact: Score where products are summed in int32 (VNNI).
        pairs: Score where they are summed in saturating int16 pairs (AVX2, AVX-512 without VNNI).
        saturated: Pair sums that saturated while scoring, by output of the node.
    """

    exact: float
    pairs: float
    saturated: dict[str, int]


def predict(graph: Path, score: Callable[[Run], float]) -> Prediction:
    """Score a quantized graph with and without VNNI, on any machine.

    Args:
        score: The metric of a graph given as a function, such as a task's `evaluate` gives it.
    """
    exact, pairs = (emulated(graph, arithmetic) for arithmetic in (Arithmetic.INT32, Arithmetic.INT16_PAIRS))
    return Prediction(score(exact), score(pairs), dict(pairs.saturated))


def pair_loads(graph: Path) -> dict[str, Array]:
    """How far the pair sums of each node's channels can go, (O,) by output tensor; above 1 they can saturate."""
    model = fused(graph)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    loads = {}
    for node in model.graph.node:
        weight = constants.get(node.input[3]) if node.op_type in ("QLinearConv", "QGemm") else None
        if weight is None or weight.dtype != np.int8 or constants[node.input[2]].dtype != np.uint8:
            continue
        if node.op_type == "QGemm":
            weight = weight if attribute(node, "transB", 0) else weight.T
        elif is_depthwise(weight, attribute(node, "group", 1)):
            continue
        loads[node.output[0]] = pair_load(in_kernel_order(weight))
    return loads
