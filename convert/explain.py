"""Why a graph is slow on a target: what in the file keeps an engine from its INT8 kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto

from convert.graph import Array, attribute
from convert.pairs import in_kernel_order, is_depthwise, pair_load
from convert.passes.place import SAME_GRID
from convert.quantized import (
    ACTIVATIONS,
    PLUMBING,
    WEIGHTED,
    Quantized,
    bodies,
    is_quantizer,
)
from runtimes.targets import Target

KERNEL_BLOCK = 8  # floats; docs/design.md has what odd widths cost
STANDARD = ("", "ai.onnx", "com.microsoft", "com.ms.internal.nhwc")  # domains that ONNX Runtime has kernels for


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason.

    Attributes:
        code: Stable name, for scripts.
        title: One line for people.
        count: How many of what the title names.
        nodes: Names of the nodes it is about, in the order of the graph.
        note: What follows from it, and how far the price can be trusted; one line.
        fix: What to do, one line.
        operators: Nodes whose time is counted as its price, where an engine runs them in float.
        cost_ms: That time, at most what mending saves; None where it was not measured or has no operators of its own.
        share: `cost_ms` over the time of all operators.
    """

    code: str
    title: str
    count: int
    nodes: tuple[str, ...]
    note: str
    fix: str
    operators: tuple[str, ...] = ()
    cost_ms: float | None = None
    share: float | None = None


def find_causes(graph: Quantized, target: Target) -> list[Finding]:
    """What the file alone tells, those first that own their operators most surely; `convert.pricing` puts prices on."""
    found: list[Finding] = []
    for rule in RULES:
        finding = rule(graph, target)
        if finding is not None and finding.count:
            found.append(finding)
    return found


def _finding(
    code: str, title: str, nodes: Iterable[NodeProto], note: str, fix: str, operators: Iterable[str] = ()
) -> Finding:
    names = tuple(dict.fromkeys(node.name for node in nodes))
    return Finding(code, title, len(names), names, note, fix, tuple(dict.fromkeys(operators)))


def full_precision(graph: Quantized, target: Target) -> Finding | None:
    """Nothing is quantized; the whole price is that of the products, which INT8 would make cheaper, not free."""
    if graph.is_quantizing():
        return None
    half = any(value.dtype == np.float16 for value in graph.graph.constants.values())
    kind = "FP16" if half else "FP32"
    title = f"the graph is {kind}: no node is quantized"
    nodes = graph.of(*WEIGHTED)
    if not nodes:
        note = "it has no convolution or matrix product, which is what INT8 speeds up"
        return _finding("full-precision", title, graph.graph.nodes, note, "none: there is nothing to quantize")
    return _finding(
        "full-precision",
        title,
        nodes,
        "price: all convolutions and matrix products as they are; INT8 makes them cheaper, not free",
        f"quantize it and lower it for {target.name}",
        [node.name for node in graph.of(*WEIGHTED, *ACTIVATIONS)],
    )


def split_activations(graph: Quantized, target: Target) -> Finding:
    """A pair of quantizers between a product and its Relu or Clip: the activation runs on its own, in float."""
    found: list[NodeProto] = []
    operators: list[str] = []
    for node in graph.of(*ACTIVATIONS):
        pair = graph.pair_of(node.input[0])
        made = graph.producer(pair[0].input[0]) if pair else None
        if pair is None or made is None or made.op_type not in (*WEIGHTED, "Add"):
            continue
        found.append(node)
        after = [one.name for one in graph.readers(node.output[0]) if one.op_type == "QuantizeLinear"]
        operators += [pair[1].name, node.name, *after]
    return _finding(
        "split-activations",
        "quantizers between a convolution and its Relu or Clip",
        found,
        "each activation runs in float, between a DequantizeLinear and a QuantizeLinear",
        "quantize once, behind the activation, on a grid that ends where it clips",
        operators,
    )


def wrong_sign(graph: Quantized, target: Target) -> Finding:
    """Activations of the sign that the target's kernels do not take.

    ONNX Runtime turns S8 into U8 as it loads on x86, but only a pair that one node reads: a node that mixes
    both signs stays float.
    """
    wrong = np.int8 if target.unsigned_activations else np.uint8
    has, wants = ("S8", "U8") if target.unsigned_activations else ("U8", "S8")
    tensors, stranded = [], []
    for quantizer in graph.quantizers():
        zero = graph.zero_point(quantizer)
        if zero is None or zero.dtype != wrong:
            continue
        tensors.append(quantizer)
        readers = [n for d in graph.readers(quantizer.output[0]) for out in d.output for n in graph.readers(out)]
        if len(readers) > 1:
            made = graph.producer(quantizer.input[0])
            stranded += [node for node in [made, *readers] if node is not None and graph.is_quantized(node)]
    return _finding(
        "wrong-sign",
        f"{has} activations; {target.name} kernels take {wants}",
        tensors,
        "price: nodes at tensors with several readers, which stayed float in ONNX Runtime 1.32 and ran in INT8 once "
        "the same tensors were U8"
        if target.unsigned_activations
        else "not priced: no measure of it yet",
        f"quantize activations to {wants}",
        [name for node in stranded for name in graph.around(node)] if target.unsigned_activations else (),
    )


