"""Layers that slide a window over an image, or treat its channels: convolution, pooling, resizing, norms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_kit.core.tensors import Array
from runtimes.ncnn_graph import Node
from runtimes.ncnn_int8 import INT8_TERM, Int8, int8_operands
from runtimes.ncnn_model import Parameter, Weight
from runtimes.ncnn_translate import Shape, Translation, Value, rule

PAD_TYPES = {"constant": 0, "edge": 1, "reflect": 2}


@rule("Conv")
def convolution(t: Translation, node: Node) -> None:
    """Over one or two axes; in INT8 over two, of one group or depthwise."""
    weight, groups = t.weight(node, 1), node.attributes.get("group", 1)
    small = int8_operands(t, node) if weight.ndim == 4 else None
    if groups > 1 and (groups != len(weight) or weight.shape[1] != 1):
        small = None  # ncnn has one scale a group
    x = _image(t, node, (1, 2), small.value if small else None)
    t.weight(node, 1, (weight.shape[0], x.shape[1] // groups, *weight.shape[2:]))
    kind = ("ConvolutionDepthWise" if groups > 1 else "Convolution") + ("1D" if len(x.mat) == 2 else "")
    parameters = _window(t, node, x, weight.shape[2:]) | {0: weight.shape[0], 6: weight.size}
    t.give(node, _weighted(t, node, kind, x, weight, parameters, groups, small))


@rule("ConvTranspose")
def deconvolution(t: Translation, node: Node) -> None:
    """Over two axes."""
    x, weight = _image(t, node, (2,)), t.weight(node, 1)
    given = node.attributes
    groups = given.get("group", 1)
    if "output_shape" in given or given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.refuse("its output size is given instead of its padding")
    inner, outer, *kernel = weight.shape
    t.weight(node, 1, (x.shape[1], outer, *kernel))
    # ONNX has (in, out / groups, ...), ncnn (out, in / groups, ...).
    turned = weight.reshape(groups, inner // groups, outer, *kernel).swapaxes(1, 2)
    parameters = _window(t, node, x, kernel) | {0: outer * groups, 6: weight.size}
    bottom, right = given.get("output_padding", (0, 0))
    parameters |= {18: int(right), 19: int(bottom)}
    kind = "DeconvolutionDepthWise" if groups > 1 else "Deconvolution"
    t.give(node, _weighted(t, node, kind, x, turned, parameters, groups))


def _weighted(
    t: Translation,
    node: Node,
    kind: str,
    x: Value,
    weight: Array,
    parameters: dict[int, Parameter],
    groups: int,
    small: Int8 | None = None,
) -> Value:
    bias = []
    if len(node.inputs) > 2 and node.inputs[2]:
        bias.append(Weight(t.weight(node, 2, t.shape(node)[1:2])))
    parameters |= {5: len(bias)} | ({7: groups} if groups > 1 else {})
    if small is not None:
        return t.layer(node, kind, [x], t.shape(node), parameters | INT8_TERM, small.weights(bias), small.scale)
    return t.layer(node, kind, [x], t.shape(node), parameters, [Weight(weight, tagged=True), *bias])


def _image(t: Translation, node: Node, axes: Sequence[int], x: Value | None = None) -> Value:
    """The first input: the batch, channels, and as many axes as a layer slides over.

    Args:
        x: In front of its quantizer, for a layer that rounds it.
    """
    x = x or t.value(node, 0)
    if x.batch != 0 or len(x.shape) - 2 not in axes:
        raise node.refuse(f"over {max(len(x.shape) - 2, 0)} axes; ncnn here takes {' or '.join(map(str, axes))}")
    return x


def _window(t: Translation, node: Node, x: Value, kernel: Sequence[int]) -> dict[int, Parameter]:
    """Kernel, dilation, stride and padding of a convolution."""
    strides, dilations = _spans(node, "strides", kernel), _spans(node, "dilations", kernel)
    begins, ends = _pads(node, x, kernel, strides, dilations)
    across: dict[int, Parameter] = {1: kernel[-1], 2: dilations[-1], 3: strides[-1], 4: begins[-1], 15: ends[-1]}
    if len(kernel) == 1:
        return across
    return across | {11: kernel[0], 12: dilations[0], 13: strides[0], 14: begins[0], 16: ends[0]}


def _spans(node: Node, key: str, kernel: Sequence[int]) -> list[int]:
    return [int(span) for span in node.attributes.get(key, [1] * len(kernel))]


def _pads(
    node: Node, x: Value, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Padding before and after each axis."""
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = [int(pad) for pad in node.attributes.get("pads", ())] if mode == "NOTSET" else []
        pads = pads or [0] * (2 * len(kernel))
        if min(pads) < 0:
            raise node.refuse(f"negative padding {pads}")
        return pads[: len(kernel)], pads[len(kernel) :]
    begins, ends = [], []
    for size, width, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return begins, ends


