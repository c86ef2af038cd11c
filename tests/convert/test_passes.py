"""Each pass, before and after."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.observe import observe
from convert.pairs import in_kernel_order, pair_load
from convert.passes.canonical import (
    flatten_from_shape_arithmetic,
    fold_batch_norm,
    fold_batch_norm_into_gemm,
    fold_factor,
    gemm_from_matmul_and_add,
    pad_without_a_further_axis,
)
from convert.passes.keep_float import keep_drowned_sums_float, keep_islands_float
from convert.passes.lift import lift_quantization
from convert.passes.place import (
    absorb_activations,
    place_quantizers,
    share_grids,
)
from convert.quantization import Quantization, Range
from edge_kit.core.errors import BadData
from runtimes.targets import TARGETS
from tests.convert.graphs import build, fused, operators, run

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(0, 1, (2, 3, 8, 8)).astype(np.float32)


def floats(*shape: int) -> np.ndarray:
    """The same numbers for the same shape."""
    return np.random.default_rng(shape).normal(0, 0.5, shape).astype(np.float32)


def residual_net() -> Graph:
    """Conv-Clip, depthwise Conv-Relu, Conv added to the first, pooled, flattened, Gemm."""
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c0", "zero", "six"], ["a0"]),
        helper.make_node("Conv", ["a0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", ["c1"], ["a1"]),
        helper.make_node("Conv", ["a1", "w2", "b2"], ["c2"]),
        helper.make_node("Add", ["a0", "c2"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"]),
    ]
    constants = {
        "w0": floats(8, 3, 3, 3), "b0": floats(8), "w1": floats(8, 1, 3, 3), "b1": floats(8),
        "w2": floats(8, 8, 1, 1), "b2": floats(8), "w3": floats(8, 5), "b3": floats(5),
        "zero": np.array(0, np.float32), "six": np.array(6, np.float32),
    }  # fmt: skip
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"logits": ["N", 5]})


def lowered(graph: Graph, target: str, images: np.ndarray = IMAGE) -> Graph:
    known = Quantization(observe(graph, [{"image": images}]).ranges)
    absorb_activations(graph, known, TARGETS[target])
    share_grids(graph, known)
    place_quantizers(graph, known, TARGETS[target])
    return graph


def test_batch_norm_is_folded_into_its_convolution(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s", "t", "m", "v"], ["y"], epsilon=1e-3),
    ]
    constants = {
        "w": floats(4, 3, 1, 1),
        "b": floats(4),
        "s": floats(4),
        "t": floats(4),
        "m": floats(4),
        "v": floats(4) ** 2,
    }
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 8, 8]})
    before = run(graph, {"image": IMAGE}, tmp_path)["y"]
    assert fold_batch_norm(graph) == 1
    assert operators(graph) == ["Conv"]
    np.testing.assert_allclose(run(graph, {"image": IMAGE}, tmp_path)["y"], before, atol=1e-5)


def test_batch_norm_stays_where_another_node_reads_the_convolution() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s", "s", "s", "s"], ["n"]),
        helper.make_node("Add", ["c", "n"], ["y"]),
    ]
    graph = build(
        nodes,
        {"w": floats(4, 3, 1, 1), "s": floats(4) ** 2},
        {"image": ["N", 3, 8, 8]},
        {"y": ["N", 4, 8, 8]},
    )
    assert fold_batch_norm(graph) == 0


def test_shape_arithmetic_becomes_flatten_and_matmul_with_bias_becomes_gemm(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Slice", ["shape", "start", "end", "axis"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["image", "target"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    constants = {
        "start": np.array([0]), "end": np.array([1]), "axis": np.array([0]), "rest": np.array([-1]),
        "w": floats(192, 4), "b": floats(4),
    }  # fmt: skip
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4]})
    before = run(graph, {"image": IMAGE}, tmp_path)["y"]
    assert flatten_from_shape_arithmetic(graph) == 1
    assert gemm_from_matmul_and_add(graph) == 1
    assert operators(graph) == ["Flatten", "Gemm"]
    np.testing.assert_allclose(run(graph, {"image": IMAGE}, tmp_path)["y"], before, rtol=1e-4, atol=1e-4)


def test_linear_layers_in_a_row_become_gemms_and_take_a_dropouts_factor(tmp_path: Path) -> None:
    """The head of AlexNet and VGG as Paddle exports it."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Mul", ["flat", "half"], ["dropped"]),
        helper.make_node("MatMul", ["dropped", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Mul", ["half", "r"], ["dropped_again"]),
        helper.make_node("MatMul", ["dropped_again", "u"], ["n"]),
        helper.make_node("Add", ["n", "c"], ["y"]),
    ]
    constants = {
        "half": np.float32([0.5]), "w": floats(192, 6), "b": floats(6), "u": floats(6, 4), "c": floats(4),
    }  # fmt: skip
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4]})
    before = run(graph, {"image": IMAGE}, tmp_path)["y"]
    assert gemm_from_matmul_and_add(graph) == 2
    assert operators(graph) == ["Flatten", "Gemm", "Relu", "Gemm"]
    np.testing.assert_allclose(run(graph, {"image": IMAGE}, tmp_path)["y"], before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("transposed", [0, 1])
def test_batch_norm_in_front_of_a_gemm_goes_into_it(transposed: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("BatchNormalization", ["flat", "scale", "shift", "mean", "variance"], ["normed"]),
        helper.make_node("Gemm", ["normed", "w", "b"], ["y"], transB=transposed),
    ]
    constants = {
        "w": floats(4, 192) if transposed else floats(192, 4), "b": floats(4), "scale": floats(192),
        "shift": floats(192), "mean": floats(192), "variance": np.abs(floats(192)) + np.float32(0.1),
    }  # fmt: skip
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4]})
    before = run(graph, {"image": IMAGE}, tmp_path)["y"]
    assert fold_batch_norm_into_gemm(graph) == 1
    assert operators(graph) == ["Flatten", "Gemm"]
    np.testing.assert_allclose(run(graph, {"image": IMAGE}, tmp_path)["y"], before, rtol=1e-4, atol=1e-4)


