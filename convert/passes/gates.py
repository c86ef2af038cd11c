"""Gates behind convolutions: Sigmoid and HardSigmoid, and the product that one is a factor of, as in Swish."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Graph, attribute, label

SIGMOIDS = ("Sigmoid", "HardSigmoid")
GATES = (*SIGMOIDS, "Mul")


def is_gate(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is the Sigmoid or HardSigmoid of a convolution, or multiplies by one.

    Those of recurrent cells are not: what is rounded there is fed back at every step.
    """
    if node.op_type == "Mul":
        factors = [graph.producer(name) for name in node.input]
        return any(one is not None and one.op_type in SIGMOIDS and is_gate(graph, one) for one in factors)
    return node.op_type in SIGMOIDS and _reads_convolution(graph, node)


def may_be_gate(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is no Sigmoid and no product, or one whose rounding is not fed back."""
    return node.op_type not in GATES or is_gate(graph, node)


def hard_swish_stems(graph: Graph) -> list[NodeProto]:
    """The convolutions of an input of the graph whose one reader is HardSwish."""
    first = [node for node in graph.nodes if node.op_type == "Conv" and node.input[0] in graph.inputs]
    readers = [graph.only_reader(node.output[0]) for node in first]
    return [node for node, one in zip(first, readers, strict=True) if one is not None and one.op_type == "HardSwish"]


def gate_from_hard_swish(graph: Graph, stems: bool = True) -> int:
    """HardSwish of a convolution into HardSigmoid and Mul, which it stands for and each of which has an INT8 form.

    Args:
        stems: Also that of a convolution that `hard_swish_stems` finds.
    """
    left = set() if stems else {node.output[0] for node in hard_swish_stems(graph)}
    found = [
        node
        for node in graph.nodes
        if node.op_type == "HardSwish" and _reads_convolution(graph, node) and node.input[0] not in left
    ]
    for node in found:
        source, output = node.input[0], node.output[0]
        gate = helper.make_node(
            "HardSigmoid", [source], [f"{output}.gate"], f"{label(node)}.gate", alpha=1 / 6, beta=0.5
        )
        graph.insert_before(node, gate)
        graph.insert_before(node, helper.make_node("Mul", [source, gate.output[0]], [output], label(node)))
        graph.remove(node)
    return len(found)


def sum_from_hard_sigmoid(graph: Graph, keep_float: Collection[str] = ()) -> int:
    """HardSigmoid between quantizers into a sum: the scale that is read takes its factor, its grid clips as it does.

    ONNX Runtime has no INT8 kernel for HardSigmoid, and one for Add.
    """
    done = 0
    for node in [node for node in graph.nodes if node.op_type == "HardSigmoid" and label(node) not in keep_float]:
        before, offset = graph.producer(node.input[0]), float(attribute(node, "beta", 0.5))
        factor = float(attribute(node, "alpha", 0.2))
        if before is None or before.op_type != "DequantizeLinear" or factor <= 0 or not offset:
            continue
        if node.output[0] in graph.outputs or not all(_clips(graph, one) for one in graph.consumers(node.output[0])):
            continue
        integers, scale, zero = before.input
        terms = [f"{node.output[0]}.scaled", f"{node.output[0]}.offset"]
        for fresh in (
            _dequantizer(graph, terms[0], integers, factor * float(graph.constants[scale]), zero),
            _constant(graph, terms[1], offset, graph.constants[zero].dtype),
            helper.make_node("Add", terms, node.output, node.name),
        ):
            graph.insert_before(node, fresh)
        graph.remove(node)
        done += 1
    if done:
        graph.remove_dead()
    return done


def _reads_convolution(graph: Graph, node: NodeProto) -> bool:
    source = graph.producer(node.input[0])
    return source is not None and source.op_type == "Conv"


def _clips(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is a quantizer whose grid is within 0 and 1 and starts at 0."""
    if node.op_type != "QuantizeLinear":
        return False
    scale, zero = (graph.constants[name] for name in node.input[1:])
    steps = np.iinfo(zero.dtype)
    return bool(zero == steps.min and scale * (steps.max - steps.min) <= 1 + 1e-6)


def _constant(graph: Graph, name: str, value: float, kind: np.dtype[Any]) -> NodeProto:
    """A number as one of the ends of a grid from or to 0."""
    steps = np.iinfo(kind)
    most, zero = (steps.max, steps.min) if value > 0 else (steps.min, steps.max)
    graph.constants[f"{name}.q"] = np.array(most, kind)
    graph.constants[f"{name}.zero"] = np.array(zero, kind)
    return _dequantizer(graph, name, f"{name}.q", abs(value) / (steps.max - steps.min), f"{name}.zero")


def _dequantizer(graph: Graph, name: str, integers: str, scale: float, zero: str) -> NodeProto:
    graph.constants[f"{name}.scale"] = np.array(scale, np.float32)
    return helper.make_node("DequantizeLinear", [integers, f"{name}.scale", zero], [name], f"{name}.dq")