def repeated_quantizers(graph: Quantized, target: Target) -> Finding:
    """A tensor that several quantizers read: no kernel can write it quantized."""
    found: list[NodeProto] = []
    operators: list[str] = []
    for tensor in dict.fromkeys(node.input[0] for node in graph.quantizers()):
        readers = graph.readers(tensor)
        quantizers = [node for node in readers if node.op_type == "QuantizeLinear"]
        if len(quantizers) > 1:
            made = graph.producer(tensor)
            found.append(quantizers[0] if made is None else made)
            operators += graph.around(made) if made is not None else [node.name for node in quantizers[1:]]
    return _finding(
        "repeated-quantizers",
        "tensors quantized more than once",
        found,
        "a kernel writes one quantized output: what computes such a tensor stays float",
        "share one QuantizeLinear among all readers of a tensor",
        operators,
    )


def float_sums(graph: Quantized, target: Target) -> Finding:
    """Residual sums of which a side or the result is float."""
    found = []
    for node in graph.of("Add"):
        sides = graph.activations(node)
        quantized = [name for name in sides if graph.pair_of(name)]
        if (
            graph.is_quantizing()
            and len(sides) == 2
            and not graph.is_quantized(node)
            and (quantized or _joins(graph, sides))
        ):
            found.append(node)
    return _finding(
        "float-sums",
        "residual sums in float",
        found,
        "a sum runs in INT8 where both sides are dequantized and the result is quantized",
        "quantize both sides and the result of each residual Add",
        [name for node in found for name in graph.around(node)],
    )


def _joins(graph: Quantized, sides: list[str]) -> bool:
    """Whether both sides are computed by products or sums: a branch that comes back."""
    made = [graph.producer(name) for name in sides]
    return all(node is not None and node.op_type in (*WEIGHTED, *ACTIVATIONS, "Add") for node in made)


def float_weights(graph: Quantized, target: Target) -> Finding | None:
    """Weights stored as floats, behind a quantizer or none, in a graph that quantizes."""
    if not graph.is_quantizing():
        return None
    found, sizes = [], 0
    operators: list[str] = []
    for node in graph.of(*WEIGHTED):
        stored = graph.weight(node)
        if stored is None or stored[1] or stored[0].dtype.kind != "f":
            continue
        found.append(node)
        sizes += stored[0].nbytes
        pair = graph.pair_of(node.input[1])
        operators += [one.name for one in pair] if pair else []
    small = sizes // 4
    return _finding(
        "float-weights",
        "weights still float",
        found,
        f"{sizes / 1e6:.2f} MB, in INT8 {small / 1e6:.2f} MB; what is quantized as it loads costs size, not time",
        "store weights as INT8 initializers behind one DequantizeLinear",
        operators,
    )


def float_islands(graph: Quantized, target: Target) -> Finding | None:
    """Runs of float nodes, joined by float tensors, in a graph that quantizes others."""
    if not graph.is_quantizing():
        return None
    # what these rules name is not named again
    named = {name for rule in (split_activations, float_sums) for name in _nodes(rule(graph, target))}
    islands = [run for run in _runs(graph, named) if any(node.op_type not in PLUMBING for node in run)]
    shown = [f"{i[0].name}..{i[-1].name} ({len(i)})" if len(i) > 1 else i[0].name for i in islands]
    finding = _finding(
        "float-islands",
        "float islands: runs of float nodes",
        [node for island in islands for node in island],
        f"{', '.join(shown[:4])}{f' and {len(shown) - 4} more' if len(shown) > 4 else ''}; the price holds the "
        "quantizers at their ends",
        "quantize what has an INT8 kernel, with one grid through nodes that only move values",
        [name for island in islands for node in island for name in graph.around(node)],
    )
    return replace(finding, count=len(islands))


def _nodes(finding: Finding | None) -> tuple[str, ...]:
    return finding.nodes if finding is not None else ()


def _runs(graph: Quantized, named: set[str]) -> list[list[NodeProto]]:
    """Maximal sets of float nodes that float tensors join, each in the order of the graph."""
    left = {
        node.name: node
        for node in graph.graph.nodes
        if node.name not in named
        and not is_quantizer(node)
        and not graph.is_quantized(node)
        and not _folds(graph, node)
    }
    runs = []
    while left:
        waiting, run = [next(iter(left))], []
        while waiting:
            node = left.pop(waiting.pop(), None)
            if node is None:
                continue
            run.append(node)
            near = [graph.producer(name) for name in node.input]
            near += [reader for name in node.output for reader in graph.readers(name)]
            waiting += [one.name for one in near if one is not None and one.name in left]
        places = {name: place for place, name in enumerate(graph.nodes)}
        runs.append(sorted(run, key=lambda node: places[node.name]))
    return runs


