"""INT8 in ncnn: what is written, that it is what the ONNX file says, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from convert.lower import lower
from edge_kit.core.errors import BadData
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.runtimes.graphs import Build

pytest.importorskip("ncnn")

from runtimes.ncnn import NcnnRuntime  # noqa: E402  # after the engine is known to be there

Fill = Callable[[Build], None]
STEP = 1 / 32  # of activations; a power of two, so that what lies on the grid lies there in float32, too


def pair(b: Build, x: str, step: float = STEP, zero: object = None) -> str:
    """Quantize and dequantize around zero."""
    grid = (b.const(step), b.const(0 if zero is None else zero, np.int8 if zero is None else np.uint8))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *grid), *grid)


def stored(b: Build, *shape: int, axis: int = 0) -> str:
    """An INT8 weight with a scale a channel."""
    scale = b.const(b.rng.uniform(0.5, 1.5, shape[axis]) / (100 * np.sqrt(np.prod(shape))))
    values, zeros = b.rng.integers(-127, 128, shape), np.zeros(shape[axis])
    return b.op("DequantizeLinear", b.const(values, np.int8), scale, b.const(zeros, np.int8), axis=axis)


def convert(fill: Fill, folder: Path) -> Path:
    build = Build()
    fill(build)
    NcnnRuntime().convert(build.save(folder / "graph.onnx"), folder)
    return folder / "model.param"


def both(made: Path, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What ncnn and ONNX Runtime make of it."""
    graph = made.with_name("graph.onnx")
    return NcnnRuntime().load(made).run({"x": x})["y"], get_runtime("onnx").load(graph).run({"x": x})["y"]


def input_shape(made: Path) -> list[int]:
    """Of a batch of two."""
    axes = onnx.load(made.with_name("graph.onnx")).graph.input[0].type.tensor_type.shape.dim
    return [2, *(axis.dim_value for axis in axes[1:])]


def kinds(made: Path) -> list[str]:
    return [line.split()[0] for line in made.read_text().splitlines()[2:]]


def chain(b: Build) -> None:
    """Convolution, Relu, depthwise convolution; the second rounds what the first gives."""
    x = pair(b, b.input("x", "N", 2, 5, 5))
    y = b.op("Relu", b.op("Conv", x, stored(b, 3, 2, 1, 1), b.weight(3)))
    b.output(b.op("Conv", pair(b, y), stored(b, 3, 1, 3, 3), b.weight(3), group=3))


def test_layers_and_weights_are_written_as_ncnn_reads_them(tmp_path: Path) -> None:
    made = convert(chain, tmp_path)
    assert made.read_text().splitlines()[2:] == [
        "Input x 0 1 in0 0=5 1=5 2=2",
        # 8=101: INT8 weights, and what it gives is INT8; 9=1: the Relu before that
        "Convolution Conv.3 1 1 in0 b2 0=3 1=1 2=1 3=1 4=0 5=1 6=6 8=101 9=1 11=1 12=1 13=1 14=0 15=0 16=0",
        "ConvolutionDepthWise Conv.8 1 1 b2 b3 0=3 1=3 2=1 3=1 4=0 5=1 6=27 7=3 8=1 11=3 12=1 13=1 14=0 15=0 16=0",
        "Noop y 1 1 b3 out0",
    ]
    held = {one.name: numpy_helper.to_array(one) for one in onnx.load(made.with_name("graph.onnx")).graph.initializer}
    nodes = {node.output[0]: node for node in onnx.load(made.with_name("graph.onnx")).graph.node}
    blocks = []
    for node in (node for node in nodes.values() if node.op_type == "Conv"):
        weight, scale = (held[name] for name in nodes[node.input[1]].input[:2])
        padding = bytes(-weight.size % 4)
        blocks += [b"\x38\x4b\x0d\x00", weight.tobytes(), padding, held[node.input[2]].tobytes()]
        blocks += [(1 / scale).tobytes(), np.float32(32).tobytes()]
        blocks += [np.float32(32).tobytes()] if node.output[0] == "t3_0" else []  # the scale that it gives INT8 by
    assert made.with_suffix(".bin").read_bytes() == b"".join(blocks)


def wide(b: Build) -> None:
    b.output(b.op("Conv", pair(b, b.input("x", "N", 32, 9, 9)), stored(b, 24, 32, 3, 3), b.weight(24), pads=[1] * 4))


