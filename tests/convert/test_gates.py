"""Swish and HardSwish behind convolutions, the split and shuffle of channels: in INT8 all the way, exact before it."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import lower
from convert.observe import observe
from convert.passes.canonical import drop_factor_of_one, slice_from_split
from convert.passes.gates import gate_from_hard_swish, sum_from_hard_sigmoid
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


def squeezed_net() -> Graph:
    """A block of MobileNetV3: HardSwish, and HardSigmoid of a squeezed picture as a factor of every channel."""
    nodes = [
        helper.make_node("Conv", ["image", "stem"], ["s0"]),
        helper.make_node("HardSwish", ["s0"], ["s1"]),
        helper.make_node("Conv", ["s1", "w0"], ["c0"]),
        helper.make_node("HardSwish", ["c0"], ["a0"], "active"),
        helper.make_node("GlobalAveragePool", ["a0"], ["mean"]),
        helper.make_node("Conv", ["mean", "w1"], ["c1"]),
        helper.make_node("HardSigmoid", ["c1"], ["gate"], "squeeze", alpha=0.2, beta=0.5),
        helper.make_node("Mul", ["a0", "gate"], ["weighed"]),
        helper.make_node("Conv", ["weighed", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("HardSwish", ["c2"], ["a2"]),
        helper.make_node("GlobalAveragePool", ["a2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3"], ["y"]),
    ]
    constants = {
        "stem": floats(8, 3, 1, 1), "w0": floats(16, 8, 1, 1), "w1": floats(16, 16, 1, 1), "w2": floats(6, 16, 3, 3),
        "w3": floats(6, 5),
    }  # fmt: skip
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 5]}, opset=14)  # HardSwish is from there


@pytest.mark.parametrize(
    ("target", "stem", "taken"),
    [
        ("x86-vnni", {"Conv": 1, "HardSwish": 1}, (2, 3)),
        ("x86-avx2", {"Conv": 1, "HardSwish": 1}, (2, 3)),
        ("arm64", {}, (3, 4)),
    ],
)
def test_hard_swish_and_squeezing_run_in_int8_behind_the_stem(
    target: str, stem: dict[str, int], taken: tuple[int, int], tmp_path: Path
) -> None:
    paths = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    squeezed_net().save(paths[0])
    report = lower(*paths, TARGETS[target], [{"image": IMAGES}])
    assert report.left_float == stem
    assert (report.passes["gate_from_hard_swish"], report.passes["sum_from_hard_sigmoid"]) == taken
    if target != "arm64":
        left = fused(paths[1], tmp_path)
        assert {"QLinearAdd", "QLinearMul", "QLinearConv", "QGemm"} <= set(left)
        assert not {"HardSigmoid", "Add", "Mul", "DequantizeLinear"} & set(left)
        assert left.count("QuantizeLinear") == 1, "of what the stem gives"
    want, got = (get_runtime("onnx").load(path).run({"image": IMAGES})["y"] for path in paths)
    assert np.sqrt(np.mean((got - want) ** 2)) < 0.05 * np.std(want)


@pytest.mark.parametrize("target", ["openvino", "mnn", "ncnn", "tensorrt"])
def test_other_engines_keep_their_own_hard_swish(target: str, tmp_path: Path) -> None:
    paths = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    squeezed_net().save(paths[0])
    report = lower(*paths, TARGETS[target], [{"image": IMAGES}])
    assert report.left_float["HardSwish"] == 3
    assert report.left_float["HardSigmoid"] == 1


def test_a_gate_that_is_to_stay_float_does(tmp_path: Path) -> None:
    paths = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    squeezed_net().save(paths[0])
    report = lower(*paths, TARGETS["x86-vnni"], [{"image": IMAGES}], keep_float=["squeeze", "active.gate"])
    assert report.left_float["HardSigmoid"] == 2
    assert report.passes["sum_from_hard_sigmoid"] == 1


def test_only_the_hard_swish_of_a_convolution_is_taken_apart(tmp_path: Path) -> None:
    graph = squeezed_net()
    graph.nodes[-2].CopyFrom(helper.make_node("HardSwish", ["pooled"], ["swished"]))
    graph.nodes.insert(len(graph.nodes) - 1, helper.make_node("Flatten", ["swished"], ["flat"]))
    before = run(graph, {"image": IMAGES}, tmp_path)["y"]
    assert gate_from_hard_swish(graph) == 3
    assert operators(graph).count("HardSwish") == 1
    np.testing.assert_allclose(run(graph, {"image": IMAGES}, tmp_path)["y"], before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize(
    ("factor", "offset", "taken"), [(0.2, 0.5, 1), (1 / 6, 0.5, 1), (0.3, -0.25, 1), (1.0, 0.0, 0)]
)
def test_a_hard_sigmoid_of_integers_is_a_sum_of_integers(
    kind: type, factor: float, offset: float, taken: int, tmp_path: Path
) -> None:
    low = np.iinfo(kind).min
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("HardSigmoid", ["d"], ["h"], alpha=factor, beta=offset),
        helper.make_node("QuantizeLinear", ["h", "one", "low"], ["g"]),
        helper.make_node("DequantizeLinear", ["g", "one", "low"], ["y"]),
    ]
    constants = {
        "s": np.float32(0.07), "z": kind(low + 101), "one": np.float32(1 / 255), "low": kind(low),
    }  # fmt: skip
    graph = build(nodes, {name: np.asarray(value) for name, value in constants.items()}, {"x": ["N"]}, {"y": ["N"]})
    every = {"x": (np.arange(256, dtype=np.float32) - 101) * np.float32(0.07)}
    before = run(graph, every, tmp_path)["y"]
    assert sum_from_hard_sigmoid(graph) == taken
    assert ("Add" in operators(graph)) == bool(taken)
    after = run(graph, every, tmp_path)["y"]
    assert np.abs(after - before).max() <= 1.001 / 255  # a value halfway between two steps goes either way
    assert (after == before).mean() > 0.97


def test_a_grid_that_reaches_beyond_one_does_not_clip_there(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("HardSigmoid", ["d"], ["h"]),
        helper.make_node("QuantizeLinear", ["h", "s", "z"], ["g"]),
        helper.make_node("DequantizeLinear", ["g", "s", "z"], ["y"]),
    ]
    constants = {"s": np.asarray(np.float32(0.1)), "z": np.asarray(np.uint8(0))}
    assert sum_from_hard_sigmoid(build(nodes, constants, {"x": ["N"]}, {"y": ["N"]})) == 0


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
    known = Quantization(observe(graph, [sample]).ranges)
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
