"""Lets a graph take a camera's pixels: colour order, layout and normalisation go into its first convolution.

With mean m and deviation s of a channel, w * (p - m) / s is v * (p - c) + v * (c - m), where v = w / s and c is any
number. c is one integer for all channels, so that p - c is what an integer kernel makes of the pixel p and the zero
point c. The rest, v * (c - m), must be added for every place of the kernel that lies on the picture and for none on
the border that the convolution pads. A fourth channel that is the same all over the picture, and zero on the border
as all channels are, does that exactly. Its place costs nothing: integer kernels take channels in fours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convert.graph import Array, Graph, attribute
from convert.passes.place import DEQUANTIZED
from convert.quantization import Range
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.images import NormalisedPreprocess, pixels_of
from edge_kit.core.tensors import TensorSpec

TOP = 255


@dataclass(frozen=True, slots=True)
class Pixels:
    """What `take_pixels` did.

    Attributes:
        image: The input, (N, H, W, 3) uint8.
        tensor: The float tensor that the first convolution reads, (N, 4, H, W): BGR around `centre`, and the constant.
        weight: Of that convolution, in float, (O, 4, kh, kw).
        centre: The pixel that is zero to the convolution, 0..255.
        step: What the fourth channel holds, from `centre` on.
        mean: Of B, G and R, in 0..255: what is zero to the network, and what it is padded with.
    """

    image: str
    tensor: str
    weight: Array
    centre: int
    step: int
    mean: Array

    @property
    def span(self) -> Range:
        """The values of `tensor`, a whole step apart."""
        return Range(-float(self.centre), float(TOP - self.centre))


def take_pixels(graph: Graph, image: TensorSpec, preprocess: NormalisedPreprocess) -> Pixels:
    """Let the input be uint8 (N, H, W, 3) BGR instead of normalised floats, and the first convolution normalise it.

    Args:
        image: The input as it is, (N, 3, H, W) float32.

    Raises:
        EdgeKitError: Something else than one plain convolution reads the input.
    """
    conv = _first_convolution(graph, image.name)
    mean, deviation = (one[::-1].astype(np.float64) for one in preprocess.in_pixels())  # RGB -> BGR
    centre = int(np.clip(np.rint(mean.mean()), 0, TOP))
    stored = graph.constants[conv.input[1]]
    weight = (stored if preprocess.channel_order == "BGR" else stored[:, ::-1]) / deviation.reshape(1, 3, 1, 1)
    rest = (weight * (centre - mean).reshape(1, 3, 1, 1)).sum(axis=1, keepdims=True)  # (O, 1, kh, kw)
    bias = graph.constants[conv.input[2]].astype(np.float64) if _has_bias(conv) else np.zeros(len(weight))
    if _pads(conv):
        step = _step(weight, rest, centre)
        fourth = rest / step
    else:
        step, fourth = 0, np.zeros_like(rest)
        bias = bias + rest.sum(axis=(1, 2, 3))
    whole = np.concatenate([weight, fourth], axis=1).astype(np.float32)
    pixels = Pixels(image.name, f"{image.name}.centred", whole, centre, step, mean)
    _read_pixels(graph, image, pixels)
    _set_weight(graph, conv, pixels, bias)
    return pixels


def _first_convolution(graph: Graph, image: str) -> NodeProto:
    readers = graph.consumers(image)
    if len(readers) == 1 and readers[0].op_type == "Conv" and image not in graph.outputs:
        conv = readers[0]
        weight = graph.constants.get(conv.input[1])
        known = weight is not None and (not _has_bias(conv) or graph.is_constant(conv.input[2]))
        if known and weight is not None and weight.ndim == 4 and weight.shape[1] == 3:
            return conv
    found = ", ".join(sorted({node.op_type for node in readers})) or "nothing"
    raise EdgeKitError(
        f"input {image!r} cannot take pixels: one convolution of three channels with stored weights must read it, "
        f"and {found} does; leave out --input"
    )


def _has_bias(conv: NodeProto) -> bool:
    return len(conv.input) > 2 and bool(conv.input[2])


def _pads(conv: NodeProto) -> bool:
    how = attribute(conv, "auto_pad", b"NOTSET")
    return bool(how.startswith(b"SAME") or (how == b"NOTSET" and any(attribute(conv, "pads", []))))


def _step(weight: Array, rest: Array, centre: int) -> int:
    """The least that keeps the fourth channel's weights within those of the colours, so that they share a grid."""
    largest, needed = (np.abs(one).reshape(len(one), -1).max(axis=1) for one in (weight, rest))
    wanted = np.ceil(np.max(needed / np.maximum(largest, 1e-30)))
    room = max(centre, TOP - centre)
    step = int(np.clip(wanted, 1, room))
    return step if centre + step <= TOP else -step