def _folds(graph: Quantized, node: NodeProto) -> bool:
    """Whether the node is an activation that the product before it takes in, or computes a constant."""
    if node.op_type in ACTIVATIONS and graph.is_absorbed(node):
        made = graph.producer(node.input[0])
        return made is not None and graph.is_quantized(made)
    return all(graph.graph.is_constant(name) for name in node.input if name)


def saturating_pairs(graph: Quantized, target: Target) -> Finding | None:
    """Weights that can saturate an int16 sum of two products on a target without VNNI."""
    if not target.saturating_pairs or not graph.is_quantizing():
        return None
    found = []
    for node in graph.of("Conv", "Gemm", "MatMul"):
        stored = graph.weight(node)
        if stored is None or not stored[1] or _is_depthwise(node, stored[0]):
            continue
        outputs_first = node.op_type == "Conv" or attribute(node, "transB", 0)
        values = stored[0] if outputs_first else np.moveaxis(stored[0], -1, 0)
        if pair_load(in_kernel_order(values)).max() > 1:
            found.append(node)
    return _finding(
        "saturating-pairs",
        f"weights that can saturate on {target.name}, which has no VNNI",
        found,
        "wrong rather than slow: two products are added in int16, so answers differ from a processor with VNNI",
        f"lower it for {target.name}: scales are raised just where a pair could saturate",
    )


def _is_depthwise(node: NodeProto, weight: Array) -> bool:
    return node.op_type == "Conv" and is_depthwise(weight, attribute(node, "group", 1))


def odd_widths(graph: Quantized, target: Target) -> Finding:
    """Float convolutions whose width fills no kernel block."""
    found = []
    for node in graph.of("Conv"):
        stored = graph.weight(node)
        if stored is None or graph.is_quantized(node) or _is_depthwise(node, stored[0]):
            continue
        if stored[0].shape[0] % KERNEL_BLOCK and stored[0].shape[0] > KERNEL_BLOCK and not _ends(graph, node):
            found.append(node)
    return _finding(
        "odd-widths",
        f"float convolutions whose channels are no multiple of {KERNEL_BLOCK}",
        found,
        "not priced: which part of their time the width costs, no profile tells",
        f"prune or build to multiples of {KERNEL_BLOCK}, better 16",
    )


def _ends(graph: Quantized, node: NodeProto) -> bool:
    """Whether the width is that of an output, which nobody may change."""
    return node.output[0] in graph.graph.outputs


def unseen_bodies(graph: Quantized, target: Target) -> Finding:
    """Nodes with graphs inside, which no rule here looks into."""
    found = [node for node in graph.graph.nodes if bodies(node)]
    return _finding(
        "unseen-bodies",
        "nodes with graphs inside (If, Loop, Scan)",
        found,
        "what runs inside is not looked into; the time of such a node is that of all its turns",
        "keep loops in the code around the graph, and export one step",
        [node.name for node in found],
    )


def foreign_operators(graph: Quantized, target: Target) -> Finding:
    """Operators of domains that no engine has kernels for by itself."""
    found = [node for node in graph.graph.nodes if node.domain not in STANDARD]
    kinds = sorted({f"{node.domain}.{node.op_type}" for node in found})
    return _finding(
        "foreign-operators",
        f"custom operators: {', '.join(kinds[:3])}",
        found,
        "an engine loads them only with the library that brings them",
        "export with standard operators",
    )


def unfused_reason(graph: Quantized, node: NodeProto) -> str:
    """What keeps ONNX Runtime from fusing a node that is quantized in the file; empty where it is not known."""
    constants = graph.graph.constants
    grids = [graph.source(name, "DequantizeLinear") for name in node.input if name]
    grids += [one for name in node.output for one in graph.readers(name) if one.op_type == "QuantizeLinear"]
    scales = [constants.get(grid.input[1]) for grid in grids if grid is not None]
    if node.op_type == "Add" and any(scale is not None and scale.shape == (1,) for scale in scales):
        return "a scale of shape (1,) instead of ()"
    if node.op_type == "Gemm" and any(grid is not None and len(grid.input) < 3 for grid in grids[:2]):
        return "zero points left out"
    if node.op_type in WEIGHTED and len(scales) > 2 and len(node.input) > 2:
        taken, weight, bias = scales[:3]
        if taken is not None and weight is not None and bias is not None:
            wanted = taken * weight
            if bias.size == wanted.size and not np.allclose(bias.reshape(-1), wanted.reshape(-1), rtol=1e-3):
                return "a bias scale that is not input scale times weight scale"
    if node.op_type in SAME_GRID and len({float(scale.reshape(-1)[0]) for scale in scales if scale is not None}) > 1:
        return "other grids before and behind a node that only moves values"
    return ""


RULES: tuple[Callable[[Quantized, Target], Finding | None], ...] = (
    full_precision,
    split_activations,
    wrong_sign,
    repeated_quantizers,
    float_sums,
    float_weights,
    float_islands,
    saturating_pairs,
    odd_widths,
    unseen_bodies,
    foreign_operators,
)