def test_batch_norm_that_something_else_reads_too_stays() -> None:
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("BatchNormalization", ["flat", "scale", "shift", "mean", "variance"], ["normed"]),
        helper.make_node("Gemm", ["normed", "w"], ["y"]),
        helper.make_node("Relu", ["normed"], ["z"]),
    ]
    constants = {name: np.abs(floats(192)) for name in ("scale", "shift", "mean", "variance")}
    graph = build(
        nodes, {**constants, "w": floats(192, 4)}, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4], "z": ["N", 192]}
    )
    assert fold_batch_norm_into_gemm(graph) == 0


@pytest.mark.parametrize("target", ["x86-vnni", "openvino"])
def test_sums_that_no_convolution_stands_beside_stay_float(target: str, tmp_path: Path) -> None:
    """A gate as a recurrent cell has it, with a ReLU behind its sum, beside a convolution and its own sum."""
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c0", "c0"], ["near"]),
        helper.make_node("Sigmoid", ["near"], ["gate"]),
        helper.make_node("Tanh", ["near"], ["value"]),
        helper.make_node("Add", ["gate", "value"], ["far"]),
        helper.make_node("Relu", ["far"], ["clipped"]),
        helper.make_node("Mul", ["clipped", "gate"], ["y"]),
    ]
    graph = build(nodes, {"w0": floats(4, 3, 3, 3)}, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 8, 8]})
    before = run(graph, {"image": IMAGE}, tmp_path)["y"]
    known = Quantization(observe(graph, [{"image": IMAGE}]).ranges)
    assert keep_islands_float(graph, known) == 4
    assert {"image", "c0", "near"} <= set(known.ranges)
    assert not {"gate", "value", "far", "clipped"} & set(known.ranges)
    absorb_activations(graph, known, TARGETS[target])
    place_quantizers(graph, known, TARGETS[target])
    assert operators(graph).count("Relu") == 1, "no grid clips in its place"
    far = next(node for node in graph.nodes if node.output[0] == "far")
    assert list(far.input) == ["gate", "value"]
    conv = next(node for node in graph.nodes if node.op_type == "Conv")
    assert conv.input[0] == "image.dq"
    assert np.abs(run(graph, {"image": IMAGE}, tmp_path)["y"] - before).max() < 0.1 * np.abs(before).max()


