"""Graphs of a few operators each, as networks hold them, for whatever runtime can load them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 13


class Build:
    """An ONNX graph in the making; every weight is random and the same each time."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, *axes: int | str, dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, axes))
        return name

    def const(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def weight(self, *shape: int) -> str:
        return self.const(self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))

    def positive(self, *shape: int) -> str:
        return self.const(self.rng.uniform(0.5, 1.5, shape))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        (name,) = self.ops(kind, 1, *inputs, **attributes)
        return name

    def ops(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        names = [f"t{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, names, f"{kind}.{len(self.nodes)}", **attributes))
        return names

    def conv(self, x: str, width_in: int, width_out: int, kernel: int = 3, group: int = 1, **attributes: Any) -> str:
        weight = self.weight(width_out, width_in // group, kernel, kernel)
        return self.op("Conv", x, weight, self.weight(width_out), group=group, **attributes)

    def output(self, tensor: str, name: str = "y", dtype: int = TensorProto.FLOAT) -> None:
        self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, None))

    def save(self, path: Path, opset: int = OPSET) -> Path:
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
        path.write_bytes(model.SerializeToString())
        return path

    def feeds(self, batch: int) -> dict[str, NDArray[Any]]:
        """Random inputs with `N` of a batch."""
        made = {}
        for value in self.inputs:
            axes = [axis.dim_value or batch for axis in value.type.tensor_type.shape.dim]
            made[value.name] = self.rng.standard_normal(axes).astype(np.float32)
        return made


@dataclass(frozen=True)
class Case:
    """One graph.

    Attributes:
        make: Fills a `Build`.
        batch: Of the inputs; 1 where the graph fixes it.
    """

    name: str
    make: Callable[[Build], None]
    batch: int = 3


CASES: list[Case] = []


def case(make: Callable[[Build], None]) -> Callable[[Build], None]:
    CASES.append(Case(make.__name__.replace("_", " "), make))
    return make


@case
def convolution_with_asymmetric_pads(b: Build) -> None:
    x = b.input("x", "N", 3, 9, 11)
    b.output(b.conv(x, 3, 8, strides=[2, 2], pads=[0, 1, 2, 3]))


@case
def convolution_large_enough_for_winograd(b: Build) -> None:
    b.output(b.conv(b.input("x", "N", 64, 56, 56), 64, 64, pads=[1, 1, 1, 1]))


@case
def convolution_padded_as_tensorflow_does(b: Build) -> None:
    x = b.input("x", "N", 3, 9, 12)
    upper = b.conv(x, 3, 4, strides=[2, 2], auto_pad="SAME_UPPER")
    b.output(b.op("Add", upper, b.conv(x, 3, 4, strides=[2, 2], auto_pad="SAME_LOWER")))


@case
def depthwise_convolution(b: Build) -> None:
    x = b.input("x", "N", 8, 12, 12)
    wide = b.op("Conv", x, b.weight(16, 1, 3, 5), group=8, pads=[1, 2, 1, 2])
    b.output(b.op("Add", b.conv(x, 8, 16, 1), b.op("Relu", wide)))


@case
def grouped_convolution(b: Build) -> None:
    b.output(b.conv(b.input("x", "N", 8, 7, 7), 8, 12, group=4, pads=[1, 1, 1, 1]))


@case
def dilated_convolution(b: Build) -> None:
    b.output(b.conv(b.input("x", "N", 4, 15, 15), 4, 6, dilations=[2, 3], pads=[2, 3, 2, 3]))


@case
def convolution_over_time(b: Build) -> None:
    x = b.input("x", "N", 6, 20)
    y = b.op("Relu", b.op("Conv", x, b.weight(8, 6, 3), b.weight(8), pads=[2, 1], strides=[2]))
    b.output(b.op("Conv", y, b.weight(8, 1, 3), group=8))


@case
def transposed_convolution(b: Build) -> None:
    x = b.input("x", "N", 4, 5, 6)
    y = b.op("ConvTranspose", x, b.weight(4, 6, 3, 3), b.weight(6), strides=[2, 2], pads=[1, 1, 1, 1])
    b.output(
        b.op(
            "ConvTranspose", y, b.weight(6, 2, 4, 4), strides=[2, 2], pads=[1, 0, 2, 1], output_padding=[1, 0], group=3
        )
    )


@case
def average_pool_that_leaves_the_padding_out(b: Build) -> None:
    x = b.input("x", "N", 4, 9, 9)
    b.output(b.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=0))


