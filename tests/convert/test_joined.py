"""A ReLU behind a Concat of convolutions, as GoogLeNet has it, is done by the convolutions' own grids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import lower
from convert.passes.canonical import clip_before_concat
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build, fused, operators, run

IMAGES = np.random.default_rng(0).normal(0, 1, (4, 3, 8, 8)).astype(np.float32)
MIDDLE = {"Relu": ["joined"], "Clip": ["joined", "zero", "six"]}


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(0, 0.5, shape).astype(np.float32)


def inception(activation: str = "Relu", second: Sequence[str] = ("w1",), outputs: Sequence[str] = ("y",)) -> Graph:
    """Two convolutions of a picture, joined, clipped, and read by a third; `second` may be no convolution."""
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["c0"]),
        helper.make_node("Conv" if second else "MaxPool", ["image", *second], ["c1"], kernel_shape=[1, 1]),
        helper.make_node("Concat", ["c0", "c1"], ["joined"], axis=1),
        helper.make_node(activation, MIDDLE[activation], ["a"]),
        helper.make_node("Conv", ["a", "w2"], ["y"]),
    ]
    wide = 4 + (6 if second else 3)
    constants = {
        "w0": floats(4, 3, 1, 1), "w1": floats(6, 3, 1, 1), "w2": floats(5, wide, 1, 1),
        "zero": np.array(0, np.float32), "six": np.array(0.5, np.float32),
    }  # fmt: skip
    shapes: dict[str, list[int | str]] = {"y": ["N", 5, 8, 8], "joined": ["N", wide, 8, 8], "c0": ["N", 4, 8, 8]}
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {name: shapes[name] for name in outputs})


@pytest.mark.parametrize("activation", MIDDLE)
def test_it_moves_in_front_and_no_answer_changes(activation: str, tmp_path: Path) -> None:
    graph = inception(activation)
    before = run(graph, {"image": IMAGES}, tmp_path)["y"]
    assert clip_before_concat(graph) == 1
    assert operators(graph) == ["Conv", "Conv", activation, activation, "Concat", "Conv"]
    np.testing.assert_array_equal(run(graph, {"image": IMAGES}, tmp_path)["y"], before)
    assert clip_before_concat(graph) == 0, "there is nothing left to move"


@pytest.mark.parametrize("outputs", [("y", "joined"), ("y", "c0")])
def test_what_the_graph_gives_out_is_left_as_it_is(outputs: Sequence[str]) -> None:
    assert clip_before_concat(inception(outputs=outputs)) == 0


def test_a_branch_that_is_no_convolution_could_not_take_it() -> None:
    assert clip_before_concat(inception(second=())) == 0


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_nothing_is_clipped_in_float_between_integers_and_engines_agree(runtime: str, tmp_path: Path) -> None:
    inception().save(tmp_path / "float.onnx")
    lower(tmp_path / "float.onnx", tmp_path / "int8.onnx", TARGETS["x86-vnni"], [{"image": IMAGES}])
    assert "Relu" not in fused(tmp_path / "int8.onnx", tmp_path)
    wanted = get_runtime("onnx").load(tmp_path / "float.onnx").run({"image": IMAGES})["y"]
    found = get_runtime(runtime).load(tmp_path / "int8.onnx").run({"image": IMAGES})["y"]
    assert np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()