def _read_pixels(graph: Graph, image: TensorSpec, pixels: Pixels) -> None:
    """The constant channel beside the pixels, then the layout of the network, then numbers around the centre.

    All in float: MNN 3.6.1 gives garbage for a Concat of uint8.
    """
    name, constants = image.name, graph.constants
    graph.retype_input(pixels_of(image))
    constants[f"{name}.from"], constants[f"{name}.to"] = np.array([0]), np.array([3])
    constants[f"{name}.one"] = np.array([1])
    constants[f"{name}.centre"] = np.array(pixels.centre, np.float32)
    constant = numpy_helper.from_array(np.array([pixels.centre + pixels.step], np.float32))
    steps: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Shape", [name], "shape", {}),
        ("Slice", [f"{name}.shape", f"{name}.from", f"{name}.to"], "places", {}),  # N, H, W
        ("Concat", [f"{name}.places", f"{name}.one"], "plane", {"axis": 0}),
        ("ConstantOfShape", [f"{name}.plane"], "constant", {"value": constant}),
        ("Cast", [name], "floats", {"to": TensorProto.FLOAT}),
        ("Concat", [f"{name}.floats", f"{name}.constant"], "channels", {"axis": 3}),
        ("Transpose", [f"{name}.channels"], "planes", {"perm": [0, 3, 1, 2]}),
        ("Sub", [f"{name}.planes", f"{name}.centre"], "centred", {}),
    )
    graph.nodes[:0] = [
        helper.make_node(kind, given, [f"{name}.{made}"], name=f"{name}.{made}", **how)
        for kind, given, made, how in steps
    ]


def _set_weight(graph: Graph, conv: NodeProto, pixels: Pixels, bias: Array) -> None:
    weight, shift = f"{conv.input[1]}.of_pixels", f"{conv.input[1]}.of_pixels_bias"
    graph.constants[weight], graph.constants[shift] = pixels.weight, bias.astype(np.float32)
    conv.input[:] = [pixels.tensor, weight, shift]


def settle_constant_channel(graph: Graph, pixels: Pixels) -> int:
    """Take out of the bias what rounding the weights of the constant channel adds to every output inside the border.

    For a graph whose first convolution has its quantizers.
    """
    done = 0
    for conv in graph.consumers(f"{pixels.tensor}{DEQUANTIZED}"):
        weight, bias = (graph.producer(name) for name in conv.input[1:3])
        if not pixels.step or weight is None or bias is None:
            continue
        stored, scale = (graph.constants[name] for name in weight.input[:2])
        lost: Array = pixels.weight[:, 3] - stored[:, 3] * scale.reshape(-1, 1, 1).astype(np.float64)  # (O, kh, kw)
        added = np.rint(pixels.step * lost.sum(axis=(1, 2)) / graph.constants[bias.input[1]])
        graph.constants[bias.input[0]] = graph.constants[bias.input[0]] + added.astype(np.int32)
        done += 1
    return done


def read_stored_pixels(graph: Graph, pixels: Pixels) -> int:
    """Read pixels as they are stored instead of rounding what was made of them to the very grid that they have.

    Signed kernels have no such grid: there the quantizer stays, and with it a float tensor of the input's size.
    """
    done = 0
    for node in graph.consumers(pixels.tensor):
        scale, zero = (graph.constants[name] for name in node.input[1:3])
        if node.op_type == "QuantizeLinear" and scale == 1 and zero.dtype == np.uint8 and zero == pixels.centre:
            graph.replace_uses(node.output[0], f"{pixels.image}.planes")
            graph.remove(node)
            done += 1
    if done:
        _stay_in_uint8(graph, pixels)
    graph.remove_dead()
    return done


def _stay_in_uint8(graph: Graph, pixels: Pixels) -> None:
    graph.replace_uses(f"{pixels.image}.floats", pixels.image)
    constant = graph.producer(f"{pixels.image}.constant")
    assert constant is not None
    value = numpy_helper.from_array(np.array([pixels.centre + pixels.step], np.uint8))
    constant.attribute[0].CopyFrom(helper.make_attribute("value", value))
