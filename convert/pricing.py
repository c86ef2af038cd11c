"""What each reason costs: the time of the operators that run because of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from convert.explain import Finding, unfused_reason
from convert.quantized import MOVING, Quantized, is_integer
from runtimes.protocol import OperatorTime

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def price(graph: Quantized, findings: Sequence[Finding], times: Sequence[OperatorTime], device: str) -> list[Finding]:
    """Put prices on findings, and add those that only a profile shows; dearest first.

    An operator is counted once, for the first finding that owns it, so prices add up to no more than the whole.
    """
    total = sum(one.ms for one in times)
    fallbacks = _fallbacks(times, device)
    free = defaultdict(list)
    for one in times:
        if one not in fallbacks[1]:
            free[graph.node_of(one.name)].append(one)
    added = free.pop(None, [])  # what the engine put in by itself
    priced = []
    for finding in findings:
        owned = [one for name in finding.operators for one in _take(free, name)]
        priced.append(_priced(finding, owned, total) if finding.operators else finding)
    for found, owned in (
        fallbacks,
        _unfused(graph, free),
        _loose(graph, free),
        _reordered(graph, added),
        _cast(added),
    ):
        if found.count:
            priced.append(_priced(found, owned, total))
    return sorted(priced, key=lambda finding: -(finding.cost_ms or 0))


def runs_in_int8(operator: OperatorTime) -> bool:
    """Whether an engine runs this operator on integers; quantizers are what that takes, not part of it."""
    return operator.kind not in QUANTIZERS and (is_integer(operator.kind) or operator.precision == "int8")


def _priced(finding: Finding, owned: Sequence[OperatorTime], total: float) -> Finding:
    cost = sum(one.ms for one in owned)
    return replace(finding, cost_ms=cost, share=cost / total if total else None)


def _take(free: dict[str | None, list[OperatorTime]], name: str) -> list[OperatorTime]:
    """The operators of a node that run in float, taken from those that no finding owns yet."""
    owned = [one for one in free.get(name, []) if not runs_in_int8(one)]
    free[name] = [one for one in free.get(name, []) if one not in owned]
    return owned


def _fallbacks(times: Sequence[OperatorTime], device: str) -> tuple[Finding, list[OperatorTime]]:
    """Operators that run on the processor although another device was asked for."""
    found = [one for one in times if device != "cpu" and (one.place.startswith("CPU") or one.kind.startswith("Memcpy"))]
    kinds = ", ".join(kind for kind, _ in Counter(one.kind for one in found).most_common(3))
    finding = Finding(
        "fallbacks",
        f"operators on the processor, not on the {device}",
        len(found),
        tuple(one.name for one in found),
        f"most are {kinds}; copies to and fro are counted",
        "replace the operator, or run the whole graph on one device",
    )
    return finding, found


def _unfused(graph: Quantized, free: dict[str | None, list[OperatorTime]]) -> tuple[Finding, list[OperatorTime]]:
    """Nodes that the file quantizes and the engine runs in float all the same."""
    found, owned, reasons = [], [], Counter[str]()
    for node in graph.graph.nodes:
        ran = free.get(node.name, [])
        if not ran or all(runs_in_int8(one) for one in ran) or not graph.is_quantized(node):
            continue
        near = graph.around(node)
        if node.op_type in MOVING and not any(free.get(name) for name in near[1:]):
            continue  # fused, it keeps its name: what tells is that no quantizer next to it runs
        found.append(node.name)
        reasons[unfused_reason(graph, node) or "no reason known"] += 1
        owned += [one for name in near for one in _take(free, name)]
    finding = Finding(
        "unfused",
        "nodes quantized in the file that the engine runs in float",
        len(found),
        tuple(found),
        "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common()),
        "mend what the note names",
    )
    return finding, owned


def _loose(graph: Quantized, free: dict[str | None, list[OperatorTime]]) -> tuple[Finding, list[OperatorTime]]:
    """Quantizers that run and that nothing above explains; those at the ends of the graph have to be."""
    outside = {*graph.graph.inputs, *graph.graph.outputs}
    names = [
        node.name
        for node in graph.of(*QUANTIZERS)
        if free.get(node.name) and outside.isdisjoint([node.input[0], *node.output])
    ]
    finding = Finding(
        "loose-quantizers",
        "quantizers that run on their own",
        len(names),
        tuple(names),
        "no kernel takes them in",
        "quantize the nodes on both sides of each",
    )
    return finding, [one for name in names for one in _take(free, name)]


def _reordered(graph: Quantized, added: Sequence[OperatorTime]) -> tuple[Finding, list[OperatorTime]]:
    """Transposes that the engine put in; one an input and an output is what an INT8 graph takes at its ends."""
    found = [one for one in added if one.kind == "Transpose" and graph.is_quantizing()]
    ends = len(graph.graph.inputs) + len(graph.graph.outputs)
    found = found if len(found) > ends else []
    finding = Finding(
        "reordered",
        "transposes that the engine put in",
        len(found),
        tuple(one.name for one in found),
        f"INT8 kernels want channels last, float ones first: each change between them is one; {ends} are needed",
        "quantize the float nodes between quantized ones",
    )
    return finding, found


def _cast(added: Sequence[OperatorTime]) -> tuple[Finding, list[OperatorTime]]:
    """Casts that the engine put in, around nodes of which it has no kernel in the precision of the file."""
    found = [one for one in added if one.kind == "Cast"]
    finding = Finding(
        "cast",
        "casts that the engine put in",
        len(found),
        tuple(one.name for one in found),
        "it has no kernels in the precision of the file for the nodes between them",
        "export the graph in FP32, and quantize that",
    )
    return finding, found
