"""Reads rows of pixels four pixels at a time, as one place of twelve channels.

Integer kernels take channels in fours, and go from place to place by a pointer each. Three channels suit them badly,
and a fourth beside B, G and R costs a copy of every pixel. A row of pixels is B G R B G R already: four of them are
twelve channels, and no byte is copied. A convolution of stride 2 computes two columns of its output there, side by side
as channels; laid out channels last, they lie where columns lie, and putting them there is a change of shape alone.

A border of its own replaces the padding: the mean of each channel, to the nearest whole pixel value, which is what any
value is rounded to there. Inside the border nothing changes, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Array, Graph, attribute
from convert.passes.camera import TOP, Pixels

COLOURS, FOUR = 3, 4
STRIDES = (2, 4)  # with 1 there were four columns to a place, and most products with weights of 0


@dataclass(frozen=True, slots=True)
class Window:
    """How a convolution's window lies on rows of fours of pixels.

    Attributes:
        rows: Under it.
        down: From one row of the output to the next.
        across: Pixels from one column of the output to the next.
        lead: Fours of border before a row.
        trail: Fours of border behind it.
        top: Rows of border above.
        bottom: Rows of border below.
        skip: Pixels of the first four that lie before the first column's window.
        width: Fours under the windows of all columns of a place.
        output: Columns of the output.
    """

    rows: int
    down: int
    across: int
    lead: int
    trail: int
    top: int
    bottom: int
    skip: int
    width: int
    output: int

    @property
    def columns(self) -> int:
        """Of the output that are computed at one place."""
        return FOUR // self.across

    def weights(self, stored: Array) -> Array:
        """(O, 4, kh, kw) of colours and the constant -> (columns O, 12, kh, width)."""
        outputs, _, rows, wide = stored.shape
        spread = np.zeros((self.columns, outputs, rows, FOUR * self.width, COLOURS), stored.dtype)
        for column in range(self.columns):
            start = self.skip + self.across * column
            spread[column, :, :, start : start + wide] = stored[:, :COLOURS].transpose(0, 2, 3, 1)
        return spread.reshape(-1, rows, self.width, FOUR * COLOURS).transpose(0, 3, 1, 2)


def read_pixels_in_fours(graph: Graph, pixels: Pixels) -> int:
    """Read rows of pixels four at a time, with a border of their own, instead of beside a constant channel.

    For a graph that reads pixels as they are stored, and kernels whose sums of two products cannot saturate: which
    weights are neighbours changes.
    """
    reader = graph.only_reader(f"{pixels.image}.planes")
    conv = graph.only_reader(reader.output[0]) if reader is not None and reader.op_type == "DequantizeLinear" else None
    quantizer = graph.only_reader(conv.output[0]) if conv is not None else None
    if conv is None or quantizer is None or quantizer.op_type != "QuantizeLinear":
        return 0
    shapes = graph.shapes()
    height, width, rows, columns = (size or 0 for size in (*shapes[pixels.image][1:3], *shapes[conv.output[0]][2:]))
    window = _window(conv, pixels.weight.shape[2:], (height, width), (rows, columns))
    if window is None:
        return 0
    _frame(graph, pixels, window, height, width)
    _set_weights(graph, conv, pixels, window)
    if window.columns > 1:
        _columns_side_by_side(graph, conv, quantizer, window)
    graph.remove_dead()
    return 1


def _window(conv: NodeProto, kernel: Sequence[int], picture: tuple[int, int], output: tuple[int, int]) -> Window | None:
    """None where fours of pixels and windows do not meet.

    Args:
        kernel: Its height and width; a node need not tell them.
        picture: Likewise; 0 where it may vary.
        output: Likewise.
    """
    (tall, wide), (height, width), (rows, columns) = kernel, picture, output
    down, across = attribute(conv, "strides", [1, 1])
    plain = attribute(conv, "auto_pad", b"NOTSET") == b"NOTSET" and set(attribute(conv, "dilations", [1])) == {1}
    if not plain or across not in STRIDES or not height or not width or width % FOUR or columns * across % FOUR:
        return None
    top, left, _, _ = attribute(conv, "pads", [0, 0, 0, 0])
    lead = -(-left // FOUR)
    skip = FOUR * lead - left
    under = -(-(skip + wide + FOUR - across) // FOUR)
    reached = columns * across // FOUR - 1 + under
    trail = max(0, reached - lead - width // FOUR)
    bottom = max(0, (rows - 1) * down + tall - top - height)
    return Window(tall, down, across, lead, trail, top, bottom, skip, under, columns)


def _frame(graph: Graph, pixels: Pixels, window: Window, height: int, width: int) -> None:
    """The border around the pixels, then four pixels for a place."""
    name, constants = pixels.image, graph.constants
    colours = np.clip(np.rint(pixels.mean), 0, TOP).astype(np.uint8)
    above, below = (np.tile(colours, (1, count, width, 1)) for count in (window.top, window.bottom))
    tall = height + window.top + window.bottom
    left, right = (np.tile(colours, (1, tall, count, FOUR)) for count in (window.lead, window.trail))
    nodes: list[NodeProto] = []

    def add(kind: str, given: Sequence[str], made: str, **how: Any) -> str:
        nodes.append(helper.make_node(kind, given, [f"{name}.{made}"], name=f"{name}.{made}", **how))
        return f"{name}.{made}"

    def bordered(middle: str, axis: int, made: str, **strips: Array) -> str:
        """`middle` between two strips, one of each for every picture; itself where both are empty."""
        sides = []
        for side, strip in strips.items():
            constants[f"{name}.{side}"] = strip
            sides.append([add("Expand", [f"{name}.{side}", f"{name}.batch"], f"{side}s")] if strip.size else [])
        return add("Concat", [*sides[0], middle, *sides[1]], made, axis=axis) if any(sides) else middle

    constants[f"{name}.one"] = np.array([np.iinfo(np.int64).max, 1, 1, 1])
    constants[f"{name}.in_fours"] = np.array([0, 0, -1, FOUR * COLOURS])
    add("Min", [add("Shape", [name], "shape"), f"{name}.one"], "batch")  # (N, 1, 1, 1)
    rows = bordered(name, 1, "rows", above=above, below=below)
    fours = add("Reshape", [rows, f"{name}.in_fours"], "fours")
    framed = bordered(fours, 2, "framed", left=left, right=right)
    planes = graph.producer(f"{name}.planes")
    assert planes is not None  # `take_pixels` made it
    planes.input[0] = framed
    graph.nodes[:0] = nodes


def _set_weights(graph: Graph, conv: NodeProto, pixels: Pixels, window: Window) -> None:
    """Of every column at once; what the constant channel gave inside the border is given by the bias."""
    weight, bias = (graph.producer(name) for name in conv.input[1:3])
    assert weight is not None and bias is not None  # quantizers were placed
    constants = graph.constants
    stored = constants[weight.input[0]]
    inside = pixels.step * stored[:, COLOURS:].astype(np.int32).sum(axis=(1, 2, 3), dtype=np.int32)
    fresh = {weight.input[0]: window.weights(stored)}
    columns = {bias.input[0]: constants[bias.input[0]] + inside}
    columns |= {name: constants[name] for node in (weight, bias) for name in node.input[1:]}
    fresh |= {name: np.tile(value, window.columns) if value.ndim else value for name, value in columns.items()}
    for node in (weight, bias):
        for i, name in enumerate(node.input):
            constants[f"{name}.in_fours"] = fresh[name]
            node.input[i] = f"{name}.in_fours"
    del conv.attribute[:]
    for key, value in (("kernel_shape", [window.rows, window.width]), ("strides", [window.down, 1])):
        conv.attribute.append(helper.make_attribute(key, value))


def _columns_side_by_side(graph: Graph, conv: NodeProto, quantizer: NodeProto, window: Window) -> None:
    """From (N, columns O, h, places) to (N, O, h, places columns), in integers, channels last on the way."""
    name, stored = conv.output[0], quantizer.output[0]
    conv.output[0] = quantizer.input[0] = f"{name}.columns"
    quantizer.output[0] = f"{stored}.columns"
    graph.constants[f"{name}.apart"] = np.array([0, 0, window.output, -1])
    after = graph.nodes.index(quantizer) + 1
    graph.nodes[after:after] = [
        helper.make_node("Transpose", [f"{stored}.columns"], [f"{stored}.last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{stored}.last", f"{name}.apart"], [f"{stored}.apart"]),
        helper.make_node("Transpose", [f"{stored}.apart"], [stored], perm=[0, 3, 1, 2]),
    ]
