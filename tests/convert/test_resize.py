"""Resizes by known numbers, before and after."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.passes.resize import _scale, resize_by_constant_scales
from tests.convert.graphs import build, operators, run

CORNERS = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}


def exported(height: int, width: int, sizes: tuple[int, int], **how: str) -> Graph:
    """As paddle2onnx writes one: batch and channels are taken from the shape of the input."""
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "two", "zero"], ["start"]),
        helper.make_node("Concat", ["start", "sizes"], ["all"], axis=0),
        helper.make_node("Resize", ["image", "", "", "all"], ["y"], **how),
    ]
    constants = {"zero": np.array([0]), "two": np.array([2]), "sizes": np.array(sizes)}
    return build(nodes, constants, {"image": ["N", 3, height, width]}, {"y": ["N", 3, *sizes]})


def pictures(height: int, width: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(1).normal(0, 1, (2, 3, height, width)).astype(np.float32)}


@pytest.mark.parametrize("size", [(4, 8, 9, 21), (10, 7, 32, 5), (1, 1, 4, 8), (22, 45, 45, 90), (3, 3, 7, 7)])
def test_sizes_become_scales_and_answers_stay(size: tuple[int, int, int, int], tmp_path: Path) -> None:
    graph = exported(*size[:2], size[2:], **CORNERS)
    before = run(graph, pictures(*size[:2]), tmp_path)["y"]
    assert resize_by_constant_scales(graph) == 1
    assert operators(graph) == ["Resize"]
    after = run(graph, pictures(*size[:2]), tmp_path)["y"]
    assert after.shape == before.shape == (2, 3, *size[2:])
    assert np.abs(after - before).max() < 1e-5


def test_every_size_up_to_300_is_met_although_engines_round_down() -> None:
    for old in range(1, 60):
        for new in range(1, 300):
            assert int(np.float32(old) * _scale(old, new)) == new


def test_the_nearest_is_left_alone_where_a_scale_is_not_exact_and_another_pixel_could_be_nearest() -> None:
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    assert resize_by_constant_scales(exported(4, 4, (8, 12), **nearest)) == 1
    assert resize_by_constant_scales(exported(10, 10, (33, 33), **nearest)) == 0


def test_a_height_that_varies_stays_as_it_is() -> None:
    nodes = list(exported(4, 4, (8, 8), **CORNERS).nodes)
    constants = {"zero": np.array([0]), "two": np.array([2]), "sizes": np.array((8, 8))}
    graph = build(nodes, constants, {"image": ["N", 3, "H", 4]}, {"y": ["N", 3, 8, 8]})
    assert resize_by_constant_scales(graph) == 0
    assert "Shape" in operators(graph)


def test_onnxruntimes_integer_resize_still_cuts_off_which_is_why_bilinear_ones_stay_float(tmp_path: Path) -> None:
    """Once this fails, `Resize` can join the operators that only move values in convert/passes/place.py."""
    import onnxruntime
    from onnx import TensorProto

    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **CORNERS)
    model = helper.make_model(
        helper.make_graph(
            [node],
            "resize",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 1, 1, 2])],
            [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
            [helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 1, 2.5])],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"x": np.array([[[[0, 3]]]], np.uint8)})
    assert given.ravel().tolist() == [0, 0, 1, 2, 3], "0, 0.75, 1.5, 2.25 and 3"
