"""Faults put into a graph at one place; each returns the name of the first tensor that they make wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Graph, attribute

Fault = Callable[[Graph, NodeProto], str]


def weighted(graph: Graph, *kinds: str) -> list[NodeProto]:
    """Nodes with weights, in order."""
    return [node for node in graph.nodes if node.op_type in (kinds or ("Conv", "Gemm"))]


def stored(graph: Graph, node: NodeProto, position: int) -> str:
    """The constant that an input of a node comes from, through its DequantizeLinear where there is one."""
    source = graph.producer(node.input[position])
    return source.input[0] if source else node.input[position]


def channel_axis(node: NodeProto) -> int:
    return 0 if node.op_type == "Conv" else 1


def two_channels(graph: Graph, node: NodeProto) -> list[int]:
    """The two output channels with the largest weights: others may be all but silent."""
    source = graph.producer(node.input[1])
    weight = np.moveaxis(graph.constants[stored(graph, node, 1)], channel_axis(node), 0)
    sizes = np.linalg.norm(weight.reshape(len(weight), -1).astype(np.float64), axis=1)
    scales = graph.constants[source.input[1]] if source else 1.0
    return [int(i) for i in np.argsort(sizes * scales)[-2:]]


def change(graph: Graph, name: str, value: np.ndarray) -> None:
    graph.constants[name] = value.astype(graph.constants[name].dtype)


def weights_scaled(graph: Graph, node: NodeProto) -> str:
    """A wrong scale: all weights halved."""
    source = graph.producer(node.input[1])
    name = source.input[1] if source else node.input[1]
    change(graph, name, graph.constants[name] * 0.5)
    return node.output[0]


def one_channel_scaled(graph: Graph, node: NodeProto) -> str:
    """A wrong scale of one output channel, doubled."""
    channel, _ = two_channels(graph, node)
    source = graph.producer(node.input[1])
    name = source.input[1] if source else node.input[1]
    values = np.moveaxis(graph.constants[name].copy(), 0 if source else channel_axis(node), 0)
    values[channel] *= 2
    change(graph, name, np.moveaxis(values, 0, 0 if source else channel_axis(node)))
    return node.output[0]


def channels_swapped(graph: Graph, node: NodeProto) -> str:
    """Two output channels of the stored weight changed places, and their scales and biases did not."""
    first, second = two_channels(graph, node)
    name = stored(graph, node, 1)
    values = np.moveaxis(graph.constants[name].copy(), channel_axis(node), 0)
    values[[first, second]] = values[[second, first]]
    change(graph, name, np.moveaxis(values, 0, channel_axis(node)))
    return node.output[0]


def pads_swapped(graph: Graph, node: NodeProto) -> str:
    """Begin and end of the padding mixed up: as much padding, on the wrong sides."""
    pads = list(attribute(node, "pads"))
    moved = [pads[0] - 1, pads[1] + 1, pads[2] + 1, pads[3] - 1]
    next(a for a in node.attribute if a.name == "pads").ints[:] = moved
    return node.output[0]


def transposed(graph: Graph, node: NodeProto) -> str:
    """Height and width change places behind the node."""
    name = node.output[0]
    node.output[0] = f"{name}.upright"
    at = next(i for i, other in enumerate(graph.nodes) if other is node)
    graph.nodes.insert(at + 1, helper.make_node("Transpose", [f"{name}.upright"], [name], perm=[0, 1, 3, 2]))
    return name


def grid_too_small(graph: Graph, node: NodeProto) -> str:
    """The scale of the activation that the node makes is a quarter, in quantizer and dequantizer."""
    name = node.output[0]
    change(graph, f"{name}.scale", graph.constants[f"{name}.scale"] / 4)
    return name


def scale_of_another(graph: Graph, node: NodeProto) -> str:
    """The activation that the node makes is read back with 1.5 times the scale it is stored with."""
    name = node.output[0]
    graph.constants[f"{name}.wrong_scale"] = graph.constants[f"{name}.scale"] * np.float32(1.5)
    dequantize = next(n for n in graph.nodes if n.output[0] == f"{name}.dq")
    dequantize.input[1] = f"{name}.wrong_scale"
    return name


def zero_point_moved(graph: Graph, node: NodeProto) -> str:
    """The zero point of the activation that the node makes is 20 levels off, in the dequantizer alone."""
    name = node.output[0]
    graph.constants[f"{name}.wrong_zero"] = graph.constants[f"{name}.zero"] + np.array(20, np.uint8)
    dequantize = next(n for n in graph.nodes if n.output[0] == f"{name}.dq")
    dequantize.input[2] = f"{name}.wrong_zero"
    return name
