"""Reads how an ONNX graph is quantized: which nodes an engine may run in INT8, and what their tensors are."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from convert.graph import Array, Graph
from convert.passes.place import clip_limits
from edge_kit.core.errors import BadData
from runtimes.faults import one_line
from runtimes.scales import settle_scales

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "Clip")
PLUMBING = (
    "Shape", "Size", "Constant", "ConstantOfShape", "Range", "Gather", "Slice", "Concat", "Cast", "Identity",
    "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Expand",
)  # fmt: skip
"""Operators that move values or compute shapes: a run of these alone is no float island."""

MOVING = (
    "DepthToSpace", "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Resize", "Slice", "Gather",
    "Expand",
)  # fmt: skip
INT8_KERNELS = (
    *WEIGHTED, *MOVING, "Add", "Mul", "Concat", "Split", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid",
    "Softmax", "ReduceMean",
)  # fmt: skip
"""Operators of which ONNX Runtime has an INT8 form, fused from the quantizers around them."""


class Quantized:
    """A graph with its nodes by name, and the producer and the readers of every tensor.

    Attributes:
        graph: The graph; every node has a name that no other has.
        nodes: By name, in topological order.
    """

    def __init__(self, model: ModelProto) -> None:
        self.graph = Graph(model)
        self.nodes = {node.name: node for node in self.graph.nodes}
        self._producers = {name: node for node in self.graph.nodes for name in node.output if name}
        self._readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.graph.nodes:
            for name in dict.fromkeys([*node.input, *_captured(node)]):
                self._readers[name].append(node)

    def producer(self, tensor: str) -> NodeProto | None:
        """The node that computes `tensor`; None for inputs and constants."""
        return self._producers.get(tensor)

    def readers(self, tensor: str) -> list[NodeProto]:
        """The nodes that read `tensor`, in order; one whose body reads it is among them."""
        return self._readers.get(tensor, [])

    def of(self, *operators: str) -> list[NodeProto]:
        """Every node of these operators, in order."""
        return [node for node in self.graph.nodes if node.op_type in operators]

    def source(self, tensor: str, operator: str) -> NodeProto | None:
        """The node that computes `tensor`, if it is of that operator."""
        node = self.producer(tensor)
        return node if node is not None and node.op_type == operator else None

    def quantizers(self) -> list[NodeProto]:
        """Every QuantizeLinear of an activation, in order."""
        return [node for node in self.of("QuantizeLinear") if not self.graph.is_constant(node.input[0])]

    def is_quantizing(self) -> bool:
        """Whether any node is quantized, or meant to be."""
        return any(is_quantizer(node) or is_integer(node.op_type) for node in self.graph.nodes)

    def zero_point(self, node: NodeProto) -> Array | None:
        """That of a QuantizeLinear or DequantizeLinear; None where the graph computes it."""
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros((), np.uint8)
        return self.graph.constants.get(node.input[2])

    def weight(self, node: NodeProto) -> tuple[Array, bool] | None:
        """The stored weight of a weighted node, and whether it is stored in INT8; None where it is computed."""
        name = node.input[1] if len(node.input) > 1 else ""
        stored = self.graph.constants
        for operator in ("DequantizeLinear", "QuantizeLinear"):
            behind = self.source(name, operator)
            name = behind.input[0] if behind is not None else name
        return (stored[name], stored[name].dtype.kind in "iu") if name in stored else None

    def activations(self, node: NodeProto) -> list[str]:
        """The tensors that a node reads besides its constants, the quantized weight and bias included in those."""
        names = node.input[:1] if node.op_type in (*WEIGHTED, *MOVING) and self.weight_is_known(node) else node.input
        return [name for name in names if name and not self.graph.is_constant(name)]

    def weight_is_known(self, node: NodeProto) -> bool:
        """Whether the second input of a node is no activation: a weight, or the shape of one that moves values."""
        return node.op_type in MOVING or self.weight(node) is not None

    def is_quantized(self, node: NodeProto) -> bool:
        """Whether the file means this node to run in INT8: it reads dequantized tensors, its output is quantized."""
        if is_integer(node.op_type):
            return True
        names = self.activations(node)
        if names and not is_quantizer(node) and all(self.source(name, "QuantizeLinear") for name in names):
            return True  # it moves integers
        if node.op_type not in INT8_KERNELS or not names:
            return False
        if node.op_type in WEIGHTED and self.weight_is_known(node):
            names.append(node.input[1])
        return all(self.source(name, "DequantizeLinear") for name in names) and self.ends_quantized(node)

    def ends_quantized(self, node: NodeProto) -> bool:
        """Whether every output is read by quantizers alone, or by an activation that they make needless."""
        if node.op_type in WEIGHTED and node.output[0] in self.graph.outputs:
            return not self.readers(node.output[0])  # the last matrix product may give floats
        for name in node.output:
            readers = self.readers(name)
            if len(readers) == 1 and self.is_absorbed(readers[0]):
                readers = self.readers(readers[0].output[0])
            if not readers or any(reader.op_type != "QuantizeLinear" for reader in readers):
                return False
        return True

    def is_absorbed(self, node: NodeProto) -> bool:
        """Whether an activation does nothing, as the grid that its output is rounded to ends where it clips."""
        limits = clip_limits(self.graph, node)
        readers = self.readers(node.output[0])
        if limits is None or len(readers) != 1 or readers[0].op_type != "QuantizeLinear":
            return False
        scale, zero = self.graph.constants.get(readers[0].input[1]), self.zero_point(readers[0])
        if scale is None or zero is None or scale.size != 1 or zero.size != 1:
            return False
        ends, step = np.iinfo(zero.dtype), float(scale.reshape(-1)[0])
        low, high = ((end - int(zero.reshape(-1)[0])) * step for end in (ends.min, ends.max))
        return low >= limits.low - step / 2 and high <= limits.high + step / 2

    def pair_of(self, tensor: str) -> tuple[NodeProto, NodeProto] | None:
        """The QuantizeLinear and DequantizeLinear that `tensor` comes out of."""
        second = self.source(tensor, "DequantizeLinear")
        first = self.source(second.input[0], "QuantizeLinear") if second is not None else None
        return (first, second) if first is not None and second is not None else None

    def around(self, node: NodeProto) -> list[str]:
        """Names of the node and of the quantizers next to it."""
        near = [self.producer(name) for name in node.input if name]
        near += [reader for name in node.output for reader in self.readers(name)]
        return [node.name, *(one.name for one in near if one is not None and is_quantizer(one))]

    def node_of(self, operator: str) -> str | None:
        """The node that an engine's operator came from, by name: engines append to the names of nodes or tensors."""
        # one prefix for a node that runs in another precision, and for the casts around it, which are no node's
        name = operator.removeprefix("InsertedPrecisionFreeCast_") if operator.endswith("_nchwc") else operator
        while name:
            if name in self.nodes:
                return name
            made = self.producer(name)
            if made is not None:
                return str(made.name)
            shorter = re.sub(r"(_token_\d+|_nchwc|_\d+|/[^/]*)$", "", name)
            if shorter == name:
                return None
            name = shorter
        return None