@rule("MaxPool", "AveragePool")
def pool(t: Translation, node: Node) -> None:
    """Over two axes. What `ceil_mode` adds behind the padding is written out, and never counted."""
    x, given, shape = _image(t, node, (2,)), node.attributes, t.shape(node)
    if len(node.outputs) > 1 or set(given.get("dilations", (1,))) != {1}:
        raise node.refuse("with dilation or indices")
    kernel, strides = [int(size) for size in given["kernel_shape"]], _spans(node, "strides", given["kernel_shape"])
    begins, ends = _pads(node, x, kernel, strides, (1, 1))
    average = node.kind == "AveragePool"
    if average and given.get("count_include_pad", 0) and any(begins + ends):
        x = _padded(t, node, x, [0, *begins], [0, *ends], 0, 0.0)
        begins, ends = [0, 0], [0, 0]
    for i in range(2):
        needed = (shape[2 + i] - 1) * strides[i] + kernel[i]
        ends[i] = max(needed - x.shape[2 + i] - begins[i], ends[i])
    parameters: dict[int, Parameter] = {0: int(average), 1: kernel[1], 2: strides[1], 3: begins[1], 14: ends[1], 5: 1}
    parameters |= {11: kernel[0], 12: strides[0], 13: begins[0], 15: ends[0]}
    t.give(node, t.layer(node, "Pooling", [x], shape, parameters))


@rule("GlobalAveragePool", "GlobalMaxPool")
def pool_all(t: Translation, node: Node) -> None:
    """One number a channel; ncnn drops the axes of one, which are put back."""
    x = _image(t, node, (2,))
    pooled = t.layer(node, "Pooling", [x], x.shape[:2], {0: int(node.kind == "GlobalAveragePool"), 4: 1})
    t.give(node, t.view(node, pooled, t.shape(node), 0))


@rule("Pad")
def pad(t: Translation, node: Node) -> None:
    """Rows and columns around each axis; inputs from opset 11, attributes before."""
    x = t.value(node, 0)
    mode = node.attributes.get("mode", "constant")
    pads = [int(size) for size in (t.weight(node, 1) if t.graph.opset >= 11 else node.attributes["pads"])]
    value = t.constant(node, 2) if len(node.inputs) > 2 else node.attributes.get("value", 0.0)
    befores, afters = pads[: len(x.shape)], pads[len(x.shape) :]
    if len(node.inputs) > 3 or mode not in PAD_TYPES or min(pads) < 0 or not x.mat or len(x.mat) > 3:
        raise node.refuse(f"mode {mode!r}, pads {pads}; ncnn pads three axes, and outwards")
    if x.batch is not None and (befores.pop(x.batch) or afters.pop(x.batch)):
        raise node.refuse("it pads the batch")
    if mode == "reflect" and len(x.mat) == 3 and (befores[0] or afters[0]):
        raise node.refuse("it reflects channels")
    number = 0.0 if value is None else float(np.reshape(value, ()))
    t.give(node, _padded(t, node, x, befores, afters, PAD_TYPES[mode], number))


def _padded(
    t: Translation, node: Node, x: Value, befores: Sequence[int], afters: Sequence[int], kind: int, value: float
) -> Value:
    """Pad a tensor; the sizes are of ncnn's axes, outermost first."""
    front, top, left = [0] * (3 - len(befores)) + list(befores)
    behind, bottom, right = [0] * (3 - len(afters)) + list(afters)
    sizes = iter(before + size + after for before, size, after in zip(befores, x.mat, afters, strict=True))
    shape: Shape = tuple(size if place == x.batch else next(sizes) for place, size in enumerate(x.shape))
    parameters: dict[int, Parameter] = {0: top, 1: bottom, 2: left, 3: right, 4: kind, 5: value, 7: front, 8: behind}
    return t.layer(node, "Padding", [x], shape, parameters)


