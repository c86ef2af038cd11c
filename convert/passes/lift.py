"""Takes the quantizers off a graph and keeps what they know.

A fake-quantized export says two things: where values lie (worth keeping) and where a kernel must round (wrong for
almost every target). Lifting keeps the first as a `Quantization` and leaves a plain float graph.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from convert.graph import Array, Graph, attribute
from convert.quantization import Quantization, Range


def lift_quantization(graph: Graph) -> Quantization:
    """Remove every QuantizeLinear and DequantizeLinear; return the ranges and weight grids they held."""
    found = Quantization()
    for node in list(graph.nodes):
        if node.op_type == "QuantizeLinear":
            if graph.is_constant(node.input[0]):
                _round_to_grid(graph, node, found)
            else:
                found.ranges[node.input[0]] = _range_of(graph, node)
            graph.replace_uses(node.output[0], node.input[0])
            graph.remove(node)
        elif node.op_type == "DequantizeLinear":
            if node.input[0] in graph.constants and graph.constants[node.input[0]].dtype.kind in "iu":
                graph.constants[node.output[0]] = _dequantize(graph, node)
            else:
                graph.replace_uses(node.output[0], node.input[0])
            graph.remove(node)
    graph.remove_dead()
    return found


def _zero_point(graph: Graph, node: NodeProto) -> Array:
    has_one = len(node.input) > 2 and node.input[2]
    return graph.constants[node.input[2]] if has_one else np.zeros((), np.uint8)


def _range_of(graph: Graph, node: NodeProto) -> Range:
    scale = float(graph.constants[node.input[1]].reshape(-1)[0])
    zero = _zero_point(graph, node)
    limits = np.iinfo(zero.dtype)
    offset = int(zero.reshape(-1)[0])
    low, high = (limits.min - offset) * scale, (limits.max - offset) * scale
    if zero.dtype == np.int8 and offset == 0:
        low = -high  # symmetric: -128 exists but no observer meant it
    return Range.holding(low, high)


def _round_to_grid(graph: Graph, node: NodeProto, found: Quantization) -> None:
    name = node.input[0]
    scale = graph.constants[node.input[1]].astype(np.float32).reshape(-1)
    weight = graph.constants[name]
    aligned = _along_axis(scale, weight.ndim, attribute(node, "axis", 1))
    graph.constants[name] = (np.clip(np.rint(weight / aligned), -127, 127) * aligned).astype(np.float32)
    found.weight_scales[name] = np.broadcast_to(scale, (max(scale.size, 1),)).copy()


def _dequantize(graph: Graph, node: NodeProto) -> Array:
    values = graph.constants[node.input[0]]
    scale = graph.constants[node.input[1]]
    zero = _zero_point(graph, node)
    axis = attribute(node, "axis", 1)
    shifted = values.astype(np.float64) - _along_axis(zero.astype(np.float64), values.ndim, axis)
    return (shifted * _along_axis(scale.astype(np.float64), values.ndim, axis)).astype(np.float32)


def _along_axis(values: Array, ndim: int, axis: int) -> Array:
    if values.size == 1:
        return values.reshape(())
    shape = [1] * ndim
    shape[axis if ndim > 1 else 0] = values.size
    return values.reshape(shape)
