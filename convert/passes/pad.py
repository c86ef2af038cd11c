"""Pads integers where engines have no fused form of a Pad between quantizers."""

from __future__ import annotations

from onnx import NodeProto, helper

from convert.graph import Graph, attribute

INTEGERS_FROM = 13  # opset from which a Pad takes any type


def pad_integers(graph: Graph) -> int:
    """Let a Pad that reads and gives one grid fill up the integers themselves with the zero point.

    ONNX Runtime has no INT8 form of it and would compute in float between two quantizers.
    """
    if graph.opset() < INTEGERS_FROM:
        return 0
    done = 0
    for pad in [node for node in graph.nodes if node.op_type == "Pad"]:
        before, after = graph.producer(pad.input[0]), graph.only_reader(pad.output[0])
        if before is None or before.op_type != "DequantizeLinear" or after is None:
            continue
        if after.op_type != "QuantizeLinear" or not _same_grid(graph, before, after):
            continue
        if attribute(pad, "mode", b"constant") != b"constant":
            continue
        fresh = helper.make_node("Pad", [before.input[0], pad.input[1], after.input[2]], [after.output[0]])
        fresh.name, fresh.doc_string = pad.name, pad.doc_string
        graph.insert_before(pad, fresh)
        graph.remove(pad)
        graph.remove(after)
        done += 1
    graph.remove_dead()
    return done


def _same_grid(graph: Graph, before: NodeProto, after: NodeProto) -> bool:
    if len(before.input) < 3 or len(after.input) < 3:
        return False
    return all(
        bool((graph.constants[first] == graph.constants[second]).all())
        for first, second in zip(before.input[1:3], after.input[1:3], strict=True)
    )
