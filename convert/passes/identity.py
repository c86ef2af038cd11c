"""Convolutions that are nearly the identity: what they add to it would be rounded away beside its ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Array, Graph, attribute

FINER = 4.0  # times as many steps as before must be left for what is added, to pay for a sum


def sum_with_identity(graph: Graph) -> int:
    """Replace a Conv that is nearly the identity by a Conv of what it adds, and a sum with its input.

    The ones on the diagonal set the scale of each channel, 1/127. Networks that begin as a shallower one, with kernels
    that are the identity, learn thousands of weights smaller than half of that.
    """
    done = 0
    for conv in [n for n in graph.nodes if n.op_type == "Conv"]:
        weight = graph.constants.get(conv.input[1])
        if weight is None or not _keeps_places(conv, weight):
            continue
        added = weight.copy()
        added[_diagonal(weight)] -= 1
        if FINER * _largest(added) > _largest(weight):
            continue
        name, output = f"{conv.input[1]}.added", conv.output[0]
        graph.constants[name] = added
        conv.input[1], conv.output[0] = name, f"{output}.added"
        total = helper.make_node("Add", [conv.output[0], conv.input[0]], [output], name=f"{output}.sum")
        graph.insert_after(conv, total)
        done += 1
    graph.remove_dead()
    return done


def _keeps_places(conv: NodeProto, weight: Array) -> bool:
    """Whether every output is of the place and the number of channels that the middle of the kernel is over."""
    spans = [(side - 1) * step for side, step in zip(weight.shape[2:], _ones(conv, weight, "dilations"), strict=True)]
    pads = attribute(conv, "pads", [0] * 2 * len(spans))
    same = attribute(conv, "auto_pad", b"NOTSET") == b"NOTSET" and list(pads) == [span // 2 for span in spans] * 2
    strides = _ones(conv, weight, "strides")
    return same and all(side % 2 for side in weight.shape[2:]) and set(strides) <= {1} and _is_square(conv, weight)


def _diagonal(weight: Array) -> tuple[Any, ...]:
    """Where the identity has its ones, as an index."""
    channels = np.arange(len(weight))
    return (channels, channels, *(side // 2 for side in weight.shape[2:]))


def _is_square(conv: NodeProto, weight: Array) -> bool:
    return bool(attribute(conv, "group", 1) == 1 and weight.shape[0] == weight.shape[1])


def _ones(conv: NodeProto, weight: Array, name: str) -> list[int]:
    return list(attribute(conv, name, [1] * (weight.ndim - 2)))


def _largest(weight: Array) -> float:
    """The largest weight of a channel, which its scale follows; mean over the channels."""
    return float(np.abs(weight).reshape(len(weight), -1).max(axis=1).mean())
