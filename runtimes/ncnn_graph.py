"""An ONNX graph with every size settled and every constant computed, for one sample; onnx is needed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData, MissingDependency
from edge_kit.core.tensors import Array
from runtimes.faults import one_line
from runtimes.interface import QUANTIZERS, Interface

SPANS = ("kernel_shape", "strides", "dilations")
LARGEST_FOLD = 1 << 26  # elements; what is computed beforehand is stored


@dataclass(frozen=True, slots=True)
class Node:
    """One ONNX node.

    Attributes:
        name: Its own, or that of its first output.
        inputs: Names; empty for one that is left out.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def refuse(self, why: str) -> BadData:
        """The error for what ncnn cannot do, or we cannot say in its form."""
        return BadData(f"ncnn: {self.kind} (node {self.name!r}): {why}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A constant that is kept in INT8 around zero.

    Attributes:
        values: int8.
        step: Of the grid, one number or one for each place of `axis`, (1,) or (C,) float32.
    """

    values: Array
    step: Array
    axis: int


@dataclass(frozen=True, slots=True)
class StaticGraph:
    """What is left to run once all that is known beforehand is computed.

    Attributes:
        nodes: In topological order.
        constants: By tensor name; those that are stored in INT8 are here in float, too.
        stored: The same in INT8, by the name of the float one.
        shapes: With batch 1, by tensor name.
        opset: Of ONNX's own operators.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    stored: Mapping[str, Stored]
    shapes: Mapping[str, tuple[int, ...]]
    opset: int


def read_static(graph: Path, interface: Interface) -> StaticGraph:
    """Read an ONNX file for batches of one sample.

    Raises:
        MissingDependency: onnx is not installed.
        BadData: The graph is broken, or has open axes besides the batch.
    """
    onnx = _onnx()
    try:
        model = onnx.load(str(graph))
        for value in model.graph.output:
            value.type.tensor_type.shape.SetInParent()  # which the checker asks for, and some writers leave out
        onnx.checker.check_model(model)
        _check_spans(onnx, model)
        _fix_batch(model, interface)
        return _settle(onnx, model)
    except BadData:
        raise
    except Exception as fault:  # onnx and protobuf have many, without a common base
        raise BadData(f"ncnn: cannot read {str(graph)!r}: {one_line(fault)}") from fault


def _onnx() -> Any:
    try:
        modules = [import_module(name) for name in ("onnx", "onnx.checker", "onnx.shape_inference", "onnx.reference")]
    except ModuleNotFoundError:
        raise MissingDependency("converting for runtime 'ncnn'", "onnx", "ncnn") from None
    return modules[0]


def _check_spans(onnx: Any, model: Any) -> None:
    """Refuse windows of nothing and steps of nothing: inferring shapes divides by them, and ends the process."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in SPANS and min(attribute.ints, default=1) < 1:
                raise _node(onnx, node).refuse(f"{attribute.name} {list(attribute.ints)}")


def _fix_batch(model: Any, interface: Interface) -> None:
    """Set the axes called `N` to 1."""
    values = {value.name: value for value in model.graph.input}
    for spec in interface.inputs:
        sizes = [1 if axis == "N" else axis for axis in spec.shape]
        for size, axis in zip(sizes, values[spec.name].type.tensor_type.shape.dim, strict=True):
            if isinstance(size, str):
                raise BadData(f"ncnn: input {spec.name!r} has the open axis {size!r}; export it with fixed sizes")
            axis.dim_value = size
    # What the file says of the others may be of another batch, or open.
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _settle(onnx: Any, model: Any) -> StaticGraph:
    """Infer shapes and compute constants in turn, until neither finds more."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    stored: dict[str, Stored] = {}
    while True:
        shapes = _shapes(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True))
        kept: list[Any] = []
        folded: dict[str, Array] = {}
        for node in model.graph.node:
            values = _fold(onnx, node, constants | folded, shapes, opset)
            if values is None:
                kept.append(node)
            else:
                folded |= values
                if node.op_type == "DequantizeLinear":
                    stored |= _stored(_node(onnx, node), constants | folded)
        if not folded:
            break
        constants |= folded
        del model.graph.node[:]
        model.graph.node.extend(kept)
        model.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in folded.items())
    nodes = [_node(onnx, node) for node in kept]
    outputs = {value.name for value in model.graph.output}
    joined = tuple(_join_shuffles(nodes, outputs, constants, shapes))
    return StaticGraph(joined, constants, stored, shapes, opset)


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    body = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in body.initializer}
    for value in (*body.input, *body.value_info, *body.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(axis.HasField("dim_value") for axis in tensor.shape.dim):
            shapes[value.name] = tuple(axis.dim_value for axis in tensor.shape.dim)
    return shapes


def _fold(
    onnx: Any, node: Any, constants: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]], opset: int
) -> dict[str, Array] | None:
    """What a node gives, where that is known beforehand and worth storing."""
    if node.op_type == "Shape" and node.input[0] in shapes:
        first, last = (
            onnx.helper.get_node_attr_value(node, key) if _has(node, key) else None for key in ("start", "end")
        )
        return {node.output[0]: np.array(shapes[node.input[0]][first:last], np.int64)}
    if not all(name in constants for name in node.input if name) or "Random" in node.op_type:
        return None
    sizes = [int(np.prod(shapes[name], dtype=np.float64)) for name in node.output if name in shapes]
    if node.op_type != "Constant" and (len(sizes) < len(node.output) or max(sizes, default=0) > LARGEST_FOLD):
        return None
    fed = {name: constants[name] for name in node.input if name}
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in node.output]
    takes = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in fed.items()
    ]
    body = onnx.helper.make_graph([node], "constant", takes, values)
    # onnx computes quantizers from opset 19 on; ones of weights are the same before
    version = max(opset, 19) if node.op_type in QUANTIZERS else opset
    alone = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", version)])
    results = onnx.reference.ReferenceEvaluator(alone).run(None, fed)
    return {name: np.asarray(value) for name, value in zip(node.output, results, strict=True)}