@case
def average_pool_that_counts_the_padding(b: Build) -> None:
    x = b.input("x", "N", 4, 9, 9)
    b.output(b.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1))


@case
def pools_that_round_up(b: Build) -> None:
    x = b.input("x", "N", 4, 10, 8)
    shape = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    b.output(b.op("MaxPool", x, **shape), "largest")
    b.output(b.op("AveragePool", x, **shape), "mean")


@case
def max_pool_with_asymmetric_pads(b: Build) -> None:
    x = b.input("x", "N", 5, 9, 10)
    b.output(b.op("MaxPool", x, kernel_shape=[3, 2], strides=[2, 1], pads=[0, 1, 1, 0]))


@case
def channel_shuffle(b: Build) -> None:
    x = b.input("x", "N", 12, 5, 6)
    parts = b.op("Transpose", b.op("Reshape", x, b.ints(0, 3, 4, 5, 6)), perm=[0, 2, 1, 3, 4])
    shuffled = b.op("Reshape", parts, b.ints(0, 12, 5, 6))
    left, right = b.ops("Split", 2, shuffled, b.ints(5, 7), axis=1)
    b.output(b.op("Concat", b.op("Relu", right), left, axis=1))


@case
def inverted_residual(b: Build) -> None:
    x = b.input("x", "N", 8, 10, 10)
    zero, six = b.const(0.0), b.const(6.0)
    y = b.op("Clip", b.conv(x, 8, 24, 1), zero, six)
    y = b.op("Clip", b.conv(y, 24, 24, 3, 24, pads=[1, 1, 1, 1]), zero, six)
    b.output(b.op("Add", b.conv(y, 24, 8, 1), x))


@case
def hard_swish_as_exporters_write_it(b: Build) -> None:
    x = b.input("x", "N", 6, 4, 4)
    first = b.op("Mul", x, b.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    gate = b.op("Clip", b.op("Add", first, b.const(3.0)), b.const(0.0), b.const(6.0))
    b.output(b.op("Div", b.op("Mul", first, gate), b.const(6.0)))


@case
def squeeze_and_excitation(b: Build) -> None:
    x = b.input("x", "N", 8, 6, 6)
    gate = b.op("Relu", b.conv(b.op("GlobalAveragePool", x), 8, 4, 1))
    gate = b.op("HardSigmoid", b.conv(gate, 4, 8, 1), alpha=0.2, beta=0.5)
    b.output(b.op("Mul", x, gate))


@case
def activations(b: Build) -> None:
    x = b.input("x", "N", 4, 5, 5)
    y = b.op("PRelu", b.op("LeakyRelu", x, alpha=0.1), b.positive(4, 1, 1))
    y = b.op("Add", b.op("Sigmoid", y), b.op("Tanh", b.op("Elu", x, alpha=0.7)))
    b.output(b.op("Sqrt", b.op("Exp", b.op("Abs", y))))


@case
def sums_and_products_with_constants_on_either_side(b: Build) -> None:
    x = b.input("x", "N", 4, 5, 6)
    y = b.op("Sub", b.const(2.0), b.op("Mul", x, b.positive(1, 4, 1, 1)))
    y = b.op("Div", b.op("Add", y, b.weight(6)), b.positive(5, 1))
    y = b.op("Sub", b.weight(4, 5, 6), y)
    b.output(b.op("Div", b.positive(4, 1, 1), b.op("Max", b.op("Abs", y), b.const(0.5))))


@case
def broadcast_between_tensors(b: Build) -> None:
    x = b.input("x", "N", 4, 4, 6)
    row = b.op("ReduceMean", x, axes=[1, 3], keepdims=0)  # (N, 4)
    b.output(b.op("Add", x, b.op("Reshape", row, b.ints(0, 1, 4, 1))), "by_rows")
    b.output(b.op("Mul", b.op("ReduceMax", x, axes=[1], keepdims=1), x), "by_places")


@case
def batch_norm_without_a_convolution(b: Build) -> None:
    x = b.input("x", "N", 5, 4, 4)
    statistics = [b.positive(5), b.weight(5, 1), b.weight(5, 1), b.positive(5)]
    statistics[1:3] = [b.const(b.rng.standard_normal(5)) for _ in range(2)]
    b.output(b.op("BatchNormalization", b.op("Relu", x), *statistics, epsilon=1e-3))


@case
def instance_norm(b: Build) -> None:
    x = b.input("x", "N", 5, 6, 7)
    b.output(b.op("InstanceNormalization", x, b.positive(5), b.const(b.rng.standard_normal(5)), epsilon=1e-5))


@case
def layer_norm_in_pieces(b: Build) -> None:
    x = b.input("x", "N", 7, 16)
    centred = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1]))
    variance = b.op("ReduceMean", b.op("Pow", centred, b.const(2.0)), axes=[-1])
    normed = b.op("Div", centred, b.op("Sqrt", b.op("Add", variance, b.const(1e-5))))
    b.output(b.op("Add", b.op("Mul", normed, b.positive(16)), b.const(b.rng.standard_normal(16))))


