"""Scales that need not be stored in full, as they follow from others."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper

from convert.graph import Graph
from convert.halves import as_half

FEWEST = 32  # scales in one tensor; what stands for them takes as many bytes as half of that


def derive_scales(graph: Graph) -> int:
    """Have long scales computed on loading: a bias's from those of what is summed up, a weight's from 16 bits.

    Engines compute what constants alone tell before they look for integer kernels. Of MobileNetV2's file, the scales
    were a twenty-fifth.
    """
    dequantizers = {node.output[0]: node for node in graph.nodes if node.op_type == "DequantizeLinear"}
    products = [
        _product(graph, *(dequantizers[name].input[1] for name in node.input))
        for node in graph.nodes
        if len(node.input) == 3 and dequantizers.keys() >= set(node.input)
    ]
    weights = [node.input[1] for node in dequantizers.values() if graph.is_constant(node.input[0])]
    casts = [_cast(graph, name) for name in dict.fromkeys(weights)]
    derived = [node for node in (*casts, *products) if node is not None]
    graph.nodes[:0] = derived
    return len(derived)


def _product(graph: Graph, activation: str, weight: str, bias: str) -> NodeProto | None:
    """Computes the scale of a bias; None where it is not the product of the other two."""
    if not all(graph.is_constant(name) for name in (activation, weight, bias)):
        return None
    found, of_activation, of_weight = (graph.constants[name] for name in (bias, activation, weight))
    if found.size < FEWEST or not np.array_equal(of_activation * of_weight, found):
        return None
    del graph.constants[bias]
    return helper.make_node("Mul", [activation, weight], [bias])


def _cast(graph: Graph, scale: str) -> NodeProto | None:
    """Computes the scale of a weight; None where 16 bits do not hold it."""
    value = graph.constants.get(scale)
    half = as_half(value) if value is not None and value.size >= FEWEST else None
    if half is None:
        return None
    del graph.constants[scale]
    graph.constants[f"{scale}16"] = half
    return helper.make_node("Cast", [f"{scale}16"], [scale], to=TensorProto.FLOAT)