def strided(b: Build) -> None:
    x = pair(b, b.input("x", "N", 3, 9, 9))
    b.output(b.op("Clip", b.op("Conv", x, stored(b, 8, 3, 3, 3), strides=[2, 2]), b.const(-0.1), b.const(0.2)))


def depthwise(b: Build) -> None:
    b.output(b.op("Conv", pair(b, b.input("x", "N", 16, 9, 9)), stored(b, 16, 1, 3, 3), group=16, pads=[1] * 4))


def dense(b: Build) -> None:
    x = pair(b, b.op("Flatten", b.input("x", "N", 4, 3, 3)))
    b.output(b.op("Gemm", x, stored(b, 36, 5, axis=1), b.weight(5)))


def dense_turned(b: Build) -> None:
    x = pair(b, b.op("Flatten", b.input("x", "N", 4, 3, 3)))
    b.output(b.op("Gemm", x, stored(b, 5, 36), b.weight(5), transB=1))


def product(b: Build) -> None:
    b.output(b.op("MatMul", pair(b, b.input("x", "N", 4, 3, 8)), stored(b, 8, 6, axis=1)))


def of_float_weights(b: Build) -> None:
    """The weight is quantized in the graph, with one scale for all of it."""
    x = pair(b, b.input("x", "N", 4, 6, 6))
    b.output(b.op("Conv", x, pair(b, b.weight(6, 4, 3, 3), 1 / 128), b.weight(6)))


INT8 = [wide, strided, depthwise, dense, dense_turned, product, of_float_weights]


@pytest.mark.parametrize("fill", INT8, ids=lambda fill: fill.__name__)
def test_a_kernel_computes_what_the_file_says(fill: Fill, tmp_path: Path) -> None:
    made = convert(fill, tmp_path)
    assert " 8=1" in made.read_text()
    shape = input_shape(made)
    # Off the grid, so that rounding counts, but not halfway between two steps, where engines round to either.
    rng = np.random.default_rng(0)
    codes = rng.integers(-140, 141, shape)
    x = (np.maximum(codes, -127) * STEP + rng.uniform(-0.4, 0.4, shape) * STEP * (codes > -127)).astype(np.float32)
    got, want = both(made, x)
    # Integers are exact, and scales multiplied in another order; on x86 a depthwise kernel's by rcpps, 1.5 * 2^-12 off.
    assert np.abs(got - want).max() <= (4e-4 if fill is depthwise else 1e-6) * np.abs(want).max()


def grouped(b: Build) -> None:
    b.output(b.op("Conv", pair(b, b.input("x", "N", 8, 7, 7)), stored(b, 12, 2, 3, 3), group=4))


def over_time(b: Build) -> None:
    b.output(b.op("Conv", pair(b, b.input("x", "N", 8, 7)), stored(b, 12, 8, 3)))


def summed(b: Build) -> None:
    x = b.input("x", "N", 8, 7, 7)
    y = b.op("Add", pair(b, x), pair(b, b.op("Relu", x), 1 / 50))
    b.output(pair(b, b.op("GlobalAveragePool", pair(b, y)), 1 / 77))


def joined(b: Build) -> None:
    x = pair(b, b.input("x", "N", 8, 6, 6))
    y = b.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    b.output(pair(b, b.op("Concat", x, y, axis=1), 0.0413))


@pytest.mark.parametrize("fill", [grouped, over_time, summed, joined], ids=lambda fill: fill.__name__)
def test_where_there_is_no_kernel_float_works_on_rounded_values(fill: Fill, tmp_path: Path) -> None:
    made = convert(fill, tmp_path)
    assert " 8=" not in made.read_text()
    shape = input_shape(made)
    x = np.random.default_rng(0).uniform(-4.5, 4.5, shape).astype(np.float32)
    got, want = both(made, x)
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def test_what_leaves_the_graph_or_is_summed_stays_float(tmp_path: Path) -> None:
    def fill(b: Build) -> None:
        x = pair(b, b.input("x", "N", 4, 5, 5))
        y = b.op("Conv", x, stored(b, 4, 4, 1, 1))
        z = b.op("Conv", pair(b, y), stored(b, 4, 4, 1, 1))
        b.output(b.op("Add", y, z))

    made = convert(fill, tmp_path)
    assert "8=101" not in made.read_text()
    assert kinds(made) == ["Input", "Convolution", "Split", "Convolution", "BinaryOp", "Noop"]


