"""Each operator in NumPy equals ONNX Runtime's kernel bit for bit, in forms that our graphs do not hold too."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from convert.integer import OPERATORS, Products
from runtimes.registry import get_runtime
from runtimes.targets import this_machine

RNG = np.random.default_rng(0)


def codes(*shape: int, kind: type = np.uint8) -> np.ndarray:
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max, shape, kind, endpoint=True)


def grid(kind: type = np.uint8) -> list[np.ndarray]:
    """A scale and a zero point."""
    return [np.array(RNG.uniform(0.01, 0.1), np.float32), codes(kind=kind)[()] * np.ones((), kind)]


def single_nodes() -> dict[str, tuple[str, dict[str, object], list[np.ndarray]]]:
    """Name, then operator, attributes and inputs; more of each operator than our graphs hold."""
    picture, weight = codes(2, 6, 9, 9), codes(8, 3, 3, 3, kind=np.int8)
    scales, none = RNG.uniform(0.001, 0.01, 8).astype(np.float32), np.zeros((), np.int8)
    grouped = [picture, *grid(), weight, scales, none, *grid(), codes(8).astype(np.int32)]
    strided = {"group": 2, "strides": [2, 1], "pads": [1, 2, 0, 1], "dilations": [1, 2]}
    unsigned = [picture, *grid(), codes(8, 6, 3, 3), scales, np.array(77, np.uint8), *grid()]
    signed = [codes(2, 6, 9, 9, kind=np.int8), *grid(np.int8), codes(8, 6, 3, 3, kind=np.int8), scales, none]
    matrix, zeros = codes(8, 21, kind=np.int8), np.zeros(8, np.int8)
    gemm = [codes(5, 21), *grid(), matrix, scales, zeros, codes(8).astype(np.int32)]
    return {
        "grouped strided convolution": ("QLinearConv", strided, grouped),
        "unsigned weights with a zero point": ("QLinearConv", {}, unsigned),
        "signed activations": ("QLinearConv", {}, [*signed, *grid(np.int8)]),
        "gemm to float": ("QGemm", {"transB": 1, "alpha": 0.5}, gemm),
        "gemm to a grid": ("QGemm", {"transB": 1}, [*gemm, *grid()]),
        "matmul": (
            "QLinearMatMul",
            {},
            [codes(2, 5, 21), *grid(), matrix.T.copy(), scales, zeros, np.array(0.9, np.float32), grid()[1]],
        ),
        "add": ("QLinearAdd", {}, [picture, *grid(), codes(2, 6, 9, 9), *grid(), *grid()]),
        "add along axes": ("QLinearAdd", {}, [picture, *grid(), codes(1, 6, 1, 1), *grid(), *grid()]),
        "mul": ("QLinearMul", {}, [picture, *grid(), codes(2, 6, 1, 1), *grid(), *grid()]),
        "global pool": ("QLinearGlobalAveragePool", {}, [picture, *grid(), *grid()]),
        "concat": ("QLinearConcat", {"axis": 1}, [*grid(), picture, *grid(), codes(2, 3, 9, 9), *grid()]),
        "max pool": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, [picture]),
        "quantize": ("QuantizeLinear", {}, [RNG.normal(0, 4, (2, 6, 9)).astype(np.float32), *grid()]),
        "dequantize": ("DequantizeLinear", {"axis": 0}, [matrix, scales, zeros]),
    }


def run_single(
    operator: str, attributes: dict[str, object], inputs: list[np.ndarray], folder: Path
) -> list[np.ndarray]:
    """What the emulator and what ONNX Runtime make of one node."""
    contrib = operator in ("QGemm", "QLinearAdd", "QLinearMul", "QLinearGlobalAveragePool", "QLinearConcat")
    names = [f"i{i}" for i in range(len(inputs))]
    node = helper.make_node(operator, names, ["y"], domain="com.microsoft" if contrib else "", **attributes)
    body = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("i0", helper.np_dtype_to_tensor_dtype(inputs[0].dtype), inputs[0].shape)],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(value, name) for value, name in zip(inputs[1:], names[1:], strict=True)],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    path = folder / "one.onnx"
    onnx.save(helper.make_model(body, opset_imports=opsets, ir_version=8), str(path))
    products = Products(pairs=this_machine().saturating_pairs)
    return OPERATORS[operator](node, inputs, products), get_runtime("onnx").load(path).run({"i0": inputs[0]})["y"]


@pytest.mark.parametrize("case", sorted(single_nodes()))
def test_a_single_node_equals_onnx_runtime(case: str, tmp_path: Path) -> None:
    got, wanted = run_single(*single_nodes()[case], tmp_path)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)
    assert len(np.unique(wanted)) > 4