@pytest.mark.parametrize(("mask", "drowned"), [(-1e9, 1), (-4.0, 0)])
def test_a_sum_with_a_mask_stays_float_where_its_grid_would_round_the_scores_away(
    mask: float, drowned: int, tmp_path: Path
) -> None:
    """Scores of a Gemm, the mask of an attention beside them, softmax and a second Gemm."""
    nodes = [
        helper.make_node("Gemm", ["seen", "w0", "b0"], ["scores"]),
        helper.make_node("Mul", ["far", "mask"], ["hidden"]),
        helper.make_node("Add", ["scores", "hidden"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["shares"], axis=1),
        helper.make_node("Gemm", ["shares", "w1", "b1"], ["y"]),
    ]
    constants = {"w0": floats(6, 5), "b0": floats(5), "w1": floats(5, 3), "b1": floats(3)}
    graph = build(
        nodes,
        {**constants, "mask": np.array(mask, np.float32)},
        {"seen": ["N", 6], "far": ["N", 5]},
        {"y": ["N", 3]},
    )
    given = {"seen": floats(16, 6), "far": (np.arange(5) >= np.arange(16)[:, None] % 4 + 1).astype(np.float32)}
    before = run(graph, given, tmp_path)["y"]
    known = Quantization(observe(graph, [given]).ranges)
    assert keep_drowned_sums_float(graph, known) == drowned
    place_quantizers(graph, known, TARGETS["x86-vnni"])
    add = next(node for node in graph.nodes if node.op_type == "Add")
    assert ("hidden" in add.input) == bool(drowned), "the mask itself needs no grid either"
    assert np.abs(run(graph, given, tmp_path)["y"] - before).max() < 0.05 * np.abs(before).max()


def test_a_clip_behind_what_stays_float_stays(tmp_path: Path) -> None:
    """An Add of a constant has no INT8 kernel: without a grid behind it, nothing else would clip."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Mul", ["r", "two"], ["y"]),
    ]
    constants = {"w": floats(4, 3, 3, 3), "b": floats(4, 1, 1), "two": np.float32([2])}
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 6, 6]})
    before = run(graph, {"image": IMAGE}, tmp_path)["y"]
    after = run(lowered(graph, "x86-vnni"), {"image": IMAGE}, tmp_path)["y"]
    assert after.min() == 0
    assert np.abs(after - before).max() < 0.05 * np.abs(before).max()


def test_lifting_keeps_ranges_and_grids_and_leaves_a_float_graph() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("QuantizeLinear", ["w", "sw", "zw"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "sw", "zw"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["bq", "sb", "zb"], ["bd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "bd"], ["y"]),
    ]
    weight = floats(4, 3, 1, 1)
    scale = (np.abs(weight).reshape(4, -1).max(axis=1) / 127).astype(np.float32)
    constants = {
        "sx": np.array(0.02, np.float32), "zx": np.array(0, np.int8), "w": weight, "sw": scale,
        "zw": np.zeros(4, np.int8), "bq": np.array([5, -7, 0, 1], np.int32), "sb": (0.02 * scale).astype(np.float32),
        "zb": np.zeros(4, np.int32),
    }  # fmt: skip
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 8, 8]})
    known = lift_quantization(graph)
    assert operators(graph) == ["Conv"]
    assert known.ranges["image"].high == pytest.approx(127 * 0.02)
    assert known.ranges["image"].low == pytest.approx(-127 * 0.02)
    conv = graph.nodes[0]
    np.testing.assert_array_equal(graph.constants[conv.input[1]], weight)
    np.testing.assert_allclose(graph.constants[conv.input[2]], np.array([5, -7, 0, 1]) * 0.02 * scale, rtol=1e-5)
    np.testing.assert_array_equal(known.weight_scales[conv.input[1]], scale)


@pytest.mark.parametrize("stored", [False, True], ids=["float behind a quantizer", "stored as INT8"])
def test_weights_are_placed_on_the_grid_that_their_quantizer_had(stored: bool) -> None:
    """A grid wider than the weights need, as training may leave it."""
    weight, scale = floats(4, 3, 1, 1), np.full(4, 0.03, np.float32)
    integers = np.clip(np.rint(weight / 0.03), -127, 127).astype(np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "sw", "zw"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "sw", "zw"], ["wd"], axis=0),
        helper.make_node("Conv", ["image", "wd"], ["y"]),
    ]
    constants = {"w": weight, "wq": integers, "sw": scale, "zw": np.zeros(4, np.int8)}
    if stored:
        del nodes[0], constants["w"]
    else:
        del constants["wq"]
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 8, 8]})
    known = lift_quantization(graph)
    known.ranges |= observe(graph, [{"image": IMAGE}]).ranges
    place_quantizers(graph, known, TARGETS["x86-vnni"])
    np.testing.assert_array_equal(graph.constants["y.w.q"], integers)
    np.testing.assert_allclose(graph.constants["y.w.scale"], scale, rtol=2**-12)  # as float16 holds it


def test_a_clip_is_absorbed_by_the_range_of_its_output() -> None:
    graph = residual_net()
    known = Quantization(observe(graph, [{"image": IMAGE * 20}]).ranges)
    assert known.ranges["c0"].high > 6
    assert absorb_activations(graph, known, TARGETS["x86-vnni"]) == 2
    assert "Clip" not in operators(graph)
    assert "Relu" not in operators(graph)
    assert known.ranges["a0"] == Range(0, 6)


def test_a_clip_that_does_not_hold_zero_stays() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("Clip", ["c", "low", "high"], ["y"]),
        helper.make_node("Conv", ["y", "v"], ["z"]),
    ]
    constants = {
        "w": floats(4, 3, 1, 1), "v": floats(4, 4, 1, 1),
        "low": np.array(1, np.float32), "high": np.array(2, np.float32),
    }  # fmt: skip
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"z": ["N", 4, 8, 8]})
    known = Quantization(observe(graph, [{"image": IMAGE}]).ranges)
    assert absorb_activations(graph, known, TARGETS["x86-vnni"]) == 0


def test_onnx_runtime_runs_the_lowered_graph_without_a_float_island(tmp_path: Path) -> None:
    graph = lowered(residual_net(), "x86-vnni")
    graph.save(tmp_path / "int8.onnx")
    ran = fused(tmp_path / "int8.onnx", tmp_path)
    assert ran.count("QLinearConv") == 3
    assert {"QLinearAdd", "QLinearGlobalAveragePool", "QGemm"} <= set(ran)
    assert not {"Conv", "Add", "Gemm", "DequantizeLinear"} & set(ran)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_lowered_answers_stay_near_the_float_ones(target: str, tmp_path: Path) -> None:
    images = RNG.normal(0, 1, (64, 3, 8, 8)).astype(np.float32)
    wanted = run(residual_net(), {"image": images}, tmp_path)["logits"]
    got = run(lowered(residual_net(), target, images), {"image": images}, tmp_path)["logits"]
    error = np.sqrt(np.mean((wanted - got) ** 2)) / wanted.std()
    assert error < 0.05, error


def pyramid(mode: str = "nearest", ends_joined: bool = False) -> Graph:
    """Conv-LeakyRelu, a smaller one grown to its size, both joined and read by a last Conv."""
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["c0"], ["a0"], alpha=0.1),
        helper.make_node("Conv", ["a0", "w1", "b1"], ["c1"], strides=[2, 2]),
        helper.make_node(
            "Resize", ["c1", "", "scales"], ["up"], mode=mode, coordinate_transformation_mode="asymmetric"
        ),
        helper.make_node("Concat", ["up", "a0"], ["joined"], axis=1),
        helper.make_node("Conv", ["joined", "w2", "b2"], ["y"]),
    ]
    constants = {
        "w0": floats(8, 3, 3, 3), "b0": floats(8), "w1": 4 * floats(8, 8, 1, 1), "b1": floats(8),
        "w2": floats(4, 16, 1, 1), "b2": floats(4), "scales": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    output = ("joined", 16) if ends_joined else ("y", 4)
    return build(
        nodes[:5] if ends_joined else nodes, constants, {"image": ["N", 3, 8, 8]}, {output[0]: ["N", output[1], 8, 8]}
    )


def test_leaky_activations_growing_to_the_nearest_and_joining_stay_in_int8(tmp_path: Path) -> None:
    graph = lowered(pyramid(), "x86-vnni")
    graph.save(tmp_path / "int8.onnx")
    ran = fused(tmp_path / "int8.onnx", tmp_path)
    assert [ran.count(name) for name in ("QLinearLeakyRelu", "QLinearConcat", "Resize", "QLinearConv")] == [1, 1, 1, 2]
    assert not {"LeakyRelu", "Concat"} & set(ran)
    assert ran.count("QuantizeLinear") == 1, "of the input alone"
    grids = {name: graph.constants[f"{name}.scale"] for name in ("c1", "up", "a0", "joined")}
    assert grids["c1"] == grids["up"], "what only moves keeps the grid"
    assert grids["up"] != grids["a0"] and grids["joined"] == max(grids.values()), "what joins has grids of its own"
    wanted, got = (run(one, {"image": IMAGE}, tmp_path)["y"] for one in (pyramid(), graph))
    assert np.sqrt(np.mean((wanted - got) ** 2)) < 0.03 * wanted.std()


def test_what_mixes_values_while_it_grows_stays_float(tmp_path: Path) -> None:
    graph = lowered(pyramid("linear"), "x86-vnni")
    graph.save(tmp_path / "int8.onnx")
    [resize] = [node for node in graph.nodes if node.op_type == "Resize"]
    assert resize.output[0] == "up"
    assert "up.q" in {name for node in graph.nodes for name in node.output}, "and is rounded for those behind"
    wanted, got = (run(one, {"image": IMAGE}, tmp_path)["y"] for one in (pyramid("linear"), graph))
    assert np.sqrt(np.mean((wanted - got) ** 2)) < 0.03 * wanted.std()


def test_answers_that_are_joined_last_are_not_rounded_once_more() -> None:
    graph = lowered(pyramid(ends_joined=True), "x86-vnni")
    assert graph.nodes[-1].op_type == "Concat"
    assert "joined.scale" not in graph.constants


def test_every_tensor_has_one_quantizer_shared_by_its_readers() -> None:
    graph = lowered(residual_net(), "x86-vnni")
    quantized = [node.input[0] for node in graph.nodes if node.op_type == "QuantizeLinear"]
    assert len(quantized) == len(set(quantized))
    readers = [node for node in graph.nodes if "a0.dq" in node.input]
    assert sorted(node.op_type for node in readers) == ["Add", "Conv"]


def test_weights_are_stored_as_int8_and_biases_as_int32() -> None:
    graph = lowered(residual_net(), "x86-vnni")
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm"):
            kinds = [graph.constants[graph.producer(name).input[0]].dtype for name in node.input[1:]]
            assert kinds == [np.int8, np.int32]


def test_a_symmetric_target_keeps_activations_and_rounds_what_products_read() -> None:
    graph = lowered(residual_net(), "ncnn")
    assert operators(graph).count("Clip") == operators(graph).count("Relu") == 1
    quantizers = [node for node in graph.nodes if node.op_type == "QuantizeLinear"]
    assert [node.input[0] for node in quantizers] == ["image", "a0", "a1", "flat"]
    for node in quantizers:
        assert graph.constants[node.input[2]] == np.int8(0)
    summed = next(node for node in graph.nodes if node.op_type == "Add")
    assert list(summed.input) == ["a0", "c2"]
    held = [graph.constants[node.input[2]] for node in graph.nodes if node.op_type in ("Conv", "Gemm")]
    np.testing.assert_array_equal(held[0], floats(8))  # a bias stays as it was


def test_a_symmetric_grid_reaches_the_largest_magnitude_on_both_sides() -> None:
    graph = lowered(residual_net(), "ncnn")
    assert graph.constants["image.scale"] == pytest.approx(np.abs(IMAGE).max() / 127)


def test_ncnn_gets_no_int8_where_it_has_no_kernel() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["grouped"], group=3),
        helper.make_node("Conv", ["grouped", "v"], ["y"]),
    ]
    constants = {"w": floats(6, 1, 3, 3), "v": floats(4, 6, 1, 1)}
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 6, 6]})
    quantized = [node.input[0] for node in lowered(graph, "ncnn").nodes if node.op_type == "QuantizeLinear"]
    assert quantized == ["grouped"]


def test_an_output_that_is_read_on_is_given_in_float(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["y"]),
        helper.make_node("Conv", ["y", "v"], ["z"]),
    ]
    constants = {"w": floats(4, 3, 1, 1), "v": floats(2, 4, 1, 1)}
    shapes = {"y": ["N", 4, 8, 8], "z": ["N", 2, 8, 8]}
    for target in TARGETS:
        graph = lowered(build(nodes, constants, {"image": ["N", 3, 8, 8]}, shapes), target)
        got = run(graph, {"image": IMAGE}, tmp_path)
        assert len(np.unique(got["y"])) > 256, target
        assert len([node for node in graph.nodes if node.op_type == "QuantizeLinear"]) == 2, target


def test_a_node_without_a_range_is_left_float_with_its_weights() -> None:
    graph = residual_net()
    known = Quantization(observe(graph, [{"image": IMAGE}]).ranges)
    del known.ranges["c2"]
    absorb_activations(graph, known, TARGETS["x86-vnni"])
    place_quantizers(graph, known, TARGETS["x86-vnni"])
    left = next(node for node in graph.nodes if node.output[0] == "c2")
    assert graph.constants[left.input[1]].dtype == np.float32


def test_lowering_for_avx2_keeps_every_stored_pair_safe_but_not_depthwise_ones() -> None:
    graph = lowered(residual_net(), "x86-avx2")
    for node in graph.nodes:
        if node.op_type == "Conv":
            stored = graph.constants[graph.producer(node.input[1]).input[0]].astype(int)
            if node.input[1].startswith("a1"):
                assert np.abs(stored).max() == 127
            else:
                assert (pair_load(in_kernel_order(stored)) <= 1).all()


def test_calibration_that_is_not_finite_names_the_activation() -> None:
    bad = IMAGE.copy()
    bad[0, 0, 0, 0] = np.inf
    with pytest.raises(BadData, match="activation 'image' is not finite"):
        observe(residual_net(), [{"image": bad}])


def test_no_calibration_data_is_an_error() -> None:
    with pytest.raises(BadData, match="no calibration data"):
        observe(residual_net(), [])


def test_a_pass_on_a_copy_leaves_the_original_alone() -> None:
    graph = residual_net()
    before = operators(graph)
    lowered(graph.copy(), "x86-vnni")
    assert operators(graph) == before


def test_for_openvino_no_two_weights_of_an_odd_convolution_saturate_and_the_rest_is_as_for_avx2() -> None:
    ours, theirs = (lowered(residual_net(), target) for target in ("x86-avx2", "openvino"))
    assert operators(ours) == operators(theirs)
    stored = theirs.constants["a0.w.q"].reshape(8, -1).astype(int)  # of three input channels
    assert (np.sort(np.maximum(stored, 0), axis=1)[:, -2:].sum(axis=1) <= 128).all()
    assert (np.sort(np.minimum(stored, 0), axis=1)[:, :2].sum(axis=1) >= -128).all()
    for name in ("a1", "c2", "logits"):
        same = f"{name}.w.q"
        np.testing.assert_array_equal(ours.constants[same], theirs.constants[same])


def scaled_net(reads_twice: bool) -> Graph:
    """A picture times 1/255, read by a convolution that pads, and perhaps by another node."""
    nodes = [
        helper.make_node("Mul", ["image", "factor"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["scaled" if reads_twice else "c"], ["r"]),
        helper.make_node("Conv", ["scaled" if reads_twice else "r", "v"], ["out"]),
    ]
    constants = {
        "factor": np.array([1 / 255], np.float32), "w": floats(3, 3, 3, 3), "b": floats(3), "v": floats(2, 3, 1, 1)
    }  # fmt: skip
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"out": ["N", 2, 8, 8]})


def test_a_factor_goes_into_the_convolution_that_reads_it(tmp_path: Path) -> None:
    graph = scaled_net(False)
    before = run(graph, {"image": 255 * IMAGE}, tmp_path)["out"]
    assert fold_factor(graph) == 1
    assert operators(graph) == ["Conv", "Relu", "Conv"]
    np.testing.assert_allclose(run(graph, {"image": 255 * IMAGE}, tmp_path)["out"], before, rtol=1e-5, atol=1e-6)
    graph = scaled_net(True)
    assert fold_factor(graph) == 0, "who else reads it would get other numbers"


@pytest.mark.parametrize("squeezed, done", [(2, 1), (0, 0)])
def test_a_picture_is_padded_as_one_unless_another_axis_is_taken_away(squeezed: int, done: int, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["image", "added"], ["volume"]),
        helper.make_node("Pad", ["volume", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Squeeze", ["padded", "taken"], ["out"]),
    ]
    pads = np.array([0, 0, 0, 2, 1, 0, 0, 0, 1, 3])
    constants = {"added": np.array([2]), "taken": np.array([squeezed]), "pads": pads}
    shape: list[int | str] = [1, 3, 11, 12] if done else [3, 1, 11, 12]
    graph = build(nodes, constants, {"image": [1, 3, 8, 8]}, {"out": shape})
    before = run(graph, {"image": IMAGE[:1]}, tmp_path)["out"]
    assert pad_without_a_further_axis(graph) == done
    assert (operators(graph) == ["Pad"]) is bool(done)
    np.testing.assert_array_equal(run(graph, {"image": IMAGE[:1]}, tmp_path)["out"], before)