@case
def attention(b: Build) -> None:
    x = b.input("x", "N", 6, 16)
    heads = []
    for _ in range(3):
        y = b.op("Add", b.op("MatMul", x, b.weight(16, 16)), b.const(b.rng.standard_normal(16)))
        heads.append(b.op("Transpose", b.op("Reshape", y, b.ints(0, 6, 2, 8)), perm=[0, 2, 1, 3]))
    scores = b.op("MatMul", heads[0], b.op("Transpose", heads[1], perm=[0, 1, 3, 2]))
    mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), heads[2])
    b.output(b.op("Reshape", b.op("Transpose", mixed, perm=[0, 2, 1, 3]), b.ints(0, 6, 16)))


@case
def classifier_head(b: Build) -> None:
    x = b.input("x", "N", 8, 6, 6)
    pooled = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", b.conv(x, 8, 8))), axis=1)
    y = b.op("Gemm", pooled, b.weight(5, 8), b.weight(5), transB=1, alpha=0.5, beta=2.0)
    b.output(b.op("Softmax", y, axis=1))


@case
def flatten_by_shape_arithmetic(b: Build) -> None:
    x = b.input("x", "N", 4, 3, 2)
    batch = b.op("Slice", b.op("Shape", x), b.ints(0), b.ints(1), b.ints(0))
    y = b.op("Reshape", x, b.op("Concat", batch, b.ints(24), axis=0))
    b.output(b.op("Add", b.op("MatMul", y, b.weight(24, 7)), b.const(b.rng.standard_normal(7))))


@case
def detection_heads(b: Build) -> None:
    x = b.input("x", "N", 6, 8, 8)
    small = b.conv(x, 6, 6, strides=[2, 2], pads=[1, 1, 1, 1])
    rows = []
    for feature, count in ((x, 64), (small, 16)):
        y = b.op("Transpose", b.conv(feature, 6, 8, pads=[1, 1, 1, 1]), perm=[0, 2, 3, 1])
        rows.append(b.op("Reshape", y, b.ints(0, count * 2, 4)))
    boxes = b.op("Concat", *rows, axis=1)
    b.output(b.op("Mul", b.op("Slice", boxes, b.ints(0), b.ints(2), b.ints(2)), b.weight(1, 160, 2)), "centres")
    b.output(b.op("Exp", b.op("Slice", boxes, b.ints(-2), b.ints(1 << 40), b.ints(-1))), "sizes")


