"""Float rewrites that change no answer: one way to write each thing, so that later passes need one pattern."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper

from convert.graph import Array, Graph, attribute
from convert.passes.place import clip_limits
from convert.passes.recurrent import drop_zero_states, fold_recurrent_weights
from convert.passes.resize import resize_by_constant_scales
from convert.passes.rolled import roll_up_gru

FOLDED = ".folded"  # behind the name of a weight that a batch norm was folded into
CONVOLUTIONS = {"Conv": 0, "ConvTranspose": 1}  # which axis of their weights the output's channels are


def fold_batch_norm(graph: Graph) -> int:
    """Fold every BatchNormalization that follows a Conv or a ConvTranspose into its weight and bias."""
    done = 0
    for norm in [n for n in graph.nodes if n.op_type == "BatchNormalization"]:
        conv = graph.producer(norm.input[0])
        if conv is None or conv.op_type not in CONVOLUTIONS or graph.only_reader(conv.output[0]) is None:
            continue
        if conv.op_type == "ConvTranspose" and attribute(conv, "group", 1) > 1:
            continue
        if not all(graph.is_constant(name) for name in (*conv.input[1:], *norm.input[1:])):
            continue
        scale, shift, mean, variance = (graph.constants[name].astype(np.float64) for name in norm.input[1:5])
        gain = scale / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        weight = graph.constants[conv.input[1]].astype(np.float64)
        bias = graph.constants[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
        spread = [1] * weight.ndim
        spread[CONVOLUTIONS[conv.op_type]] = -1
        _set_conv(
            graph,
            conv,
            weight * gain.reshape(spread),
            (bias - mean) * gain + shift,
            norm.output[0],
        )
        graph.remove(norm)
        done += 1
    return done


def _set_conv(graph: Graph, conv: NodeProto, weight: Array, bias: Array, output: str) -> None:
    name = conv.input[1]
    if f"{name}{FOLDED}" in graph.constants:  # another convolution has the same weights
        name = output
    graph.constants[f"{name}{FOLDED}"] = weight.astype(np.float32)
    graph.constants[f"{name}{FOLDED}_bias"] = bias.astype(np.float32)
    conv.input[:] = [conv.input[0], f"{name}{FOLDED}", f"{name}{FOLDED}_bias"]
    conv.output[0] = output


def flatten_from_shape_arithmetic(graph: Graph) -> int:
    """Replace Reshape(x, Concat(Slice(Shape(x)), [n])) by Flatten.

    paddle2onnx writes `flatten(start_axis=1)` this way, and no INT8 kernel looks through it.
    """
    done = 0
    for reshape in [n for n in graph.nodes if n.op_type == "Reshape"]:
        joined = graph.producer(reshape.input[1])
        if joined is None or joined.op_type != "Concat" or len(joined.input) != 2:
            continue
        sliced = graph.producer(joined.input[0])
        tail = graph.constants.get(joined.input[1])
        if sliced is None or sliced.op_type != "Slice" or tail is None or tail.size != 1:
            continue
        shape = graph.producer(sliced.input[0])
        if shape is None or shape.op_type != "Shape" or shape.input[0] != reshape.input[0]:
            continue
        starts, ends = (graph.constants.get(name) for name in sliced.input[1:3])
        if starts is None or ends is None or list(starts) != [0] or list(ends) != [1]:
            continue
        flatten = helper.make_node("Flatten", [reshape.input[0]], [reshape.output[0]], axis=1)
        graph.insert_before(reshape, flatten)
        graph.remove(reshape)
        done += 1
    graph.remove_dead()
    return done


def gemm_from_matmul_and_add(graph: Graph) -> int:
    """Replace Add(MatMul(x, W), b) by Gemm, where W and x are matrices; a constant factor of x goes into W.

    Paddle's AlexNet and VGG scale what their dropouts would have left in training.
    """
    done = 0
    for matmul in [n for n in graph.nodes if n.op_type == "MatMul"]:
        weight = graph.constants.get(matmul.input[1])
        add = graph.only_reader(matmul.output[0])
        if weight is None or weight.ndim != 2 or add is None or add.op_type != "Add":
            continue
        if not _is_matrix(graph, matmul.input[0]):
            continue
        bias_name = next(name for name in add.input if name != matmul.output[0])
        bias = graph.constants.get(bias_name)
        if bias is None or bias.shape != (weight.shape[1],):
            continue
        _take_factor(graph, matmul)
        gemm = helper.make_node("Gemm", [*matmul.input, bias_name], list(add.output))
        graph.insert_before(add, gemm)
        graph.remove(matmul)
        graph.remove(add)
        done += 1
    graph.remove_dead()
    return done


def _is_matrix(graph: Graph, name: str) -> bool:
    """Whether a tensor surely has two axes; shapes are inferred last, which takes a copy of the graph."""
    source = graph.producer(name)
    if source is not None and source.op_type in ("Flatten", "Gemm"):
        return True
    if source is not None and source.op_type in ("Relu", "Clip"):
        return _is_matrix(graph, source.input[0])
    scaled = _factor(graph, source) if source is not None else None
    return _is_matrix(graph, scaled[0]) if scaled is not None else graph.rank(name) == 2


def _take_factor(graph: Graph, matmul: NodeProto) -> None:
    source = graph.producer(matmul.input[0])
    scaled = _factor(graph, source) if source is not None else None
    if scaled is None:
        return
    before, factor = scaled
    name = f"{matmul.output[0]}.scaled"
    graph.constants[name] = (graph.constants[matmul.input[1]].astype(np.float64) * factor).astype(np.float32)
    matmul.input[:] = [before, name]


def _factor(graph: Graph, node: NodeProto) -> tuple[str, float] | None:
    """What a Mul by one number multiplies, and by what; None for any other node."""
    if node.op_type != "Mul":
        return None
    for scaled, by in (tuple(node.input), tuple(node.input)[::-1]):
        value = graph.constants.get(by)
        if value is not None and value.size == 1 and value.ndim <= 2 and not graph.is_constant(scaled):
            return scaled, float(value.reshape(-1)[0])
    return None


def fold_factor(graph: Graph) -> int:
    """Fold a Mul by one number into the Conv that alone reads it, as networks that take 0 to 255 begin.

    What is multiplied is then rounded as it comes in, which pixels are already.
    """
    done = 0
    for conv in [n for n in graph.nodes if n.op_type == "Conv"]:
        mul = graph.producer(conv.input[0])
        scaled = _factor(graph, mul) if mul is not None else None
        if mul is None or scaled is None or not graph.is_constant(conv.input[1]):
            continue
        if graph.only_reader(mul.output[0]) is None:
            continue
        before, factor = scaled
        name = f"{conv.output[0]}.scaled"
        graph.constants[name] = (graph.constants[conv.input[1]].astype(np.float64) * factor).astype(np.float32)
        conv.input[0], conv.input[1] = before, name
        done += 1
    graph.remove_dead()
    return done


def drop_factor_of_one(graph: Graph) -> int:
    """Drop every Mul by 1, which paddle2onnx writes for the factor within a Swish."""
    done = 0
    for mul in [n for n in graph.nodes if n.op_type == "Mul"]:
        scaled = _factor(graph, mul)
        if scaled is None or scaled[1] != 1 or (mul.output[0] in graph.outputs and graph.producer(scaled[0]) is None):
            continue
        graph.remove(mul)
        graph.replace_uses(mul.output[0], scaled[0])
        done += 1
    return done


def slice_from_split(graph: Graph) -> int:
    """Replace every Split into known sizes by Slices: a node with one output is what quantizers are placed around."""
    done = 0
    for split in [n for n in graph.nodes if n.op_type == "Split" and len(n.input) == 2]:
        sizes = graph.constants.get(split.input[1])
        if sizes is None:
            continue
        ends = np.cumsum(sizes)
        for output, size, end in zip(split.output, sizes, ends, strict=True):
            bounds = {"starts": end - size, "ends": end, "axes": attribute(split, "axis", 0)}
            graph.constants |= {f"{output}.{name}": np.array([value], np.int64) for name, value in bounds.items()}
            names = [f"{output}.{name}" for name in bounds]
            graph.insert_before(split, helper.make_node("Slice", [split.input[0], *names], [output], name=output))
        graph.remove(split)
        done += 1
    return done


def clip_before_concat(graph: Graph) -> int:
    """Move every Relu or Clip behind a Concat of convolutions in front of it: their own grids may end where it clips.

    GoogLeNet's modules are written so. Between two integer tensors ONNX Runtime clips in float, and OpenVINO 2026.4
    crashes.
    """
    done = 0
    for clip in [n for n in graph.nodes if clip_limits(graph, n) is not None]:
        joined = graph.producer(clip.input[0])
        if joined is None or joined.op_type != "Concat" or not _alone(graph, joined):
            continue
        branches = [graph.producer(name) for name in joined.input]
        if not all(one is not None and one.op_type in CONVOLUTIONS and _alone(graph, one) for one in branches):
            continue
        for i, name in enumerate(joined.input):
            node = helper.make_node(clip.op_type, [name, *clip.input[1:]], [f"{name}.clipped"], name=f"{name}.clipped")
            graph.insert_before(joined, node)
            joined.input[i] = node.output[0]
        joined.output[0] = clip.output[0]
        graph.remove(clip)
        done += 1
    return done


def _alone(graph: Graph, node: NodeProto) -> bool:
    """Whether one node reads what another gives, once, and nobody else does."""
    reader = graph.only_reader(node.output[0])
    return reader is not None and list(reader.input).count(node.output[0]) == 1


def pad_without_a_further_axis(graph: Graph) -> int:
    """Replace Squeeze(Pad(Unsqueeze(x))) by Pad, as paddle2onnx pads pictures as if they were volumes."""
    done = 0
    for squeeze in [n for n in graph.nodes if n.op_type == "Squeeze" and len(n.input) == 2]:
        pad = graph.producer(squeeze.input[0])
        unsqueeze = graph.producer(pad.input[0]) if pad is not None and pad.op_type == "Pad" else None
        if pad is None or unsqueeze is None or unsqueeze.op_type != "Unsqueeze" or len(unsqueeze.input) != 2:
            continue
        axes = [graph.constants.get(node.input[1]) for node in (squeeze, unsqueeze)]
        pads = graph.constants.get(pad.input[1])
        if pads is None or any(axis is None or axis.size != 1 or axis.reshape(-1)[0] < 0 for axis in axes):
            continue
        added, taken = (int(axis.reshape(-1)[0]) for axis in axes if axis is not None)
        sides = pads.reshape(2, -1)  # begins, ends
        if added != taken or sides[:, added].any() or graph.only_reader(pad.output[0]) is None:
            continue
        name = f"{squeeze.output[0]}.pads"
        graph.constants[name] = np.delete(sides, added, axis=1).reshape(-1)
        mode = attribute(pad, "mode", b"constant")
        fill = list(pad.input[2:])
        plain = helper.make_node("Pad", [unsqueeze.input[0], name, *fill], [squeeze.output[0]], mode=mode)
        graph.insert_before(squeeze, plain)
        graph.remove(squeeze)
        done += 1
    graph.remove_dead()
    return done


def fold_batch_norm_into_gemm(graph: Graph) -> int:
    """Fold every BatchNormalization that a Gemm alone reads into the Gemm's weight and bias."""
    done = 0
    for norm in [n for n in graph.nodes if n.op_type == "BatchNormalization"]:
        gemm = graph.only_reader(norm.output[0])
        if gemm is None or gemm.op_type != "Gemm":
            continue
        weight = graph.constants.get(gemm.input[1])
        bias = graph.constants.get(gemm.input[2]) if len(gemm.input) > 2 and gemm.input[2] else np.zeros(1, np.float32)
        plain = not attribute(gemm, "transA", 0) and attribute(gemm, "alpha", 1.0) == attribute(gemm, "beta", 1.0) == 1
        if not plain or weight is None or bias is None or not all(graph.is_constant(name) for name in norm.input[1:]):
            continue
        scale, shift, mean, variance = (graph.constants[name].astype(np.float64) for name in norm.input[1:5])
        gain = scale / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        rows = weight.astype(np.float64).T if attribute(gemm, "transB", 0) else weight.astype(np.float64)
        folded = gain[:, None] * rows  # (inputs, outputs)
        _set_gemm(graph, gemm, folded, bias + (shift - mean * gain) @ rows, norm.input[0])
        graph.remove(norm)
        done += 1
    if done:
        graph.remove_dead()
    return done


def _set_gemm(graph: Graph, gemm: NodeProto, rows: Array, bias: Array, reads: str) -> None:
    name = f"{gemm.output[0]}.normed"
    weight = rows.T if attribute(gemm, "transB", 0) else rows
    graph.constants[name] = np.ascontiguousarray(weight, np.float32)
    graph.constants[f"{name}_bias"] = bias.astype(np.float32)
    gemm.input[:] = [reads, name, f"{name}_bias"]


CANONICAL = (
    roll_up_gru,
    fold_recurrent_weights,
    drop_zero_states,
    fold_batch_norm,
    fold_factor,
    drop_factor_of_one,
    slice_from_split,
    clip_before_concat,
    pad_without_a_further_axis,
    flatten_from_shape_arithmetic,
    gemm_from_matmul_and_add,
    resize_by_constant_scales,
    fold_batch_norm_into_gemm,
)
