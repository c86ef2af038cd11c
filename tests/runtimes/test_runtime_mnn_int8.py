"""INT8 in MNN: it is what the ONNX file says, by INT8 kernels, and what has no form is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.lower import lower
from edge_kit.core.errors import BadData
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.runtimes.graphs import Build

pytest.importorskip("MNN")

from runtimes.mnn import MnnRuntime  # noqa: E402  # after the engine is known to be there
from runtimes.mnn_int8 import split_quantized  # noqa: E402

Fill = Callable[[Build, str], str]
IMAGES = np.random.default_rng(1).standard_normal((4, 3, 12, 12)).astype(np.float32)


def padded_pool(b: Build, x: str) -> str:
    return b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def pool(b: Build, x: str) -> str:
    return b.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])


def residual(b: Build, x: str) -> str:
    return b.op("Relu", b.op("Add", x, b.conv(x, 16, 16, pads=[1, 1, 1, 1])))


def joined(b: Build, x: str) -> str:
    return b.op("Concat", b.conv(x, 16, 8, 1), b.conv(x, 16, 8, 1), axis=1)


def grouped(b: Build, x: str) -> str:
    return b.op("Relu", b.conv(x, 16, 16, group=4))


def depthwise(b: Build, x: str) -> str:
    return b.op("Clip", b.conv(x, 16, 16, group=16, pads=[1, 1, 1, 1]), b.const(0.0), b.const(6.0))


def gated(b: Build, x: str) -> str:
    return b.op("Mul", x, b.op("Sigmoid", x))


def shuffled(b: Build, x: str) -> str:
    return b.op("Transpose", x, perm=[0, 1, 3, 2])


def weighed(b: Build, x: str) -> str:
    """By constants that are moved first."""
    return b.op("Mul", x, b.op("Unsqueeze", b.positive(16), b.ints(0, 2, 3)))


MIDDLES = [padded_pool, pool, residual, joined, grouped, depthwise, gated, shuffled, weighed]


def lowered(middle: Fill, target: str, folder: Path) -> Path:
    """A convolution, what is asked for, two convolutions, the average, and a dense layer; in INT8."""
    b = Build()
    x = b.op("Relu", b.conv(b.input("x", "N", 3, 12, 12), 3, 16))
    x = b.op("Relu", b.conv(middle(b, x), 16, 16, 1))
    x = b.op("Relu", b.conv(x, 16, 24, 1))
    flat = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.output(b.op("Gemm", flat, b.weight(5, 24), b.weight(5), transB=1))
    b.outputs[0].type.tensor_type.shape.SetInParent()  # which ONNX's checker asks for
    lower(b.save(folder / "float.onnx"), folder / "graph.onnx", TARGETS[target], [{"x": IMAGES}])
    return folder / "graph.onnx"


def answers(graph: Path, folder: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Of MNN, of ONNX Runtime, and of ONNX Runtime in full precision."""
    MnnRuntime().convert(graph, folder)
    got = MnnRuntime().load(folder / "model.mnn").run({"x": IMAGES})["y"]
    want, exact = (get_runtime("onnx").load(path).run({"x": IMAGES})["y"] for path in (graph, folder / "float.onnx"))
    return got, want, exact


@pytest.mark.parametrize("middle", MIDDLES, ids=lambda middle: middle.__name__)
def test_it_computes_what_the_file_says(middle: Fill, tmp_path: Path) -> None:
    got, want, exact = answers(lowered(middle, "mnn", tmp_path), tmp_path)
    # Sums are exact, and a value halfway between two steps goes either way: a step now and then, of 255.
    assert np.linalg.norm(got - want) < 0.8 * np.linalg.norm(want - exact)


@pytest.mark.parametrize("target", ["arm64", "x86-vnni", "tensorrt"])
def test_files_for_others_are_read_too(target: str, tmp_path: Path) -> None:
    got, want, exact = answers(lowered(residual, target, tmp_path), tmp_path)
    assert np.linalg.norm(got - exact) < 1.2 * np.linalg.norm(want - exact)


