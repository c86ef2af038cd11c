"""Lowers a fake-quantized graph for a target: what PaddleSlim found, placed where the target's kernels want it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.graph import Graph
from convert.observe import observe_ranges
from convert.passes.canonical import CANONICAL
from convert.passes.lift import lift_quantization
from convert.passes.place import absorb_activations, place_quantizers, share_grids
from convert.quantization import Quantization
from edge_kit.core.tensors import Tensors
from runtimes.targets import Target


@dataclass(frozen=True, slots=True)
class LowerReport:
    """What lowering did.

    Attributes:
        passes: Rewrites by pass, in order.
        quantized: Nodes given INT8 inputs, by operator.
        left_float: Nodes that stay float, by operator.
    """

    passes: dict[str, int]
    quantized: dict[str, int]
    left_float: dict[str, int]


def lower(fake_quantized: Path, out: Path, target: Target, batches: Sequence[Tensors]) -> LowerReport:
    """Write the INT8 graph that `target` runs fast.

    Args:
        fake_quantized: ONNX with the quantizers that PaddleSlim placed.
        batches: Calibration batches, the ones PaddleSlim saw; they give the ranges that it left out.
    """
    graph = Graph.load(fake_quantized)
    known = lift_quantization(graph)
    passes = {"lift_quantization": len(known.ranges) + len(known.weight_scales)}
    for rewrite in CANONICAL:
        passes[rewrite.__name__] = rewrite(graph)
    complete_ranges(graph, known, batches)
    passes["absorb_activations"] = absorb_activations(graph, known)
    passes["share_grids"] = share_grids(graph, known)
    passes["place_quantizers"] = place_quantizers(graph, known, target)
    graph.save(out)
    quantized, left = _placement(graph)
    return LowerReport(passes, quantized, left)


def complete_ranges(graph: Graph, known: Quantization, batches: Sequence[Tensors]) -> None:
    """Give every activation a range: what was seen, cut to what PaddleSlim chose where it chose.

    PaddleSlim's ranges are symmetric; what was seen tells where one side is never used.
    """
    for name, seen in observe_ranges(graph, batches).items():
        chosen = known.ranges.get(name)
        known.ranges[name] = seen if chosen is None else chosen.intersect(seen)


def _placement(graph: Graph) -> tuple[dict[str, int], dict[str, int]]:
    dequantized = {name for node in graph.nodes if node.op_type == "DequantizeLinear" for name in node.output}
    quantized: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for node in graph.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        (quantized if node.input[0] in dequantized else left)[node.op_type] += 1
    return dict(quantized), dict(left)