@rule("Resize", "Upsample")
def resize(t: Translation, node: Node) -> None:
    """Two axes, to a size known beforehand."""
    x, shape, given = _image(t, node, (2,)), t.shape(node), node.attributes
    mode = given.get("mode", "nearest")
    rule_ = given.get("coordinate_transformation_mode", "half_pixel" if node.kind == "Resize" else "asymmetric")
    if shape[:2] != x.shape[:2]:
        raise node.refuse("it resizes channels")
    pairs = list(zip(x.shape[2:], shape[2:], strict=True))
    if mode == "nearest":
        floor = rule_ == "asymmetric" and given.get("nearest_mode", "floor") == "floor"
        grows = all(after % before == 0 for before, after in pairs)
        if not floor and not (grows and rule_ in ("half_pixel", "pytorch_half_pixel", "asymmetric")):
            raise node.refuse(f"nearest by {rule_!r}; ncnn rounds down")
        if not floor and rule_ == "asymmetric" and given.get("nearest_mode", "round_prefer_floor") != "floor":
            raise node.refuse(f"nearest_mode {given.get('nearest_mode', 'round_prefer_floor')!r}; ncnn rounds down")
        kind, corners = 1, 0
    elif all(before == 1 for before, _ in pairs):
        kind, corners = 1, 0  # whatever is asked for, one number is repeated
    else:
        if mode != "linear" or rule_ not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
            raise node.refuse(f"{mode} by {rule_!r}; ncnn has bilinear by half_pixel or align_corners")
        if any(before == 1 or after == 1 for before, after in pairs):
            raise node.refuse("it interpolates along an axis of one, over whose end ncnn reads")
        kind, corners = 2, int(rule_ == "align_corners")
    t.give(node, t.layer(node, "Interp", [x], shape, {0: kind, 3: shape[2], 4: shape[3], 6: corners}))


@rule("BatchNormalization")
def batch_norm(t: Translation, node: Node) -> None:
    """With the statistics of training."""
    x = t.value(node, 0)
    if x.batch != 0:
        raise node.refuse("the batch is not its first axis")
    slope, bias, mean, variance = (t.weight(node, place, x.mat[:1]) for place in (1, 2, 3, 4))
    parameters: dict[int, Parameter] = {0: x.mat[0], 1: float(node.attributes.get("epsilon", 1e-5))}
    weights = [Weight(values) for values in (slope, mean, variance, bias)]
    t.give(node, t.layer(node, "BatchNorm", [x], x.shape, parameters, weights))


@rule("InstanceNormalization")
def instance_norm(t: Translation, node: Node) -> None:
    """Over each channel of each sample."""
    x = _image(t, node, (2,))
    parameters: dict[int, Parameter] = {0: x.mat[0], 1: float(node.attributes.get("epsilon", 1e-5)), 2: 1}
    weights = [Weight(t.weight(node, place, x.mat[:1])) for place in (1, 2)]
    t.give(node, t.layer(node, "InstanceNorm", [x], x.shape, parameters, weights))


@rule("ChannelShuffle")
def channel_shuffle(t: Translation, node: Node) -> None:
    """What `ncnn_graph` makes of Reshape, Transpose and Reshape; ONNX has no operator for it."""
    x = _image(t, node, (2,))
    t.give(node, t.layer(node, "ShuffleChannel", [x], x.shape, {0: node.attributes["group"]}))


@rule("LRN")
def local_response(t: Translation, node: Node) -> None:
    """Across channels."""
    x, given = _image(t, node, (2,)), node.attributes
    if given["size"] % 2 == 0:
        raise node.refuse(f"size {given['size']}; ncnn has odd ones")
    parameters: dict[int, Parameter] = {0: 0, 1: int(given["size"]), 2: float(given.get("alpha", 1e-4))}
    parameters |= {3: float(given.get("beta", 0.75)), 4: float(given.get("bias", 1.0))}
    t.give(node, t.layer(node, "LRN", [x], x.shape, parameters))
