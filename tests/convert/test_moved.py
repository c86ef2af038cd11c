"""Concat, Slice and Pad between quantized nodes: one grid all the way, and nothing computed in float."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from convert.explain import float_islands
from convert.graph import Graph
from convert.lower import lower
from convert.quantized import Quantized
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build, fused, operators

CLIPS = np.random.default_rng(0).normal(0, 1, (8, 3, 6, 6)).astype(np.float32)  # two of four frames


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(0, 0.5, shape).astype(np.float32)


def shifted_net(filling: float = 0.0) -> Graph:
    """Conv-Relu, a shift of channels between frames as paddle2onnx writes it, Conv."""
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["c0"]),
        helper.make_node("Relu", ["c0"], ["a0"]),
        helper.make_node("Reshape", ["a0", "by_clip"], ["clips"]),
        helper.make_node("Pad", ["clips", "one", "filling"], ["padded"], name="pad"),
        *(helper.make_node("Slice", ["padded", f"s{i}", f"e{i}", "axes"], [f"part{i}"]) for i in range(3)),
        helper.make_node("Concat", ["part0", "part1", "part2"], ["joined"], axis=2),
        helper.make_node("Reshape", ["joined", "by_frame"], ["frames"]),
        helper.make_node("Conv", ["frames", "w1"], ["y"]),
    ]
    constants = {
        "w0": floats(16, 3, 1, 1), "w1": floats(8, 16, 1, 1), "axes": np.array([1, 2]),
        "by_clip": np.array([-1, 4, 16, 6, 6]), "by_frame": np.array([-1, 16, 6, 6]),
        "one": np.array([0, 1, 0, 0, 0, 0, 1, 0, 0, 0]), "filling": np.array(filling, np.float32),
    }  # fmt: skip
    for i, (start, end) in enumerate([((0, 0), (4, 2)), ((2, 2), (6, 4)), ((1, 4), (5, 16))]):
        constants |= {f"s{i}": np.array(start), f"e{i}": np.array(end)}
    return build(nodes, constants, {"image": ["N", 3, 6, 6]}, {"y": ["N", 8, 6, 6]})


def lowered(graph: Graph, target: str, folder: Path) -> tuple[Path, Path]:
    paths = folder / "float.onnx", folder / "int8.onnx"
    graph.save(paths[0])
    report = lower(paths[0], paths[1], TARGETS[target], [{"image": CLIPS}])
    if not TARGETS[target].symmetric:
        assert report.passes["pad_integers"] == (1 if not graph.constants["filling"].any() else 0)
    return paths


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2", "arm64"])
def test_the_shift_moves_integers_and_answers_stay_near_the_float_ones(target: str, tmp_path: Path) -> None:
    before, after = lowered(shifted_net(), target, tmp_path)
    wanted, got = (get_runtime("onnx").load(path).run({"image": CLIPS})["y"] for path in (before, after))
    assert np.abs(wanted - got).max() < 0.03 * np.abs(wanted).max()


def test_onnx_runtime_runs_it_without_a_float_node_between(tmp_path: Path) -> None:
    _, after = lowered(shifted_net(), "x86-vnni", tmp_path)
    kinds = fused(after, tmp_path)
    assert kinds.count("QuantizeLinear") == 1, kinds
    assert kinds.count("DequantizeLinear") == 2, "the last convolution gives floats: its input, its weight"
    assert "QLinearConcat" in kinds and "QLinearConv" in kinds
    assert "Relu" not in kinds


def test_all_that_is_moved_keeps_one_grid_and_zeros_that_come_in_are_its_zero_point(tmp_path: Path) -> None:
    _, after = lowered(shifted_net(), "arm64", tmp_path)
    graph = Graph.load(after)
    scales = {name: float(graph.constants[f"{name}.scale"]) for name in ("a0", "clips", "part0", "joined", "frames")}
    assert len(set(scales.values())) == 1, scales
    [pad] = [node for node in graph.nodes if node.op_type == "Pad"]
    assert pad.input[0] == "clips.q" and pad.output[0] == "padded.q"
    assert graph.constants[pad.input[2]] == graph.constants["a0.zero"] == -128


def test_the_shift_is_no_float_island_for_explain(tmp_path: Path) -> None:
    _, after = lowered(shifted_net(), "x86-vnni", tmp_path)
    model = onnx.load(str(after))
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"node{i}"
    found = float_islands(Quantized(model), TARGETS["x86-vnni"])
    assert found is not None and found.count == 0, found.nodes


def test_a_pad_that_fills_up_with_something_else_stays_float(tmp_path: Path) -> None:
    before, after = lowered(shifted_net(filling=0.7), "x86-vnni", tmp_path)
    wanted, got = (get_runtime("onnx").load(path).run({"image": CLIPS})["y"] for path in (before, after))
    assert np.abs(wanted - got).max() < 0.03 * np.abs(wanted).max()


def test_moves_between_floats_stay_floats_with_the_activation_behind_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sigmoid", ["image"], ["s"]),
        helper.make_node("Slice", ["s", "from", "to", "axis"], ["part"]),
        helper.make_node("Concat", ["part", "s"], ["joined"], axis=1),
        helper.make_node("Relu", ["joined"], ["y"]),
    ]
    constants = {"from": np.array([0]), "to": np.array([2]), "axis": np.array([1]), "filling": np.zeros(1, np.float32)}
    graph = build(nodes, constants, {"image": ["N", 3, 6, 6]}, {"y": ["N", 5, 6, 6]})
    graph.save(tmp_path / "float.onnx")
    lower(tmp_path / "float.onnx", tmp_path / "int8.onnx", TARGETS["x86-vnni"], [{"image": CLIPS}])
    assert operators(Graph.load(tmp_path / "int8.onnx")) == ["Sigmoid", "Slice", "Concat", "Relu"]
