"""Puts quantizers where a target's kernels want them, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Array, Graph, attribute, label
from convert.halves import to_half
from convert.pairs import fit_any_pairs, fit_channels, fit_pairs, is_depthwise
from convert.passes.gates import GATES, may_be_gate
from convert.quantization import STEPS, Quantization, Range
from runtimes.targets import DEFAULT_ENGINE, Target

WEIGHTED = ("Conv", "Gemm")
MOST_BIAS = 2**30  # steps that the INT32 of a bias is filled up to; the rest is room for the sums of products
DEQUANTIZED = ".dq"  # behind the name of a tensor: what its dequantizer gives
SAME_GRID = (
    "DepthToSpace",
    "Flatten",
    "MaxPool",
    "Reshape",
    "Resize",  # to the nearest value; what mixes values stays float
    "Transpose",
)  # only move values: in and out share one scale
# A bilinear Resize is not among them: ONNX Runtime's integer kernel cuts off where it should round, half a step on the
# mean. It stays float, between the quantizers of its neighbours.
SUMS = ("Add", "GlobalAveragePool", "AveragePool")
MOVED = ("Concat", "Pad", "Slice")
"""Move values too, as often between floats: taken only where something that they read is quantized anyway."""

REGRID = (*MOVED, "LeakyRelu")
"""From grid to grid, value by value: at the end of a graph nothing rounds what they give, and they stay float."""

QUANTIZABLE = (*WEIGHTED, *SAME_GRID, *SUMS, *REGRID, *GATES)


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


def absorb_activations(graph: Graph, known: Quantization, target: Target, keep_float: Collection[str] = ()) -> int:
    """Drop every Relu and Clip whose bounds the range of its output already enforces.

    Rounding to a grid that ends at the bounds clips to them, so the node does nothing once its output is quantized.
    Behind a node that stays float it stays: no grid may follow. A symmetric grid does not end at 0.
    """
    if target.symmetric:
        return 0
    done = 0
    for node in list(graph.nodes):
        limits = clip_limits(graph, node)
        source = graph.producer(node.input[0]) if limits else None
        if limits is None or source is None or not _has_kernel(graph, known, source, target, keep_float):
            continue
        if source.op_type in (*SAME_GRID, *MOVED):
            continue  # its output keeps the grid of its input, which need not end where the activation does
        before, after = node.input[0], node.output[0]
        if graph.only_reader(before) is None or after not in known.ranges:
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
        if only_moves(node) and node.input[0] in known.ranges:
            known.ranges[node.output[0]] = known.ranges[node.input[0]]
            done += 1
    return done


def only_moves(node: NodeProto) -> bool:
    """Whether what comes out lies on the grid of what goes in; a Resize may mix values."""
    return node.op_type in SAME_GRID and (node.op_type != "Resize" or attribute(node, "mode", b"nearest") == b"nearest")


def quantizable_nodes(
    graph: Graph, known: Quantization, target: Target, keep_float: Collection[str] = ()
) -> list[NodeProto]:
    """The nodes that have INT8 kernels and whose every activation, read or written, has a range.

    Args:
        keep_float: Labels of nodes that are to stay float all the same.
    """
    chosen: list[NodeProto] = []
    given: set[str] = set()  # what they give
    for node in graph.nodes:
        moved = node.op_type in MOVED
        if moved and given.isdisjoint(_activations(graph, node, target)):
            continue
        if (not moved or _moves_values(graph, node)) and _is_quantizable(graph, known, node, target, keep_float):
            chosen.append(node)
            given.update(node.output)
    return chosen


def _moves_values(graph: Graph, node: NodeProto) -> bool:
    """Whether all that comes out came in; a Pad may fill up with something else than 0, which lies on every grid."""
    filling = graph.constants.get(node.input[2]) if node.op_type == "Pad" and len(node.input) > 2 else None
    return filling is None or not filling.any()


def _moved_span(known: Quantization, node: NodeProto) -> Range | None:
    """The range that a node hands on unchanged; None of one that computes, or puts several together."""
    if node.op_type not in (*SAME_GRID, *MOVED):
        return None
    spans = {known.ranges[name] for name in (node.input if node.op_type == "Concat" else node.input[:1])}
    return spans.pop() if len(spans) == 1 else None


def place_quantizers(graph: Graph, known: Quantization, target: Target, keep_float: Collection[str] = ()) -> int:
    """Quantize every node that has INT8 kernels, with one quantizer a tensor shared by all its readers.

    A node is taken only when every activation it reads and its output have a range; a graph output stays float.
    For a symmetric target what nodes give stays float too, unless another one that is taken reads it.

    Args:
        keep_float: Labels of nodes that are to stay float all the same.
    """
    chosen = quantizable_nodes(graph, known, target, keep_float)
    for node in chosen:
        span = _moved_span(known, node)
        if span is not None:
            known.ranges[node.output[0]] = span
    readers = [(node, _activations(graph, node, target)) for node in chosen]
    wanted: dict[str, None] = {}
    for node, names in readers:
        output = node.output[0]
        given = [] if target.symmetric or output in graph.outputs else [output]
        wanted.update(dict.fromkeys((*names, *given)))
    if not target.symmetric:
        readers = [(node, list(node.input)) for node in graph.nodes]
    scales = {name: _quantize_tensor(graph, name, known.ranges[name], target) for name in wanted}
    dequantized = {f"{name}{DEQUANTIZED}": scale for name, scale in scales.items()}
    for node, names in readers:
        for i, name in enumerate(node.input):
            if name in scales and name in names:
                node.input[i] = f"{name}{DEQUANTIZED}"
    for node in chosen:
        if node.op_type in WEIGHTED:
            _quantize_weight(graph, node, dequantized[node.input[0]], known, target)
    return len(chosen)


def _activations(graph: Graph, node: NodeProto, target: Target) -> list[str]:
    """What a kernel reads in INT8."""
    names = node.input[:1] if node.op_type in (*WEIGHTED, *SAME_GRID, "Pad", "Slice") else node.input
    given = [name for name in names if name]
    if target.symmetric and node.op_type == "Add":
        fused = _summed_in_kernel(graph, node)
        return [name for name in given if name != fused]
    return given


def _summed_in_kernel(graph: Graph, add: NodeProto) -> str | None:
    """The summand that its convolution can add the other one to, before it rounds; the later where both could."""
    places = {node.output[0]: i for i, node in enumerate(graph.nodes) if node.op_type == "Conv"}
    alone = [name for name in add.input if name in places and graph.only_reader(name) is not None]
    return max(alone, key=places.__getitem__) if len(set(add.input)) == 2 and alone else None


def _is_quantizable(
    graph: Graph, known: Quantization, node: NodeProto, target: Target, keep_float: Collection[str]
) -> bool:
    output = node.output[0]
    if output in graph.outputs and node.op_type in REGRID:
        return False  # nothing follows that rounds, and there would be nothing to compute
    ends = output in graph.outputs and node.op_type in WEIGHTED
    if not (target.symmetric or output in known.ranges or ends):
        return False
    return _has_kernel(graph, known, node, target, keep_float)


def _has_kernel(
    graph: Graph, known: Quantization, node: NodeProto, target: Target, keep_float: Collection[str]
) -> bool:
    """Whether a kernel of the target can run a node, on what is known of all that it reads."""
    if node.op_type not in _operators(target) or label(node) in keep_float:
        return False
    if node.op_type in WEIGHTED and not all(graph.is_constant(name) for name in node.input[1:] if name):
        return False
    if node.op_type in SAME_GRID and not only_moves(node):
        return False
    if not may_be_gate(graph, node):
        return False
    if node.op_type == "Conv" and not target.any_convolution:
        weight, group = graph.constants[node.input[1]], attribute(node, "group", 1)
        if weight.ndim != 4 or (group > 1 and not is_depthwise(weight, group)):
            return False
    return all(name in known.ranges for name in _activations(graph, node, target))


def _operators(target: Target) -> tuple[str, ...]:
    """What has INT8 kernels; a symmetric engine finds by itself that what only moves values keeps the grid."""
    if not target.symmetric:
        return QUANTIZABLE if target.engine == DEFAULT_ENGINE else tuple(set(QUANTIZABLE).difference(GATES))
    return (*WEIGHTED, *SUMS) if target.sums else WEIGHTED


def _grid(span: Range, target: Target) -> tuple[np.float32, Array]:
    """Scale and zero point of one activation tensor.

    The grid ends where the range ends, also for signed kernels: a range that starts at 0 then clips as Relu does.
    A symmetric one reaches as far on both sides.
    """
    if target.symmetric:
        return np.float32(max(-span.low, span.high, 1e-12) / 127), np.array(0, np.int8)
    scale = np.float32(max(span.width, 1e-12) / STEPS)
    zero = round(-span.low / float(scale))
    return scale, np.array(zero, np.uint8) if target.unsigned_activations else np.array(zero - 128, np.int8)


def _quantize_tensor(graph: Graph, name: str, span: Range, target: Target) -> np.float32:
    """Put Quantize and Dequantize behind `name`; nobody reads them yet."""
    scale, zero = _grid(span, target)
    graph.constants[f"{name}.scale"] = np.array(scale, np.float32)
    graph.constants[f"{name}.zero"] = zero
    at = next((i for i, node in enumerate(graph.nodes) if name in node.output), -1) + 1
    graph.nodes[at:at] = quantizer_pair(name, f"{name}.scale", f"{name}.zero")
    return scale


def quantizer_pair(name: str, scale: str, zero: str) -> list[NodeProto]:
    """What stores the tensor `name`, and what gives it back under the same name with `DEQUANTIZED` behind it."""
    stored, back = f"{name}.q", f"{name}{DEQUANTIZED}"
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [stored], name=stored),
        helper.make_node("DequantizeLinear", [stored, scale, zero], [back], name=back),
    ]


def _quantize_weight(
    graph: Graph, node: NodeProto, input_scale: np.float32, known: Quantization, target: Target
) -> None:
    """Store the weight as INT8 and the bias as INT32 at `input_scale * weight_scale`, as integer kernels add it.

    A symmetric target's kernels add it in float. Either takes up what rounding the weight shifts on the mean.
    """
    name = node.input[1]
    weight = graph.constants[name].astype(np.float32)
    axis = 0
    if node.op_type == "Gemm" and not attribute(node, "transB", 0):
        axis = 1
    filters = np.moveaxis(weight, axis, 0)  # (..., C, ...) -> (C, ...)
    scale = weight_scale(filters.reshape(len(filters), -1), known.weight_scales.get(name))
    bias = _bias(graph, node, len(filters))
    mean = known.means.get(node.input[0].removesuffix(DEQUANTIZED))
    if bias is not None and not target.symmetric:
        # A channel of tiny or no weights, as a batch norm that was trained away leaves, would clip its bias.
        scale = np.maximum(scale, np.abs(bias) / (float(input_scale) * MOST_BIAS)).astype(np.float32)
    quantized, scale = _fit(node, weight, target)(filters, to_half(scale))
    if bias is not None and mean is not None:
        rounded = quantized * scale.reshape(-1, *[1] * (filters.ndim - 1))
        bias = (bias - _shift(rounded - filters, mean)).astype(np.float32)
    stored = np.ascontiguousarray(np.moveaxis(quantized, 0, axis))
    _insert_constant(graph, node, 1, stored, scale, axis, zeros=target.symmetric)
    if bias is not None and target.symmetric:
        node.input[2] = f"{node.output[0]}.b"
        graph.constants[node.input[2]] = bias
    elif bias is not None:
        bias_scale = (input_scale * scale).astype(np.float32)
        _insert_constant(graph, node, 2, np.rint(bias / bias_scale).astype(np.int32), bias_scale, 0)


def _shift(error: Array, mean: Array) -> Array:
    """What the sums of a weighted node are off by on the mean, (C,).

    Args:
        error: (C, K, ...), of each weight; K channels of the input go into one of the output.
        mean: Of the input's channels; of all groups one after the other.
    """
    by_input = error.reshape(*error.shape[:2], -1).sum(axis=2)
    groups = len(mean) // error.shape[1]
    means = np.repeat(mean.reshape(groups, -1), len(error) // groups, axis=0)  # (C, K)
    off: Array = (by_input * means).sum(axis=1)
    return off


def _fit(node: NodeProto, weight: Array, target: Target) -> Callable[[Array, Array], tuple[Array, Array]]:
    """What puts a weight on the grid, by the pairs that the target's kernels add."""
    depthwise = node.op_type == "Conv" and is_depthwise(weight, attribute(node, "group", 1))
    if not target.saturating_pairs or depthwise:
        return fit_channels
    odd = node.op_type == "Conv" and weight.shape[1] % 2 == 1
    return fit_any_pairs if odd and target.pads_channels else fit_pairs


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


def _insert_constant(
    graph: Graph, node: NodeProto, position: int, values: Array, scale: Array, axis: int, *, zeros: bool = False
) -> None:
    fresh = f"{node.output[0]}.{'w' if position == 1 else 'b'}"
    graph.constants[f"{fresh}.q"] = values
    graph.constants[f"{fresh}.scale"] = scale.astype(np.float32)
    inputs = [f"{fresh}.q", f"{fresh}.scale"]
    if position == 1 and (node.op_type == "Gemm" or zeros):
        # ONNX Runtime fuses a Gemm only where its weight's zero points are written out
        graph.constants[f"{fresh}.zero"] = np.zeros(scale.shape, values.dtype)
        inputs.append(f"{fresh}.zero")
    dequantize = helper.make_node(
        "DequantizeLinear", inputs, [f"{fresh}{DEQUANTIZED}"], axis=axis, name=f"{fresh}{DEQUANTIZED}"
    )
    graph.insert_before(node, dequantize)
    node.input[position] = f"{fresh}{DEQUANTIZED}"
