"""Reads rows of pixels four bytes at a time, as integer kernels take their channels.

A row is 3 W bytes, B G R B G R. Its fours of bytes are taken for pixels of four channels: no byte is copied, where a
constant channel beside B, G and R costs a copy of each pixel. Two steps of a convolution's window, each of two pixels,
are three fours, so one position computes two columns of the output, side by side as channels; laid out channels last,
they lie where columns lie, and putting them there is a change of shape alone.

A border of its own replaces the padding: the mean of each channel, to the nearest whole pixel value, which is what any
value is rounded to there. Inside the border nothing changes, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Array, Graph, attribute
from convert.passes.camera import TOP, Pixels

COLOURS, FOUR = 3, 4
MOST_COLUMNS = 2  # that a position may compute: more would spend most products on weights of 0


@dataclass(frozen=True, slots=True)
class Window:
    """Where a convolution's window lies on a row of bytes.

    Attributes:
        kernel: Rows and pixels.
        stride: Likewise, from one output to the next.
        columns: Of the output that a position computes.
        lead: Fours of border before a row.
        trail: Fours of border behind it.
        top: Rows of border above.
        bottom: Rows of border below.
        skip: Bytes of the first four that belong to no pixel of the window.
        width: Fours under all windows of a position.
        output: Columns of the output.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    columns: int
    lead: int
    trail: int
    top: int
    bottom: int
    skip: int
    width: int
    output: int

    @property
    def step(self) -> int:
        """Fours from one position to the next."""
        return COLOURS * self.stride[1] * self.columns // FOUR

    def weights(self, stored: Array) -> Array:
        """(O, 4, kh, kw) of colours and the constant -> (columns O, 4, kh, width) of bytes."""
        outputs, _, rows, across = stored.shape
        of_bytes = stored[:, :COLOURS].transpose(0, 2, 3, 1).reshape(outputs, rows, COLOURS * across)
        wide = np.zeros((self.columns, outputs, rows, FOUR * self.width), stored.dtype)
        for column in range(self.columns):
            start = self.skip + COLOURS * self.stride[1] * column
            wide[column, ..., start : start + of_bytes.shape[-1]] = of_bytes
        return wide.reshape(-1, rows, self.width, FOUR).transpose(0, 3, 1, 2)


def read_pixels_in_fours(graph: Graph, pixels: Pixels) -> int:
    """Read rows of pixels as fours of bytes, with a border of their own, instead of beside a constant channel.

    For a graph that reads pixels as they are stored, and kernels whose sums of two products cannot saturate: which
    bytes are neighbours changes.
    """
    reader = graph.only_reader(f"{pixels.image}.planes")
    conv = graph.only_reader(reader.output[0]) if reader is not None and reader.op_type == "DequantizeLinear" else None
    quantizer = graph.only_reader(conv.output[0]) if conv is not None else None
    if conv is None or quantizer is None or quantizer.op_type != "QuantizeLinear":
        return 0
    shapes = graph.shapes()
    height, width, rows, columns = (size or 0 for size in (*shapes[pixels.image][1:3], *shapes[conv.output[0]][2:]))
    window = _window(conv, height, width, rows, columns)
    if window is None:
        return 0
    _frame(graph, pixels, window, height, width)
    _set_weights(graph, conv, pixels, window)
    if window.columns > 1:
        _columns_side_by_side(graph, conv, quantizer, window)
    graph.remove_dead()
    return 1


def _window(conv: NodeProto, height: int, width: int, rows: int, columns: int) -> Window | None:
    """None where fours of bytes and windows do not meet.

    Args:
        height: Of the picture; likewise `width`; 0 where it may vary.
        rows: Of the output; likewise `columns`.
    """
    (down, across), (tall, wide) = attribute(conv, "strides", [1, 1]), attribute(conv, "kernel_shape")
    at_once = FOUR // math.gcd(FOUR, across)
    plain = attribute(conv, "auto_pad", b"NOTSET") == b"NOTSET" and set(attribute(conv, "dilations", [1])) == {1}
    if not plain or not (height and width) or at_once > MOST_COLUMNS or columns % at_once or width % FOUR:
        return None
    top, left, _, _ = attribute(conv, "pads", [0, 0, 0, 0])
    lead = -(-COLOURS * left // FOUR)
    skip = FOUR * lead - COLOURS * left
    fours = -(-(skip + COLOURS * (wide + across * (at_once - 1))) // FOUR)
    reached = (columns // at_once - 1) * COLOURS * across * at_once // FOUR + fours
    return Window(
        (tall, wide),
        (down, across),
        at_once,
        lead,
        max(0, reached - lead - COLOURS * width // FOUR),
        top,
        max(0, (rows - 1) * down + tall - top - height),
        skip,
        fours,
        columns,
    )


def _frame(graph: Graph, pixels: Pixels, window: Window, height: int, width: int) -> None:
    """The border around the pixels, then fours of bytes for channels."""
    name, constants = pixels.image, graph.constants
    colours = np.clip(np.rint(pixels.mean), 0, TOP).astype(np.uint8)
    line = np.tile(colours, max(width, FOUR * window.lead, FOUR * window.trail))
    tall = height + window.top + window.bottom
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
    constants[f"{name}.in_fours"] = np.array([0, 0, -1, FOUR])
    add("Min", [add("Shape", [name], "shape"), f"{name}.one"], "batch")  # (N, 1, 1, 1)
    across = line[: COLOURS * width].reshape(1, 1, width, COLOURS)
    rows = bordered(name, 1, "rows", above=across.repeat(window.top, 1), below=across.repeat(window.bottom, 1))
    fours = add("Reshape", [rows, f"{name}.in_fours"], "fours")
    before, behind = (line[len(line) - FOUR * window.lead :], line[: FOUR * window.trail])
    left, right = (strip.reshape(1, 1, -1, FOUR).repeat(tall, 1) for strip in (before, behind))
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
    for key, value in (
        ("kernel_shape", [window.kernel[0], window.width]),
        ("strides", [window.stride[0], window.step]),
    ):
        conv.attribute.append(helper.make_attribute(key, value))


def _columns_side_by_side(graph: Graph, conv: NodeProto, quantizer: NodeProto, window: Window) -> None:
    """From (N, columns O, h, positions) to (N, O, h, positions columns), in integers, channels last on the way."""
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
