"""Puts quantizers where a target's kernels want them, and nowhere else."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Array, Graph, attribute
from convert.pairs import fit_channels, fit_pairs, is_depthwise
from convert.quantization import Quantization, Range
from runtimes.targets import Target

WEIGHTED = ("Conv", "Gemm")
MOST_BIAS = 2**30  # steps that the INT32 of a bias is filled up to; the rest is room for the sums of products
SAME_GRID = (
    "Flatten",
    "MaxPool",
    "Reshape",
    "Transpose",
)  # only move values: in and out share one scale
QUANTIZABLE = (*WEIGHTED, *SAME_GRID, "Add", "GlobalAveragePool", "AveragePool")


def clip_limits(graph: Graph, node: NodeProto) -> Range | None:
    """The range that a Relu or a constant Clip lets through; None for any other node or a clip not around 0."""
    if node.op_type == "Relu":
        return Range(0.0, float(np.finfo(np.float32).max))
    if node.op_type != "Clip" or not all(graph.is_constant(name) for name in node.input[1:] if name):
        return None
    limits = [-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)]
    for i, name in enumerate(node.input[1:3]):
        if name:
            limits[i] = float(graph.constants[name].reshape(-1)[0])
    return Range(*limits) if limits[0] <= 0 <= limits[1] else None


def absorb_activations(graph: Graph, known: Quantization) -> int:
    """Drop every Relu and Clip whose bounds the range of its output already enforces.

    Rounding to a grid that ends at the bounds clips to them, so the node does nothing once its output is quantized.
    """
    done = 0
    for node in list(graph.nodes):
        limits = clip_limits(graph, node)
        source = graph.producer(node.input[0]) if limits else None
        if limits is None or source is None or not _can_be_quantized(graph, known, source):
            continue
        before, after = node.input[0], node.output[0]
        if len(graph.consumers(before)) > 1 or before in graph.outputs or after not in known.ranges:
            continue
        known.ranges[after] = known.ranges[after].intersect(limits)
        source.output[list(source.output).index(before)] = after
        graph.remove(node)
        done += 1
    return done


def share_grids(graph: Graph, known: Quantization) -> int:
    """Give the output of every node that only moves values the range of its input."""
    done = 0
    for node in graph.nodes:
        if node.op_type in SAME_GRID and node.input[0] in known.ranges:
            known.ranges[node.output[0]] = known.ranges[node.input[0]]
            done += 1
    return done


def place_quantizers(graph: Graph, known: Quantization, target: Target) -> int:
    """Quantize every node that has INT8 kernels, with one quantizer a tensor shared by all its readers.

    A node is taken only when every activation it reads and its output have a range; a graph output stays float.
    """
    chosen = [node for node in graph.nodes if _is_quantizable(graph, known, node)]
    wanted: dict[str, None] = {}
    for node in chosen:
        for name in (*_activations(graph, node), node.output[0]):
            if name not in graph.outputs:
                wanted.setdefault(name)
    scales = {name: _quantize_tensor(graph, name, known.ranges[name], target) for name in wanted}
    dequantized = {f"{name}.dequantized": scale for name, scale in scales.items()}
    for node in chosen:
        for i, name in enumerate(node.input):
            if name in scales:
                node.input[i] = f"{name}.dequantized"
    for node in chosen:
        if node.op_type in WEIGHTED:
            _quantize_weight(graph, node, dequantized[node.input[0]], known, target)
    return len(chosen)


def _activations(graph: Graph, node: NodeProto) -> list[str]:
    names = node.input[:1] if node.op_type in (*WEIGHTED, *SAME_GRID) else node.input
    return [name for name in names if name]


def _is_quantizable(graph: Graph, known: Quantization, node: NodeProto) -> bool:
    output = node.output[0]
    if output not in known.ranges and not (output in graph.outputs and node.op_type in WEIGHTED):
        return False
    return _can_be_quantized(graph, known, node)


def _can_be_quantized(graph: Graph, known: Quantization, node: NodeProto) -> bool:
    """Whether there are kernels for a node and ranges for all that it reads."""
    if node.op_type not in QUANTIZABLE:
        return False
    if node.op_type in WEIGHTED and not all(graph.is_constant(name) for name in node.input[1:] if name):
        return False
    return all(name in known.ranges for name in _activations(graph, node))


def _grid(span: Range, target: Target) -> tuple[np.float32, Array]:
    """Scale and zero point of one activation tensor.

    The grid ends where the range ends, also for signed kernels: a range that starts at 0 then clips as Relu does.
    """
    scale = np.float32(max(span.high - span.low, 1e-12) / 255)
    zero = round(-span.low / float(scale))
    return scale, np.array(zero, np.uint8) if target.unsigned_activations else np.array(zero - 128, np.int8)


def _quantize_tensor(graph: Graph, name: str, span: Range, target: Target) -> np.float32:
    """Put Quantize and Dequantize behind `name`; its float value is read by the quantizer alone from then on."""
    scale, zero = _grid(span, target)
    graph.constants[f"{name}.scale"] = np.array(scale, np.float32)
    graph.constants[f"{name}.zero"] = zero
    grid = [f"{name}.scale", f"{name}.zero"]
    pair = [
        helper.make_node("QuantizeLinear", [name, *grid], [f"{name}.quantized"], name=f"{name}.quantize"),
        helper.make_node(
            "DequantizeLinear",
            [f"{name}.quantized", *grid],
            [f"{name}.dequantized"],
            name=f"{name}.dequantize",
        ),
    ]
    at = next((i for i, node in enumerate(graph.nodes) if name in node.output), -1) + 1
    for node in graph.nodes[at:]:
        for i, read in enumerate(node.input):
            if read == name:
                node.input[i] = f"{name}.dequantized"
    graph.nodes[at:at] = pair
    return scale


def _quantize_weight(
    graph: Graph, node: NodeProto, input_scale: np.float32, known: Quantization, target: Target
) -> None:
    """Store the weight as INT8 and the bias as INT32 at `input_scale * weight_scale`, as integer kernels add it."""
    name = node.input[1]
    weight = graph.constants[name].astype(np.float32)
    axis = 0
    if node.op_type == "Gemm" and not attribute(node, "transB", 0):
        axis = 1
    filters = np.moveaxis(weight, axis, 0)  # (..., C, ...) -> (C, ...)
    scale = weight_scale(filters.reshape(len(filters), -1), known.weight_scales.get(name))
    bias = _bias(graph, node, len(filters))
    if bias is not None:
        # A channel of tiny or no weights, as a batch norm that was trained away leaves, would clip its bias.
        scale = np.maximum(scale, np.abs(bias) / (float(input_scale) * MOST_BIAS)).astype(np.float32)
    depthwise = node.op_type == "Conv" and is_depthwise(weight, attribute(node, "group", 1))
    fit = fit_pairs if target.saturating_pairs and not depthwise else fit_channels
    quantized, scale = fit(filters, scale)
    _insert_constant(graph, node, 1, np.ascontiguousarray(np.moveaxis(quantized, 0, axis)), scale, axis)
    if bias is not None:
        bias_scale = (input_scale * scale).astype(np.float32)
        _insert_constant(graph, node, 2, np.rint(bias / bias_scale).astype(np.int32), bias_scale, 0)


def _bias(graph: Graph, node: NodeProto, channels: int) -> Array | None:
    """One number a channel, (C,); None where there is none, or a Gemm adds something of another shape."""
    bias = graph.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else None
    return bias if bias is not None and bias.shape == (channels,) else None


def weight_scale(rows: Array, found: Array | None) -> Array:
    """One scale a channel, (C,) float32: the quantizer's own where it gave one, else the largest weight over 127.

    Args:
        rows: (C, K) float32.
        found: (C,) or (1,) float32.
    """
    if found is not None and found.size in (1, len(rows)):
        return np.broadcast_to(found, (len(rows),)).astype(np.float32)
    largest: Array = np.maximum(np.abs(rows).max(axis=1), 1e-12)
    return (largest / 127).astype(np.float32)


def _insert_constant(graph: Graph, node: NodeProto, position: int, values: Array, scale: Array, axis: int) -> None:
    fresh = f"{node.output[0]}.{'weight' if position == 1 else 'bias'}"
    graph.constants[f"{fresh}.quantized"] = values
    graph.constants[f"{fresh}.scale"] = scale.astype(np.float32)
    inputs = [f"{fresh}.quantized", f"{fresh}.scale"]
    if node.op_type == "Gemm":
        # ONNX Runtime fuses one only when its zero points are written out
        graph.constants[f"{fresh}.zero"] = np.zeros(scale.shape, values.dtype)
        inputs.append(f"{fresh}.zero")
    dequantize = helper.make_node(
        "DequantizeLinear", inputs, [f"{fresh}.dequantized"], axis=axis, name=f"{fresh}.dequantize"
    )
    graph.insert_before(node, dequantize)
    node.input[position] = f"{fresh}.dequantized"
