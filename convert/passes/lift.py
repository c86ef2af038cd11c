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
    """Remove every QuantizeLinear and DequantizeLinear; return the ranges and weight grids they held.

    Weights stay as the export holds them, floats where it does: only what is placed later is rounded to its grid.
    """
    found = Quantization()
    for node in list(graph.nodes):
        if node.op_type == "QuantizeLinear":
            if graph.is_constant(node.input[0]):
                _keep_grid(graph, node, found)
            else:
                _keep_range(graph, node, found)
            graph.replace_uses(node.output[0], node.input[0])
            graph.remove(node)
        elif node.op_type == "DequantizeLinear":
            if node.input[0] in graph.constants and graph.constants[node.input[0]].dtype.kind in "iu":
                _take_stored(graph, node, found)
            else:
                graph.replace_uses(node.output[0], node.input[0])
            graph.remove(node)
    graph.remove_dead()
    return found


def _zero_point(graph: Graph, node: NodeProto) -> Array:
    has_one = len(node.input) > 2 and node.input[2]
    return graph.constants[node.input[2]] if has_one else np.zeros((), np.uint8)


def _keep_range(graph: Graph, node: NodeProto, found: Quantization) -> None:
    """Keep the range of an activation; none that is empty or not a number, as of one that was zero all along."""
    scale = float(graph.constants[node.input[1]].reshape(-1)[0])
    if np.isfinite(scale) and scale > 0:
        found.ranges[node.input[0]] = _range_of(graph, node, scale)
    else:
        found.mended.append(node.input[0])


def _range_of(graph: Graph, node: NodeProto, scale: float) -> Range:
    zero = _zero_point(graph, node)
    limits = np.iinfo(zero.dtype)
    offset = int(zero.reshape(-1)[0])
    low, high = (limits.min - offset) * scale, (limits.max - offset) * scale
    if zero.dtype == np.int8 and offset == 0:
        low = -high  # symmetric: -128 exists but no observer meant it
    return Range.holding(low, high)


def _keep_grid(graph: Graph, node: NodeProto, found: Quantization) -> None:
    name = node.input[0]
    scale = graph.constants[node.input[1]].astype(np.float32).reshape(-1)
    bad = ~(np.isfinite(scale) & (scale > 0))
    if bad.any():  # of a channel of zeros, which lies on every grid
        scale = np.where(bad, np.float32(max(np.abs(graph.constants[name]).max(), 1.0) / 127), scale)
        found.mended.append(name)
    found.weight_scales[name] = np.broadcast_to(scale, (max(scale.size, 1),)).copy()


def _take_stored(graph: Graph, node: NodeProto, found: Quantization) -> None:
    """A weight or bias that the export holds as integers becomes float; a weight's grid is kept."""
    name = node.output[0]
    graph.constants[name] = _dequantize(graph, node)
    if graph.constants[node.input[0]].dtype == np.int8 and not _zero_point(graph, node).any():
        scale = graph.constants[node.input[1]].astype(np.float32).reshape(-1)
        if (np.isfinite(scale) & (scale > 0)).all():
            found.weight_scales[name] = scale


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
