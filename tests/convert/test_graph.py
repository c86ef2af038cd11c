"""What a graph tells of its tensors, whatever its weights weigh."""

import numpy as np
import onnx
import pytest
from onnx import helper

from convert.graph import Graph
from tests.convert.graphs import build

WIDTH = 64


def perceptron() -> Graph:
    """A picture, flattened by a shape that is a constant, through a large matrix."""
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["hidden"]),
        helper.make_node("Shape", ["hidden"], ["size"]),
        helper.make_node("Reshape", ["hidden", "size"], ["y"]),
    ]
    constants = {"shape": np.array([-1, 192]), "weight": np.zeros((192, WIDTH), np.float32)}
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", WIDTH]})


def test_ranks_shapes_and_types_follow_from_constants_and_inputs() -> None:
    graph = perceptron()
    assert [graph.rank(name) for name in ("image", "flat", "hidden", "weight", "shape")] == [4, 2, 2, 2, 1]
    assert graph.shapes() == {
        "image": (None, 3, 8, 8), "flat": (None, 192), "hidden": (None, WIDTH), "size": (2,), "y": (None, WIDTH),
    }  # fmt: skip
    assert graph.float_tensors() == ["flat", "hidden", "y"]
    assert graph.rank("nothing") is None


def test_weights_are_not_written_out_to_ask_for_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, infer = [], onnx.shape_inference.infer_shapes

    def weighed(model: onnx.ModelProto, **how: bool) -> onnx.ModelProto:
        asked.append(model.ByteSize())
        return infer(model, **how)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", weighed)
    graph = perceptron()
    weights = graph.constants["weight"].nbytes
    graph.rank("hidden"), graph.shapes(), graph.float_tensors()
    assert len(asked) == 3 and max(asked) < weights / 10


def test_a_graph_leaves_the_model_that_it_was_read_from_as_it_is() -> None:
    model = perceptron().to_model()
    before = model.SerializeToString()
    graph = Graph(model)
    graph.constants["weight"] = np.ones((192, WIDTH), np.float32)
    graph.remove(graph.nodes[-1])
    assert model.SerializeToString() == before
    assert [node.op_type for node in graph.to_model().graph.node] == ["Reshape", "MatMul", "Shape"]


def test_a_tensor_that_the_graph_gives_out_or_two_nodes_read_has_no_only_reader() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["once"]),
        helper.make_node("Relu", ["once"], ["twice"]),
        helper.make_node("Add", ["twice", "twice"], ["sum"]),
        helper.make_node("Add", ["twice", "sum"], ["given"]),
        helper.make_node("Relu", ["given"], ["y"]),
    ]
    graph = build(nodes, {}, {"x": ["N"]}, {"given": ["N"], "y": ["N"]})
    found = {name: graph.only_reader(name) for name in ("once", "twice", "sum", "given", "y")}
    assert {name: node and node.output[0] for name, node in found.items()} == {
        "once": "twice", "twice": None, "sum": "given", "given": None, "y": None,
    }  # fmt: skip