@case
def upsampling_in_a_segmenter(b: Build) -> None:
    x = b.input("x", "N", 4, 5, 6)
    scales = b.const([1, 1, 2, 2])
    floor = {"mode": "nearest", "nearest_mode": "floor"}
    near = b.op("Resize", x, "", scales, coordinate_transformation_mode="asymmetric", **floor)
    half = b.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    b.output(b.op("Concat", near, half, axis=1), "joined")
    corners = b.op("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="align_corners")
    b.output(corners, "corners")


@case
def a_pooled_picture_spread_out_again(b: Build) -> None:
    x = b.input("x", "N", 4, 6, 6)
    pooled = b.op("Relu", b.conv(b.op("GlobalAveragePool", x), 4, 4, 1))
    spread = b.op("Resize", pooled, "", b.const([1, 1, 6, 6]), mode="linear")
    b.output(b.op("Concat", x, spread, axis=1))


@case
def pads(b: Build) -> None:
    x = b.input("x", "N", 3, 5, 6)
    y = b.op("Pad", x, b.ints(0, 0, 1, 2, 0, 0, 2, 1), mode="reflect")
    y = b.op("Pad", y, b.ints(0, 0, 1, 0, 0, 0, 0, 1), mode="edge")
    b.output(b.op("Pad", y, b.ints(0, 1, 0, 2, 0, 2, 1, 0), b.const(0.5)))


@case
def slices_and_places(b: Build) -> None:
    x = b.input("x", "N", 8, 6, 5)
    middle = b.op("Slice", x, b.ints(2, 1), b.ints(7, -1), b.ints(1, 3))
    first = b.op("Gather", middle, b.const(0, np.int64), axis=2)  # (N, 5, 3)
    last = b.op("Squeeze", b.op("Slice", x, b.ints(5), b.ints(6), b.ints(2)), b.ints(2))
    b.output(first, "first")
    b.output(b.op("Unsqueeze", last, b.ints(1)), "last")


@case
def local_response_norm(b: Build) -> None:
    b.output(b.op("LRN", b.input("x", "N", 9, 4, 4), size=5, alpha=0.02, beta=0.75, bias=1.0))


@case
def local_response_norm_with_a_bias(b: Build) -> None:
    b.output(b.op("LRN", b.input("x", "N", 9, 4, 4), size=3, alpha=0.02, beta=0.5, bias=1.5))


@case
def two_inputs_and_two_outputs(b: Build) -> None:
    left, right = b.input("left", "N", 3, 8, 8), b.input("right", "N", 5)
    y = b.op("Add", b.conv(left, 3, 5), b.op("Reshape", right, b.ints(0, 5, 1, 1)))
    b.output(b.op("Tanh", right), "second input")
    b.output(b.op("Relu", y), "sum/of:both")


@case
def an_output_that_is_read_on(b: Build) -> None:
    x = b.op("Relu", b.conv(b.input("x", "N", 3, 8, 8), 3, 4))
    b.output(x, "feature")
    b.output(b.op("Relu", b.op("Sub", x, b.const(0.3))), "later")


@case
def a_recurrent_cell_step(b: Build) -> None:
    x, h = b.input("x", "N", 6), b.input("h", "N", 4)
    y = b.op("Gemm", b.op("Concat", x, h, axis=1), b.weight(8, 10), b.weight(8), transB=1)
    update, candidate = b.ops("Split", 2, y, axis=1)
    update = b.op("Sigmoid", update)
    kept = b.op("Mul", b.op("Sub", b.const(1.0), update), h)
    b.output(b.op("Add", kept, b.op("Mul", update, b.op("Tanh", candidate))), "state")


def fixed_batch(b: Build) -> None:
    x = b.input("x", 1, 3, 6, 6)
    b.output(b.op("Reshape", b.conv(x, 3, 4), b.ints(1, -1)))


CASES.append(Case("batch fixed at one", fixed_batch, batch=1))
