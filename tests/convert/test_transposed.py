"""Transposed convolutions as convolutions, before and after; a ReLU behind a node that only moves values."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import lower
from convert.observe import observe
from convert.passes.canonical import fold_batch_norm
from convert.passes.place import absorb_activations, place_quantizers, share_grids
from convert.passes.transposed import convolve_transposed
from convert.quantization import Quantization
from runtimes.targets import TARGETS
from tests.convert.graphs import build, fused, operators, run

RNG = np.random.default_rng(5)
IMAGE = {"image": RNG.normal(0, 1, (2, 3, 5, 7)).astype(np.float32)}


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(0, 0.5, shape).astype(np.float32)


def transposed(kernel: tuple[int, int], active: str = "", **how: object) -> Graph:
    nodes = [helper.make_node("ConvTranspose", ["image", "w", "b"], ["t" if active else "y"], **how)]
    if active:
        nodes.append(helper.make_node(active, ["t"], ["y"]))
    constants = {"w": floats(3, 4 // int(how.get("group", 1)), *kernel), "b": floats(4)}
    return build(nodes, constants, {"image": ["N", 3, 5, 7]}, {"y": ["N", 4, "h", "w"]})


SHAPES = [
    ((4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),  # of Simple Baselines and of most generators
    ((2, 2), {"strides": [2, 2]}),
    ((3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    ((3, 5), {"strides": [2, 2], "pads": [0, 1, 1, 2]}),
    ((5, 5), {"strides": [3, 3], "pads": [1, 1, 0, 0]}),
    ((3, 3), {"strides": [1, 1], "pads": [1, 1, 1, 1]}),
    ((1, 1), {"strides": [2, 2]}),
]


@pytest.mark.parametrize(("kernel", "how"), SHAPES, ids=str)
@pytest.mark.parametrize("active", ["", "Relu"])
def test_the_answer_stays(kernel: tuple[int, int], how: dict[str, object], active: str, tmp_path: Path) -> None:
    graph = transposed(kernel, active, **how)
    before = run(graph, IMAGE, tmp_path)["y"]
    assert convolve_transposed(graph) == 1
    assert operators(graph)[: 2 if active else 1] == (["Conv", "Relu"] if active else ["Conv"])
    assert "ConvTranspose" not in operators(graph)
    after = run(graph, IMAGE, tmp_path)["y"]
    assert after.shape == before.shape
    assert np.abs(after - before).max() < 1e-5


def test_a_kernel_twice_the_stride_costs_no_more_than_the_border() -> None:
    graph = transposed((4, 4), strides=[2, 2], pads=[1, 1, 1, 1])
    convolve_transposed(graph)
    assert [graph.constants[name].shape for name in graph.nodes[0].input[1:]] == [(16, 3, 2, 2), (16,)]
    assert operators(graph) == ["Conv", "DepthToSpace", "Slice"]


@pytest.mark.parametrize(
    "how",
    [
        {"strides": [2, 1]},
        {"strides": [2, 2], "dilations": [2, 2]},
        {"strides": [2, 2], "output_shape": [10, 14]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "output_padding": [1, 1]},  # nothing reads what lies beyond all windows
    ],
    ids=str,
)
def test_what_it_does_not_know_is_left_alone(how: dict[str, object]) -> None:
    graph = transposed((4, 4), **how)
    assert convolve_transposed(graph) == 0
    assert operators(graph) == ["ConvTranspose"]


def test_batch_norm_is_folded_into_a_transposed_convolution(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["image", "w"], ["t"], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["t", "s", "b", "m", "v"], ["y"]),
    ]
    norm = {"s": floats(4), "b": floats(4) + 1, "m": floats(4) - 1, "v": floats(4) ** 2 + 0.1}
    graph = build(nodes, {"w": floats(3, 4, 2, 2), **norm}, {"image": ["N", 3, 5, 7]}, {"y": ["N", 4, 10, 14]})
    before = run(graph, IMAGE, tmp_path)["y"]
    assert fold_batch_norm(graph) == 1
    assert operators(graph) == ["ConvTranspose"]
    assert np.abs(run(graph, IMAGE, tmp_path)["y"] - before).max() < 1e-5


def test_a_head_of_transposed_convolutions_runs_in_int8_throughout(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConvTranspose", ["image", "w0", "b0"], ["t0"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["t0"], ["a0"]),
        helper.make_node("ConvTranspose", ["a0", "w1", "b1"], ["t1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["t1"], ["a1"]),
        helper.make_node("Conv", ["a1", "w2", "b2"], ["y"]),
    ]
    constants = {"w0": floats(3, 8, 4, 4), "b0": floats(8), "w1": floats(8, 8, 4, 4), "b1": floats(8)}
    constants |= {"w2": floats(4, 8, 1, 1), "b2": floats(4)}
    graph = build(nodes, constants, {"image": ["N", 3, 5, 7]}, {"y": ["N", 4, 20, 28]})
    before = run(graph, IMAGE, tmp_path)["y"]
    graph.save(tmp_path / "float.onnx")
    report = lower(tmp_path / "float.onnx", tmp_path / "int8.onnx", TARGETS["x86-vnni"], [IMAGE])
    assert report.quantized == {"Conv": 3, "DepthToSpace": 2, "Slice": 2}
    assert report.left_float == {}
    assert {"DepthToSpace", "Slice"} <= set(fused(tmp_path / "int8.onnx", tmp_path))
    assert fused(tmp_path / "int8.onnx", tmp_path).count("QLinearConv") == 2, "the last one gives floats"
    after = run(Graph.load(tmp_path / "int8.onnx"), IMAGE, tmp_path)["y"]
    assert np.sqrt(((after - before) ** 2).mean() / (before**2).mean()) < 0.05
    scales = [one for name, one in Graph.load(tmp_path / "int8.onnx").constants.items() if name.endswith("w.scale")]
    assert sorted(one.shape for one in scales) == [(4,), (32,), (32,)], "one scale a channel, and a phase"


def test_other_engines_keep_transposed_convolutions_for_which_they_have_kernels(tmp_path: Path) -> None:
    transposed((4, 4), "Relu", strides=[2, 2], pads=[1, 1, 1, 1]).save(tmp_path / "float.onnx")
    report = lower(tmp_path / "float.onnx", tmp_path / "int8.onnx", TARGETS["openvino"], [IMAGE])
    assert report.passes["convolve_transposed"] == 0
    assert report.left_float["ConvTranspose"] == 1


def test_a_relu_behind_a_pool_is_not_lost_where_the_pool_keeps_the_grid_of_what_may_be_negative(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2]),
        helper.make_node("Relu", ["p"], ["r"]),
        helper.make_node("Conv", ["r", "v", "b"], ["y"]),
    ]
    constants = {"w": floats(4, 3, 1, 1), "b": np.full(4, -0.7, np.float32), "v": floats(4, 4, 1, 1)}
    graph = build(nodes, constants, {"image": ["N", 3, 5, 7]}, {"y": ["N", 4, 4, 6]})
    before = run(graph, IMAGE, tmp_path)["y"]
    known = Quantization(observe(graph, [IMAGE]).ranges)
    absorb_activations(graph, known, TARGETS["x86-vnni"])
    share_grids(graph, known)
    place_quantizers(graph, known, TARGETS["x86-vnni"])
    after = run(graph, IMAGE, tmp_path)["y"]
    assert np.abs(after - before).max() < 0.05 * np.abs(before).max()
