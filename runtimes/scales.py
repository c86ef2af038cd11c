"""Scales that a file has its engine compute while it loads, for readers that run nothing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from edge_kit.core.tensors import Array
from runtimes.interface import QUANTIZERS

FLOAT = 1  # of ONNX's element types


def settle_scales(model: Any) -> None:
    """Write the scales of quantizers into an ONNX model as numbers, in place, where they follow from its constants.

    What is followed is a Mul of float32 numbers and a Cast of float16 ones; the nodes that do no more than that go.

    Args:
        model: A `ModelProto`.
    """
    helper, body = import_module("onnx.numpy_helper"), model.graph
    computed = _compute(helper, body)
    scales = {node.input[1] for node in body.node if node.op_type in QUANTIZERS and len(node.input) > 1}
    found = computed.keys() & scales
    if not found:
        return
    body.initializer.extend(helper.from_array(computed[name], name) for name in sorted(found))
    read = {value.name for value in body.output}
    kept: list[Any] = []
    unread: set[str] = set()
    for node in reversed(body.node):
        goes = not computed.keys().isdisjoint(node.output) and (
            read.isdisjoint(node.output) or not found.isdisjoint(node.output)
        )
        (unread if goes else read).update(node.input)
        if not goes:
            kept.append(node)
    left = [tensor for tensor in body.initializer if tensor.name in read or tensor.name not in unread]
    del body.node[:], body.initializer[:]
    body.node.extend(reversed(kept))
    body.initializer.extend(left)


def _compute(helper: Any, body: Any) -> dict[str, Array]:
    """What may be scales, by name."""
    held = {tensor.name: tensor for tensor in body.initializer}
    computed: dict[str, Array] = {}
    for node in body.node:
        if node.op_type in ("Cast", "Mul") and all(name in held or name in computed for name in node.input):
            given = [computed[name] if name in computed else helper.to_array(held[name]) for name in node.input]
            value = _value(node, given)
            if value is not None:
                computed[node.output[0]] = value
    return computed


def _value(node: Any, given: list[Array]) -> Array | None:
    """What a node computes; None where it is of another kind than scales are."""
    if any(one.ndim > 1 for one in given):
        return None
    kinds = [one.dtype for one in given]
    fits = len({one.size for one in given} - {1}) <= 1
    if node.op_type == "Mul" and kinds == [np.float32, np.float32] and fits:
        return np.asarray(given[0] * given[1])
    if (
        node.op_type == "Cast"
        and kinds == [np.float16]
        and any(a.name == "to" and a.i == FLOAT for a in node.attribute)
    ):
        return given[0].astype(np.float32)
    return None