def _stored(node: Node, constants: Mapping[str, Array]) -> dict[str, Stored]:
    """The INT8 behind a DequantizeLinear of a constant; nothing where it is not signed and around zero."""
    values, step = constants[node.inputs[0]], constants[node.inputs[1]]
    zero = constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else np.zeros(())
    if values.dtype != np.int8 or zero.any() or not (step > 0).all():
        return {}
    return {node.outputs[0]: Stored(values, step.reshape(-1), node.attributes.get("axis", 1))}


def _has(node: Any, key: str) -> bool:
    return any(attribute.name == key for attribute in node.attribute)


def _node(onnx: Any, node: Any) -> Node:
    attributes = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    return Node(kind, node.name or node.output[0], tuple(node.input), tuple(node.output), attributes)


def _join_shuffles(
    nodes: list[Node], outputs: set[str], constants: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]
) -> list[Node]:
    """Make one node of Reshape, Transpose and Reshape that shuffle channels; ncnn has a layer for it."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    joined: dict[str, Node] = {}  # by the name of the last tensor
    gone: set[str] = set()
    for first in nodes:
        chain = [first]
        while len(chain) < 3 and len(readers.get(chain[-1].outputs[0], ())) == 1:
            chain += readers[chain[-1].outputs[0]]
        if [node.kind for node in chain] != ["Reshape", "Transpose", "Reshape"]:
            continue
        x, parts, y = first.inputs[0], first.outputs[0], chain[2].outputs[0]
        if {parts, chain[1].outputs[0]} & outputs:
            continue
        is_swap = list(chain[1].attributes.get("perm", ())) == [0, 2, 1, 3, 4]
        if is_swap and x not in constants and shapes.get(x) == shapes.get(y) and shapes[x][2:] == shapes[parts][3:]:
            joined[y] = Node("ChannelShuffle", chain[1].name, (x,), (y,), {"group": shapes[parts][1]})
            gone |= {parts, chain[1].outputs[0]}
    return [joined.get(node.outputs[0], node) for node in nodes if node.outputs[0] not in gone]