def test_sums_over_many_channels_do_not_overflow(tmp_path: Path) -> None:
    """Left alone, ncnn takes a transform here whose sums run over int32, and is wrong by its whole range."""

    def fill(b: Build) -> None:
        values, scale = b.const(b.rng.integers(0, 128, (16, 256, 3, 3)), np.int8), b.const(np.full(16, 1e-5))
        weight = b.op("DequantizeLinear", values, scale, b.const(np.zeros(16), np.int8), axis=0)
        b.output(b.op("Conv", pair(b, b.input("x", "N", 256, 12, 12)), weight, pads=[1, 1, 1, 1]))

    x = np.random.default_rng(0).integers(0, 128, (1, 256, 12, 12)).astype(np.float32) * np.float32(STEP)
    got, want = both(convert(fill, tmp_path), x)
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def unsigned(b: Build) -> None:
    b.output(b.op("Conv", pair(b, b.input("x", "N", 3, 4, 4), zero=7), stored(b, 2, 3, 1, 1)))


def reads_integers(b: Build) -> None:
    grid = (b.const(STEP), b.const(0, np.int8))
    codes = b.op("MaxPool", b.op("QuantizeLinear", b.input("x", "N", 3, 4, 4), *grid), kernel_shape=[2, 2])
    b.output(b.op("DequantizeLinear", codes, *grid))


def half_a_pair(b: Build) -> None:
    codes = b.op("QuantizeLinear", b.input("x", "N", 3), b.const(STEP), b.const(0, np.int8))
    b.output(b.op("DequantizeLinear", codes, b.const(2 * STEP), b.const(0, np.int8)))


REFUSED = {
    unsigned: r"activation 'x' is quantized otherwise \(uint8, zero point 7\); lower the model with --target ncnn$",
    reads_integers: "MaxPool .* is quantized, and ncnn has INT8 kernels for products only$",
    half_a_pair: "DequantizeLinear .* it is not the other half of a QuantizeLinear$",
}


@pytest.mark.parametrize("fill", REFUSED, ids=lambda fill: fill.__name__)
def test_what_ncnn_has_no_form_for_is_one_line(fill: Fill, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=REFUSED[fill]) as caught:
        convert(fill, tmp_path)
    assert "\n" not in str(caught.value)


def inverted_residuals(b: Build) -> None:
    """As MobileNetV2 has them: expand, depthwise, project, add; then pool and classify; and a Concat on the way."""
    x = b.op("Clip", b.conv(b.input("x", "N", 3, 16, 16), 3, 16, strides=[2, 2]), b.const(0.0), b.const(6.0))
    for _ in range(2):
        y = b.op("Clip", b.conv(x, 16, 48, 1), b.const(0.0), b.const(6.0))
        y = b.op("Clip", b.conv(y, 48, 48, 3, group=48, pads=[1, 1, 1, 1]), b.const(0.0), b.const(6.0))
        x = b.op("Add", x, b.conv(y, 48, 16, 1))
    x = b.op("Concat", x, b.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), axis=1)
    x = b.op("Relu", b.conv(x, 32, 64, 1))
    flat = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.output(b.op("Gemm", flat, b.weight(10, 64), b.weight(10), transB=1))


def test_a_lowered_network_is_int8_throughout_and_as_near_to_full_precision(tmp_path: Path) -> None:
    build = Build()
    inverted_residuals(build)
    build.outputs[0].type.tensor_type.shape.SetInParent()  # which ONNX's checker asks for
    graph = build.save(tmp_path / "float.onnx")
    images = np.random.default_rng(1).standard_normal((40, 3, 16, 16)).astype(np.float32)
    report = lower(graph, tmp_path / "graph.onnx", TARGETS["ncnn"], [{"x": images}])
    assert report.quantized == {"Conv": 8, "Gemm": 1}
    NcnnRuntime().convert(tmp_path / "graph.onnx", tmp_path)
    made = tmp_path / "model.param"
    text = made.read_text()
    assert text.count(" 8=101") == 4  # expand and depthwise; what is summed, joined or pooled is float
    assert text.count(" 8=1") == 9
    assert "Clip" not in kinds(made)
    assert "UnaryOp" not in kinds(made)
    got, want = both(made, images)
    exact = get_runtime("onnx").load(graph).run({"x": images})["y"]
    # A value halfway between two steps goes either way, and with it what comes after: ONNX Runtime with and without
    # its own fusions lies as far apart. More than rounding cost in the first place it must not be.
    assert np.linalg.norm(got - want) < np.linalg.norm(want - exact)
    assert np.linalg.norm(got - exact) < 1.2 * np.linalg.norm(want - exact)
    assert made.with_suffix(".bin").stat().st_size < 0.35 * graph.stat().st_size
