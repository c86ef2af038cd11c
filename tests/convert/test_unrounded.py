"""Weights that were rounded before lowering are put back."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.passes.canonical import FOLDED
from convert.passes.unrounded import unround_weights, unround_weights_in
from tests.convert.graphs import build

WEIGHT = np.random.default_rng(0).normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
SCALE = (np.abs(WEIGHT).reshape(4, -1).max(axis=1) / 127).astype(np.float32)
ROUNDED = np.rint(WEIGHT / SCALE[:, None, None, None]) * SCALE[:, None, None, None]
GRIDS = {"s": SCALE, "z": np.zeros(4, np.int8)}


def graph_of(weight: np.ndarray, name: str = "w", *, quantized: bool = True) -> Graph:
    nodes = [helper.make_node("Conv", ["x", "read" if quantized else name], ["y"])]
    if quantized:
        pair = [
            helper.make_node("QuantizeLinear", [name, "s", "z"], ["stored"], axis=0),
            helper.make_node("DequantizeLinear", ["stored", "s", "z"], ["read"], axis=0),
        ]
        nodes = pair + nodes
    constants = {name: weight, **(GRIDS if quantized else {})}
    return build(nodes, constants, {"x": ["N", 3, 8, 8]}, {"y": ["N", 4, 6, 6]})


@pytest.mark.parametrize("behind", ["", FOLDED], ids=["as they were", "with a batch norm folded in"])
def test_weights_take_the_values_that_they_had(behind: str, tmp_path: Path) -> None:
    assert np.abs(ROUNDED - WEIGHT).max() > 1e-3, "the test would say nothing"
    graph_of(ROUNDED).save(tmp_path / "fake.onnx")
    graph_of(WEIGHT, f"w{behind}", quantized=False).save(tmp_path / "float.onnx")
    assert unround_weights_in(tmp_path / "fake.onnx", tmp_path / "float.onnx") == 1
    graph = Graph.load(tmp_path / "fake.onnx")
    np.testing.assert_array_equal(graph.constants["w"], WEIGHT)
    np.testing.assert_array_equal(graph.constants["s"], SCALE)


@pytest.mark.parametrize(
    "floats",
    [graph_of(WEIGHT, "other", quantized=False), graph_of(WEIGHT * 1.1, quantized=False)],
    ids=["another name", "other values"],
)
def test_what_is_not_the_same_weight_stays_as_it_is(floats: Graph) -> None:
    graph = graph_of(ROUNDED.copy())
    assert unround_weights(graph, floats) == 0
    np.testing.assert_array_equal(graph.constants["w"], ROUNDED)
