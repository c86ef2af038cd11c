"""Swish behind convolutions and the split and shuffle of channels: in INT8 all the way, and exact before that."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import lower
from convert.observe import observe_ranges
from convert.passes.canonical import drop_factor_of_one, slice_from_split
from convert.passes.keep_float import keep_islands_float
from convert.passes.place import place_quantizers
from convert.quantization import Quantization
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build, fused, operators, run

IMAGES = np.random.default_rng(0).normal(0, 1, (4, 3, 8, 8)).astype(np.float32)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(0, 0.5, shape).astype(np.float32)


def swish(name: str, out: str) -> list:
    """As paddle2onnx writes it."""
    return [
        helper.make_node("Mul", [name, "one"], [f"{name}.times_one"]),
        helper.make_node("Sigmoid", [f"{name}.times_one"], [f"{name}.gate"]),
        helper.make_node("Mul", [name, f"{name}.gate"], [out]),
    ]


def shuffled_net() -> Graph:
    """A unit of ShuffleNetV2: half of the channels through a convolution, the halves joined, then mixed."""
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["c0"]),
        *swish("c0", "a0"),
        helper.make_node("Split", ["a0", "halves"], ["left", "right"], axis=1),
        helper.make_node("Conv", ["right", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        *swish("c1", "a1"),
        helper.make_node("Concat", ["left", "a1"], ["joined"], axis=1),
        helper.make_node("Reshape", ["joined", "apart"], ["groups"]),
        helper.make_node("Transpose", ["groups"], ["turned"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["turned", "together"], ["mixed"]),
        helper.make_node("Conv", ["mixed", "w2"], ["c2"]),
        helper.make_node("GlobalAveragePool", ["c2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3"], ["y"]),
    ]
    constants = {
        "w0": floats(16, 3, 1, 1), "w1": floats(8, 8, 3, 3), "w2": floats(6, 16, 1, 1), "w3": floats(6, 5),
        "one": np.float32([1]),
        "halves": np.array([8, 8]), "apart": np.array([-1, 2, 8, 8, 8]), "together": np.array([-1, 16, 8, 8]),
    }  # fmt: skip
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 5]})


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2", "arm64"])
def test_swish_and_shuffle_of_channels_run_in_int8_throughout(target: str, tmp_path: Path) -> None:
    paths = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    shuffled_net().save(paths[0])
    report = lower(*paths, TARGETS[target], [{"image": IMAGES}])
    assert report.left_float == {}
    if target != "arm64":  # ONNX Runtime fuses its signed activations on ARM only
        left = fused(paths[1], tmp_path)
        assert {"QLinearSigmoid", "QLinearMul", "QLinearConv", "QGemm"} <= set(left)
        assert not {"Sigmoid", "Mul", "Conv", "DequantizeLinear"} & set(left)
    want, got = (get_runtime("onnx").load(path).run({"image": IMAGES})["y"] for path in paths)
    assert np.sqrt(np.mean((got - want) ** 2)) < 0.05 * np.std(want)


@pytest.mark.parametrize("target", ["openvino", "mnn", "ncnn", "tensorrt"])
def test_engines_without_such_kernels_get_no_quantizers_for_gates(target: str, tmp_path: Path) -> None:
    paths = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    shuffled_net().save(paths[0])
    report = lower(*paths, TARGETS[target], [{"image": IMAGES}])
    assert report.left_float["Sigmoid"] == report.left_float["Mul"] == 2


def test_gates_of_a_recurrent_cell_stay_float() -> None:
    """A cell that is written out: what its gates let through goes into the next step."""
    nodes = [
        helper.make_node("Gemm", ["seen", "w"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["gate"]),
        helper.make_node("Mul", ["gate", "state"], ["next"]),
        helper.make_node("Gemm", ["next", "u"], ["y"]),
    ]
    constants = {"w": floats(5, 4), "u": floats(4, 3)}
    inputs: dict[str, list[int | str]] = {"seen": ["N", 5], "state": ["N", 4]}
    graph = build(nodes, constants, inputs, {"y": ["N", 3]})
    sample = {"seen": floats(8, 5), "state": floats(8, 4)}
    known = Quantization(observe_ranges(graph, [sample]))
    keep_islands_float(graph, known)
    place_quantizers(graph, known, TARGETS["x86-vnni"])
    multiply = next(node for node in graph.nodes if node.op_type == "Mul")
    assert list(multiply.input) == ["gate", "state"]


def test_a_factor_of_one_is_dropped_and_no_other(tmp_path: Path) -> None:
    for factor, left in ((1.0, ["Relu", "Sigmoid"]), (2.0, ["Relu", "Mul", "Sigmoid"])):
        nodes = [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Mul", ["factor", "a"], ["b"]),
            helper.make_node("Sigmoid", ["b"], ["y"]),
        ]
        graph = build(nodes, {"factor": np.float32([factor])}, {"x": ["N", 3]}, {"y": ["N", 3]})
        before = run(graph, {"x": floats(2, 3)}, tmp_path)["y"]
        assert drop_factor_of_one(graph) == (factor == 1)
        assert operators(graph) == left
        np.testing.assert_array_equal(run(graph, {"x": floats(2, 3)}, tmp_path)["y"], before)


def test_a_factor_of_one_at_the_end_of_a_graph_leaves_the_output_its_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Mul", ["a", "one"], ["y"])]
    graph = build(nodes, {"one": np.float32([1])}, {"x": ["N", 3]}, {"y": ["N", 3]})
    assert drop_factor_of_one(graph) == 1
    assert run(graph, {"x": np.float32([[-1, 0, 2]])}, tmp_path)["y"].tolist() == [[0, 0, 2]]
    alone = build([helper.make_node("Mul", ["x", "one"], ["y"])], {"one": np.float32([1])}, {"x": [2]}, {"y": [2]})
    assert drop_factor_of_one(alone) == 0, "a graph must compute its output"


@pytest.mark.parametrize("axis", [1, -2])
def test_a_split_into_known_sizes_becomes_slices(axis: int, tmp_path: Path) -> None:
    nodes = [helper.make_node("Split", ["x", "sizes"], ["a", "b", "c"], axis=axis)]
    outputs: dict[str, list[int | str]] = {name: ["N", size, 2] for name, size in (("a", 1), ("b", 3), ("c", 2))}
    graph = build(nodes, {"sizes": np.array([1, 3, 2])}, {"x": ["N", 6, 2]}, outputs)
    before = run(graph, {"x": floats(2, 6, 2)}, tmp_path)
    assert slice_from_split(graph) == 1
    assert operators(graph) == ["Slice"] * 3
    for name, value in run(graph, {"x": floats(2, 6, 2)}, tmp_path).items():
        np.testing.assert_array_equal(value, before[name])
