"""Transposed convolutions as convolutions, for engines that have integer kernels of those alone."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Array, Graph, attribute, label
from convert.passes.place import clip_limits

TO_THE_END = np.iinfo(np.int64).max


def convolve_transposed(graph: Graph) -> int:
    """Replace each ConvTranspose of one group over pictures by Conv, DepthToSpace and Slice.

    Values that lie a stride apart in the output come from the same window of the input: a convolution computes them as
    channels, which are then put beside each other and cut to size. A ReLU behind it moves to the convolution.
    """
    done = 0
    for node in [n for n in graph.nodes if n.op_type == "ConvTranspose"]:
        strides, pads = attribute(node, "strides", [1, 1]), attribute(node, "pads", [0, 0, 0, 0])
        more = attribute(node, "output_padding", [0, 0])
        if not _fits(graph, node) or len(strides) != 2 or strides[0] != strides[1]:
            continue
        weight, stride = graph.constants[node.input[1]], int(strides[0])
        windows = [-(-side // stride) for side in weight.shape[2:]]
        past = [stride * windows[i] - weight.shape[2 + i] + pads[2 + i] - more[i] for i in range(2)]
        if min(past) < 0:
            continue  # it ends beyond all windows
        _replace(graph, node, _as_channels(weight, stride, windows), stride, (list(pads[:2]), past))
        done += 1
    if done:
        graph.remove_dead()
    return done


def _fits(graph: Graph, node: NodeProto) -> bool:
    constant = all(graph.is_constant(name) for name in node.input[1:] if name)
    plain = attribute(node, "group", 1) == 1 and list(attribute(node, "dilations", [1, 1])) == [1, 1]
    padded = attribute(node, "auto_pad", b"NOTSET") == b"NOTSET" and attribute(node, "output_shape") is None
    return constant and plain and padded and graph.constants[node.input[1]].ndim == 4


def _as_channels(weight: Array, stride: int, windows: list[int]) -> Array:
    """(in, out, kh, kw) -> (out * stride * stride, in, *windows), the filters of DepthToSpace's order CRD."""
    inner, outer = weight.shape[:2]
    room = [stride * window - side for window, side in zip(windows, weight.shape[2:], strict=True)]
    filled = np.pad(weight, ((0, 0), (0, 0), (0, room[0]), (0, room[1])))
    taps = filled.reshape(inner, outer, windows[0], stride, windows[1], stride)
    turned = taps[:, :, ::-1, :, ::-1, :]  # a window's first value has gone the farthest
    filters = turned.transpose(1, 3, 5, 0, 2, 4)  # (in, out, T, s, T, s) -> (out, s, s, in, T, T)
    return np.ascontiguousarray(filters.reshape(-1, inner, *windows))


def _replace(graph: Graph, node: NodeProto, filters: Array, stride: int, cut: tuple[list[int], list[int]]) -> None:
    """Put the new nodes in; `cut` tells what to leave out before and behind, of rows and of columns."""
    output = node.output[0]
    reader = graph.only_reader(output)
    active = reader if reader is not None and clip_limits(graph, reader) else None
    inputs = [node.input[0], f"{output}.filters"]
    graph.constants[inputs[1]] = filters
    if len(node.input) > 2 and node.input[2]:
        inputs.append(f"{output}.biases")
        graph.constants[inputs[2]] = np.repeat(graph.constants[node.input[2]], stride**2)
    pads = [side - 1 for side in filters.shape[2:]] * 2
    fresh = [helper.make_node("Conv", inputs, [f"{output}.phases"], name=label(node), pads=pads)]
    if active is not None:
        kept = helper.make_node(
            active.op_type, [f"{output}.phases", *active.input[1:]], [f"{output}.active"], name=label(active)
        )
        kept.attribute.extend(active.attribute)
        fresh.append(kept)
        output = active.output[0]
        graph.remove(active)
    shuffle = [f"{output}.beside"] if cut != ([0, 0], [0, 0]) else [output]
    fresh.append(helper.make_node("DepthToSpace", list(fresh[-1].output), shuffle, blocksize=stride, mode="CRD"))
    if shuffle != [output]:
        bounds = {"starts": cut[0], "ends": [-one if one else TO_THE_END for one in cut[1]], "axes": [2, 3]}
        for key, values in bounds.items():
            graph.constants[f"{output}.{key}"] = np.array(values, np.int64)
        fresh.append(helper.make_node("Slice", [*shuffle, *(f"{output}.{key}" for key in bounds)], [output]))
    for one in fresh:
        graph.insert_before(node, one)
    graph.remove(node)