@pytest.mark.parametrize(("middle", "convolutions"), [(residual, 4), (depthwise, 4), (grouped, 3)])
def test_convolutions_run_in_int8_and_weigh_a_quarter(middle: Fill, convolutions: int, tmp_path: Path) -> None:
    graph = lowered(middle, "mnn", tmp_path)
    MnnRuntime().convert(graph, tmp_path)
    kinds = [row.kind for row in MnnRuntime().profile(tmp_path / "model.mnn", {"x": IMAGES[:1]}, calls=1)]
    assert len([kind for kind in kinds if kind.startswith("Convolution") and "DT_INT8" in kind]) == convolutions


def test_a_convolution_that_leaves_the_graph_is_float_and_still_right(tmp_path: Path) -> None:
    b = Build()
    x = b.op("Relu", b.conv(b.input("x", "N", 3, 12, 12), 3, 8))
    b.output(b.op("Relu", b.conv(x, 8, 4)))
    b.outputs[0].type.tensor_type.shape.SetInParent()
    lower(b.save(tmp_path / "float.onnx"), tmp_path / "graph.onnx", TARGETS["mnn"], [{"x": IMAGES}])
    got, want, exact = answers(tmp_path / "graph.onnx", tmp_path)
    assert got.min() == 0
    assert np.linalg.norm(got - want) < 0.5 * np.linalg.norm(want - exact)


def test_an_engine_that_leaves_a_layer_float_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def split_all_but_one(graph: Path, float_graph: Path, table: Path) -> int:
        count = split_quantized(graph, float_graph, table)
        table.write_text(table.read_text().replace('"output": [{"name": "t', '"output": [{"name": "lost', 1))
        return count

    monkeypatch.setattr("runtimes.mnn.split_quantized", split_all_but_one)
    with pytest.raises(BadData, match=r"^MNN runs 3 of 4 quantized convolutions of '.*graph\.onnx' in INT8$"):
        MnnRuntime().convert(lowered(residual, "mnn", tmp_path), tmp_path)


def of_integers(b: Build) -> None:
    grid = (b.const(0.1), b.const(0, np.int8))
    codes = b.op("MaxPool", b.op("QuantizeLinear", b.input("x", "N", 3, 4, 4), *grid), kernel_shape=[2, 2])
    b.output(b.op("DequantizeLinear", codes, *grid))


def of_channels(b: Build) -> None:
    grid = (b.const(np.full(3, 0.1)), b.const(np.zeros(3), np.int8))
    codes = b.op("QuantizeLinear", b.input("x", "N", 3, 4, 4), *grid, axis=1)
    b.output(b.op("DequantizeLinear", codes, *grid, axis=1))


def of_nothing(b: Build) -> None:
    b.output(b.op("QuantizeLinear", b.input("x", "N", 3)))


REFUSED = {
    of_nothing: r"^MNN: cannot read '.*graph\.onnx': .*QuantizeLinear",
    of_integers: r"^MNN: DequantizeLinear \(node .*\): it reads integers that no QuantizeLinear made",
    of_channels: r"^MNN: QuantizeLinear \(node .*\): a grid of 3 scales in int8; MNN has one, in 8 bits$",
}


@pytest.mark.parametrize("fill", REFUSED, ids=lambda fill: fill.__name__)
def test_what_mnn_has_no_form_for_is_one_line(fill: Callable[[Build], None], tmp_path: Path) -> None:
    build = Build()
    fill(build)
    build.outputs[0].type.tensor_type.shape.SetInParent()
    with pytest.raises(BadData, match=REFUSED[fill]) as caught:
        MnnRuntime().convert(build.save(tmp_path / "graph.onnx"), tmp_path)
    assert "\n" not in str(caught.value)