def read_model(path: Path) -> tuple[ModelProto, bool]:
    """Read an ONNX file and give every node a name of its own.

    Returns:
        The model, and whether a node had none.

    Raises:
        BadData: It is not there, or not an ONNX file.
    """
    if not path.is_file():
        raise BadData(f"model file {str(path)!r} does not exist")
    try:
        model = onnx.load(str(path))
        settle_scales(model)
        Graph(model)
    except Exception as fault:  # what a broken file makes protobuf and onnx raise has no common base
        raise BadData(f"{str(path)!r} is not a valid ONNX file: {one_line(fault)}") from None
    if not model.graph.node:
        raise BadData(f"{str(path)!r} is not a valid ONNX file: its graph has no node")
    for node in model.graph.node:
        # what the rules index; an engine tells whether the rest holds, ONNX's checker refuses what engines run
        least = 2 if is_quantizer(node) else 0 if node.op_type not in (*INT8_KERNELS, *ACTIVATIONS) else 1
        if len(node.input) < least or not node.output:
            raise BadData(f"{str(path)!r} is not a valid ONNX file: a {node.op_type} has too few inputs or outputs")
    taken = {node.name for node in model.graph.node}
    seen: set[str] = set()
    renamed = False
    for i, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}.{i}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)
            renamed = True
        seen.add(node.name)
    return model, renamed


def is_quantizer(node: NodeProto) -> bool:
    """Whether a node only goes between float and integer."""
    return node.op_type in ("QuantizeLinear", "DequantizeLinear")


def is_integer(kind: str) -> bool:
    """Whether an operator is one of those that work on integers."""
    return kind.startswith("QLinear") or kind in ("QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")


def bodies(node: NodeProto) -> list[GraphProto]:
    """The graphs inside a node: the branches of an If, the body of a Loop or Scan."""
    inside = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    return inside + [body for a in node.attribute if a.type == AttributeProto.GRAPHS for body in a.graphs]


def _captured(node: NodeProto) -> list[str]:
    """Names that the bodies of a node read; those of their own tensors are harmless among them."""
    return [name for body in bodies(node) for inner in body.node for name in (*inner.input, *_captured(inner))]
