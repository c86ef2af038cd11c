"""Scales that a file has computed, written out; and all else as it was."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtimes.scales import settle_scales

CODES = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
HALVES = np.array([0.5, 0.25, 2.0], np.float16)


def model(nodes: list[onnx.NodeProto], outputs: tuple[str, ...], **constants: np.ndarray) -> onnx.ModelProto:
    body = helper.make_graph(
        nodes,
        "scales",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)])


def cast(source: str, made: str, to: int = TensorProto.FLOAT) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [made], to=to)


def dequantize(codes: str, scale: str, made: str) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [codes, scale], [made], axis=0)


def left(settled: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in settled.graph.node]


def numbers(settled: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in settled.graph.initializer}


def test_casts_and_products_become_numbers_and_their_nodes_go() -> None:
    nodes = [cast("h", "s"), helper.make_node("Mul", ["f", "s"], ["t"])]
    nodes += [dequantize("codes", "s", "w"), dequantize("sums", "t", "y")]
    given = model(nodes, ("w", "y"), h=HALVES, f=np.float32(0.1).reshape(()), codes=CODES, sums=CODES.astype(np.int32))
    settle_scales(given)
    assert left(given) == ["DequantizeLinear", "DequantizeLinear"]
    np.testing.assert_array_equal(numbers(given)["s"], HALVES.astype(np.float32))
    np.testing.assert_array_equal(numbers(given)["t"], np.float32(0.1) * HALVES.astype(np.float32))


def test_numbers_that_nobody_reads_any_more_go_with_them() -> None:
    given = model([cast("h", "s"), dequantize("codes", "s", "w")], ("w",), h=HALVES, codes=CODES, spare=HALVES)
    settle_scales(given)
    assert numbers(given).keys() == {"s", "codes", "spare"}


def test_what_is_read_elsewhere_as_well_is_a_number_there_too() -> None:
    nodes = [cast("h", "s"), dequantize("codes", "s", "w"), helper.make_node("Add", ["f", "s"], ["y"])]
    given = model(nodes, ("w", "y"), h=HALVES, f=np.ones(3, np.float32), codes=CODES)
    settle_scales(given)
    assert left(given) == ["DequantizeLinear", "Add"]
    np.testing.assert_array_equal(numbers(given)["s"], HALVES.astype(np.float32))


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Mul", ["f", "f"], ["y"])],
        [cast("h", "y")],
        [cast("codes", "w"), helper.make_node("Mul", ["w", "f"], ["y"])],
        [helper.make_node("Mul", ["x", "f"], ["s"]), dequantize("codes", "s", "y")],
        [helper.make_node("Add", ["f", "f"], ["s"]), dequantize("codes", "s", "y")],
        [cast("h", "s"), helper.make_node("Mul", ["f", "s"], ["t"]), dequantize("codes", "t", "y")],
    ],
    ids=["an output", "a cast output", "weights", "computed from an input", "another operator", "sizes that differ"],
)
def test_all_else_stays(nodes: list[onnx.NodeProto]) -> None:
    given = model(nodes, ("y",), h=HALVES, f=np.ones(4, np.float32), codes=CODES)
    before = left(given)
    settle_scales(given)
    assert left(given) == before
