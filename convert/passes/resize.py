"""Resizes by numbers that are known, so that nothing has to look at a tensor to tell its shape."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Graph, attribute


def resize_by_constant_scales(graph: Graph) -> int:
    """Replace the sizes of a Resize that are put together from its input's shape by scales.

    Exporters take batch and channels from the input while it runs, to which it would have to be dequantized.
    """
    done = 0
    shapes = graph.shapes()
    for node in [n for n in graph.nodes if n.op_type == "Resize" and len(n.input) == 4 and n.input[3]]:
        sizes = _known_sizes(graph, node)
        before = shapes.get(node.input[0])
        if sizes is None or before is None or len(before) != 4:
            continue
        pairs = [(old, new) for old, new in zip(before[2:], sizes, strict=True) if old is not None]
        scales = [_scale(old, new) for old, new in pairs]
        exact = all(old * float(scale) == new for (old, new), scale in zip(pairs, scales, strict=True))
        if len(pairs) != 2 or not (exact or attribute(node, "mode", b"nearest") == b"linear"):
            continue
        name = f"{node.output[0]}.scales"
        graph.constants[name] = np.array([1, 1, *scales], np.float32)
        fresh = helper.make_node("Resize", [node.input[0], "", name], list(node.output), name=node.name)
        fresh.attribute.extend(node.attribute)
        graph.insert_before(node, fresh)
        graph.remove(node)
        done += 1
    graph.remove_dead()
    return done


def _known_sizes(graph: Graph, node: NodeProto) -> list[int] | None:
    """The two sizes behind batch and channels, where those stay as they are."""
    joined = graph.producer(node.input[3])
    if joined is None or joined.op_type != "Concat" or len(joined.input) != 2:
        return None
    sliced, tail = graph.producer(joined.input[0]), graph.constants.get(joined.input[1])
    if sliced is None or sliced.op_type != "Slice" or tail is None or tail.size != 2:
        return None
    shape = graph.producer(sliced.input[0])
    if shape is None or shape.op_type != "Shape" or shape.input[0] != node.input[0]:
        return None
    starts, ends = (graph.constants.get(name) for name in sliced.input[1:3])
    if starts is None or ends is None or list(starts) != [0] or list(ends) != [2]:
        return None
    return [int(size) for size in tail]


def _scale(old: int, new: int) -> np.float32:
    """The smallest that gives the size again: engines round the product down."""
    scale = np.float32(new / old)
    while int(np.float32(old) * scale) < new:
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale
