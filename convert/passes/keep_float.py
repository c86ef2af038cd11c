"""Which nodes stay float, whatever kernels there are: those asked for, and those that rounding would spoil."""

from __future__ import annotations

from collections.abc import Collection

from convert.graph import Graph, label
from convert.passes.gates import may_be_gate
from convert.passes.place import QUANTIZABLE, WEIGHTED, clip_limits, only_moves
from convert.quantization import STEPS, Quantization
from edge_kit.core.errors import unknown_name

FEWEST_STEPS = 2
"""Of a sum's grid, over the range of a summand: with fewer, what the summand says is rounded away."""


def choose_float_nodes(graph: Graph, wanted: Collection[str]) -> frozenset[str]:
    """Find the nodes that stay float: those asked for, and behind them those that only move values.

    Args:
        wanted: Labels of nodes.

    Raises:
        UsageError: The graph has no such node.
    """
    known = [label(node) for node in graph.nodes]
    for name in sorted(set(wanted).difference(known)):
        raise unknown_name("node to keep in float", name, known)
    kept = set(wanted)
    for node in graph.nodes:
        source = graph.producer(node.input[0]) if only_moves(node) else None
        if source is not None and label(source) in kept:
            kept.add(label(node))
    return frozenset(kept)


def keep_islands_float(graph: Graph, known: Quantization) -> int:
    """Forget the ranges of sums and pools that no convolution or Gemm stands beside: quantizers would cost more.

    Such are the gates of a recurrent cell that is written out; what is rounded there is fed back at every step.
    """
    linked = [
        node
        for node in graph.nodes
        if (node.op_type in QUANTIZABLE and may_be_gate(graph, node)) or clip_limits(graph, node) is not None
    ]
    groups: dict[str, str] = {}  # tensor -> another one of its group, or itself

    def root(name: str) -> str:
        while groups.setdefault(name, name) != name:
            name = groups[name]
        return name

    touched = {id(node): [n for n in (*node.input, *node.output) if n and not graph.is_constant(n)] for node in linked}
    for names in touched.values():
        for name in names[1:]:
            groups[root(name)] = root(names[0])
    weighted = {root(touched[id(node)][0]) for node in linked if node.op_type in WEIGHTED}
    lost = [name for name in groups if root(name) not in weighted and name in known.ranges]
    for name in lost:
        del known.ranges[name]
    return len(lost)


def keep_drowned_sums_float(graph: Graph, known: Quantization) -> int:
    """Forget the ranges of sums on whose grid a summand has no two steps: all that it says would be rounded away.

    Such is the mask of an attention: -1e9 where nothing is to be looked at, beside scores of a few units.
    """
    done = 0
    for node in graph.nodes:
        sum_of = known.ranges.get(node.output[0]) if node.op_type == "Add" else None
        spans = [known.ranges[name].width for name in node.input if name in known.ranges]
        if sum_of is not None and spans and min(spans) < FEWEST_STEPS * sum_of.width / STEPS:
            del known.ranges[node.output[0]]
            done += 1
    return done
