"""Each reason, in a graph that has it and nothing else; what ONNX Runtime really runs is the judge."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from convert.explain import Finding, find_causes
from convert.graph import Graph
from convert.pricing import price
from convert.quantized import Quantized, read_model
from edge_kit.core.errors import BadData
from runtimes.ort import OnnxRuntime
from runtimes.protocol import OperatorTime
from runtimes.targets import TARGETS, this_machine
from tests.convert.graphs import build
from tests.convert.test_passes import floats, lowered, residual_net

IMAGE = {"image": floats(1, 3, 8, 8)}


def read(graph: Graph, folder: Path) -> Quantized:
    graph.save(folder / "graph.onnx")
    return Quantized(read_model(folder / "graph.onnx")[0])


def causes(graph: Graph, folder: Path, target: str = "x86-vnni") -> dict[str, Finding]:
    return {finding.code: finding for finding in find_causes(read(graph, folder), TARGETS[target])}


def priced(graph: Graph, folder: Path) -> tuple[dict[str, Finding], tuple[OperatorTime, ...]]:
    """As `explain` does: names given, profiled, priced."""
    seen = read(graph, folder)
    for node, named in zip(graph.nodes, seen.graph.nodes, strict=True):
        node.name = named.name
    graph.save(folder / "graph.onnx")
    times = OnnxRuntime().profile(folder / "graph.onnx", IMAGE)
    findings = price(seen, find_causes(seen, TARGETS["x86-vnni"]), times, "cpu")
    return {finding.code: finding for finding in findings}, times


def pair(source: str, to: str, zero: np.ndarray, scale: float = 0.05) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """QuantizeLinear and DequantizeLinear between two tensors, and their constants."""
    grid = [f"{to}.scale", f"{to}.zero"]
    nodes = [
        helper.make_node("QuantizeLinear", [source, *grid], [f"{to}.q"], name=f"{to}.quantize"),
        helper.make_node("DequantizeLinear", [f"{to}.q", *grid], [to], name=f"{to}.dequantize"),
    ]
    return nodes, {grid[0]: np.array(scale, np.float32), grid[1]: zero}


def chain(*parts: tuple[Sequence[NodeProto], dict[str, np.ndarray]]) -> Graph:
    nodes = [node for part in parts for node in part[0]]
    constants = {name: value for part in parts for name, value in part[1].items()}
    return build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 8, 8]})


def node(
    kind: str, inputs: list[str], output: str, **constants: np.ndarray
) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    return [helper.make_node(kind, inputs, [output], name=f"{kind}@{output}")], constants


def conv(source: str, output: str, channels: int = 3) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """A convolution with INT8 weights, to four channels."""
    grid = [f"{output}.wq", f"{output}.ws"]
    nodes = [
        helper.make_node("DequantizeLinear", grid, [f"{output}.w"], name=f"{output}.weight"),
        helper.make_node("Conv", [source, f"{output}.w"], [output], name=f"Conv@{output}"),
    ]
    values = np.rint(floats(4, channels, 1, 1) * 60).clip(-127, 127).astype(np.int8)
    return nodes, {grid[0]: values, grid[1]: np.array(0.01, np.float32)}


U8, S8 = np.array(128, np.uint8), np.array(0, np.int8)


def test_a_lowered_graph_has_no_cause_and_runs_in_int8(tmp_path: Path) -> None:
    found, times = priced(lowered(residual_net(), "x86-vnni"), tmp_path)
    assert found == {}
    assert sum(one.kind == "QLinearConv" for one in times) == 3


def test_a_float_graph_is_one_finding_whatever_its_precision(tmp_path: Path) -> None:
    found = causes(residual_net(), tmp_path)
    assert list(found) == ["full-precision"]
    assert found["full-precision"].count == 4
    assert "FP32" in found["full-precision"].title


def test_the_casts_around_half_precision_nodes_are_priced(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [1, 3, 8, 8]) for name in ("image", "y")]
    weight = helper.make_tensor("w", TensorProto.FLOAT16, [3, 3, 1, 1], np.ones(9, np.float16).tolist())
    body = helper.make_graph([helper.make_node("Conv", ["image", "w"], ["y"])], "g", values[:1], values[1:], [weight])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (tmp_path / "half.onnx").write_bytes(model.SerializeToString())
    seen = Quantized(read_model(tmp_path / "half.onnx")[0])
    half = {"image": IMAGE["image"].astype(np.float16)}
    times = OnnxRuntime().profile(tmp_path / "half.onnx", half)
    found = {one.code: one for one in price(seen, find_causes(seen, TARGETS["x86-vnni"]), times, "cpu")}
    assert "FP16" in found["full-precision"].title
    assert found["cast"].count == 2
    assert found["cast"].cost_ms == pytest.approx(sum(one.ms for one in times if one.kind == "Cast"))


def test_an_activation_between_quantizers_is_named_with_what_runs_for_it(tmp_path: Path) -> None:
    graph = chain(
        pair("image", "x", U8), node("Conv", ["x", "w"], "c", w=floats(4, 3, 1, 1)), pair("c", "d", U8),
        node("Relu", ["d"], "r"), pair("r", "y", U8),
    )  # fmt: skip
    found = causes(graph, tmp_path)["split-activations"]
    assert found.nodes == ("Relu@r",)
    assert found.operators == ("d.dequantize", "Relu@r", "y.quantize")


def test_an_activation_whose_grid_ends_where_it_clips_is_no_finding(tmp_path: Path) -> None:
    zero = np.array(0, np.uint8)
    graph = chain(pair("image", "x", U8), conv("x", "c"), node("Relu", ["c"], "r"), pair("r", "y", zero))
    found, times = priced(graph, tmp_path)
    assert found == {}
    assert "Relu" not in [one.kind for one in times]
    above = chain(pair("image", "x", U8), conv("x", "c"), node("Relu", ["c"], "r"), pair("r", "y", U8))
    found, times = priced(above, tmp_path)
    assert found["float-islands"].nodes == ("Conv@c", "Relu@r")
    assert "FusedConv" in [one.kind for one in times], "in float, with its Relu"


@pytest.mark.parametrize(("zero", "target", "title"), [(S8, "x86-vnni", "S8 act"), (U8, "arm64", "U8 act")])
def test_activations_of_the_wrong_sign_are_counted(zero: np.ndarray, target: str, title: str, tmp_path: Path) -> None:
    graph = chain(pair("image", "x", zero), node("MaxPool", ["x"], "m"), pair("m", "y", zero))
    graph.nodes[2].attribute.append(helper.make_attribute("kernel_shape", [1, 1]))
    found = causes(graph, tmp_path, target)["wrong-sign"]
    assert found.title.startswith(title)
    assert found.nodes == ("x.quantize", "y.quantize")
    right = "arm64" if target == "x86-vnni" else "x86-vnni"
    assert "wrong-sign" not in causes(graph, tmp_path, right)


@pytest.mark.skipif(not this_machine().unsigned_activations, reason="S8 is turned into U8 on x86 alone")
def test_signed_tensors_with_several_readers_are_what_onnx_runtime_leaves_float(tmp_path: Path) -> None:
    found, times = priced(lowered(residual_net(), "arm64"), tmp_path)
    float_kinds = {"Conv", "Add", "QuantizeLinear", "DequantizeLinear"}
    in_float = {one.name for one in times if one.kind in float_kinds}
    assert any(one.kind == "Add" for one in times), "the sum would have run as QLinearAdd"
    assert found["wrong-sign"].cost_ms is not None
    assert 0 < found["wrong-sign"].cost_ms <= sum(one.ms for one in times if one.name in in_float)
    assert "unfused" not in found, "each operator is counted once"


def test_a_tensor_quantized_twice_is_named_by_the_node_that_computes_it(tmp_path: Path) -> None:
    graph = chain(
        pair("image", "x", U8), conv("x", "c"),
        pair("c", "a", U8), pair("c", "b", U8, 0.04), node("Add", ["a", "b"], "s"), pair("s", "y", U8),
    )  # fmt: skip
    found, times = priced(graph, tmp_path)
    assert found["repeated-quantizers"].nodes == ("Conv@c",)
    [convolution] = [one for one in times if one.kind == "Conv"]
    assert (found["repeated-quantizers"].cost_ms or 0) >= convolution.ms


def test_a_float_run_is_one_island_from_its_first_node_to_its_last(tmp_path: Path) -> None:
    graph = chain(
        pair("image", "x", U8), node("Exp", ["x"], "e"), node("Neg", ["e"], "n"), pair("n", "z", U8),
        node("Sin", ["z"], "y"),
    )  # fmt: skip
    found, times = priced(graph, tmp_path)
    island = found["float-islands"]
    assert island.count == 2
    assert island.note.startswith("Exp@e..Neg@n (2), Sin@y;")
    whole, entry = sum(one.ms for one in times), next(one.ms for one in times if one.name == "x.quantize")
    assert island.cost_ms == pytest.approx(whole - entry), "all but what quantizes the input"
    assert island.share == pytest.approx((whole - entry) / whole)


def test_a_sum_with_a_float_side_is_named(tmp_path: Path) -> None:
    graph = chain(
        pair("image", "x", U8), conv("x", "c"), pair("c", "d", U8), conv("d", "e", channels=4),
        node("Add", ["d", "e"], "s"), pair("s", "y", U8),
    )  # fmt: skip
    assert causes(graph, tmp_path)["float-sums"].nodes == ("Add@s",)


def test_weights_that_can_saturate_are_a_finding_where_there_is_no_vnni(tmp_path: Path) -> None:
    graph = lowered(residual_net(), "x86-vnni")
    assert causes(graph, tmp_path, "x86-avx2")["saturating-pairs"].count == 3, "two convolutions and the Gemm"
    assert "saturating-pairs" not in causes(graph, tmp_path)
    assert causes(lowered(residual_net(), "x86-avx2"), tmp_path, "x86-avx2") == {}


def test_odd_widths_of_float_convolutions_but_not_those_of_outputs(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], name="odd"),
        helper.make_node("Conv", ["c", "v"], ["y"], name="last"),
    ]
    constants = {"w": floats(19, 3, 1, 1), "v": floats(21, 19, 1, 1)}
    graph = build(nodes, constants, {"image": ["N", 3, 8, 8]}, {"y": ["N", 21, 8, 8]})
    found = causes(graph, tmp_path)["odd-widths"]
    assert found.nodes == ("odd",)
    assert found.cost_ms is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("bias", "a bias scale that is not input scale times weight scale"),
        ("shape", "a scale of shape (1,) instead of ()"),
        ("zero", "zero points left out"),
    ],
)
def test_what_the_engine_leaves_float_is_found_with_its_reason(change: str, reason: str, tmp_path: Path) -> None:
    graph = lowered(residual_net(), "x86-vnni")
    if change == "bias":
        graph.constants["c2.b.scale"] = graph.constants["c2.b.scale"] * np.float32(1.5)
    elif change == "shape":
        for name in ("a0.scale", "c2.scale", "sum.scale"):
            graph.constants[name] = graph.constants[name].reshape(1)
    else:
        for one in graph.nodes:
            if one.op_type == "DequantizeLinear" and one.output[0] == "logits.w.dq":
                del one.input[2]
    found, times = priced(graph, tmp_path)
    assert reason in found["unfused"].note, found
    assert found["unfused"].count == 1
    ran = {"bias": "Conv", "shape": "Add", "zero": "Gemm"}[change]
    assert [one.kind for one in times].count(ran) == 1


def test_prices_add_up_to_no_more_than_the_whole(tmp_path: Path) -> None:
    graph = lowered(residual_net(), "arm64")
    graph.constants["a1.b.scale"] = graph.constants["a1.b.scale"] * np.float32(2)
    found, times = priced(graph, tmp_path)
    assert sum(finding.cost_ms or 0 for finding in found.values()) <= sum(one.ms for one in times) * (1 + 1e-9)


def test_operators_that_fell_back_to_the_processor_are_counted(tmp_path: Path) -> None:
    seen = read(residual_net(), tmp_path)
    times = [
        OperatorTime("a", "Conv", "CUDAExecutionProvider", "fp32", 3.0),
        OperatorTime("b", "NonZero", "CPUExecutionProvider", "fp32", 1.0),
    ]
    found = {one.code: one for one in price(seen, [], times, "gpu")}
    assert (found["fallbacks"].nodes, found["fallbacks"].cost_ms, found["fallbacks"].share) == (("b",), 1.0, 0.25)
    assert price(seen, [], times, "cpu") == []


def test_bodies_and_custom_operators_are_findings(tmp_path: Path) -> None:
    def branch(kind: str) -> object:
        out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1, 3, 8, 8])
        return helper.make_graph([helper.make_node(kind, ["image"], ["o"])], kind, [], [out])

    nodes = [
        helper.make_node("ReduceSum", ["image"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["any"], to=TensorProto.BOOL),
        helper.make_node("If", ["any"], ["c"], name="choice", then_branch=branch("Relu"), else_branch=branch("Neg")),
        helper.make_node("Fancy", ["c"], ["y"], domain="acme", name="fancy"),
    ]
    model = build(nodes, {}, {"image": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]}).to_model()
    model.opset_import.append(helper.make_opsetid("acme", 1))
    found = {one.code: one for one in find_causes(Quantized(model), TARGETS["x86-vnni"])}
    assert found["unseen-bodies"].nodes == ("choice",)
    assert found["foreign-operators"].nodes == ("fancy",)
    assert "acme.Fancy" in found["foreign-operators"].title


def test_nodes_without_a_name_get_one_and_two_of_one_name_too(tmp_path: Path) -> None:
    graph = residual_net()
    graph.nodes[1].name = graph.nodes[2].name = "twin"
    graph.save(tmp_path / "graph.onnx")
    model, renamed = read_model(tmp_path / "graph.onnx")
    names = [one.name for one in model.graph.node]
    assert renamed
    assert len(set(names)) == len(names)
    assert all(names)
    assert "twin" in names


@pytest.mark.parametrize(
    ("operator", "node"),
    [
        ("Conv.1_token_181", "Conv.1"),
        ("Clip.1_nchwc", "Clip.0"),
        ("InsertedPrecisionFreeCast_Clip.1", None),
        ("Transpose_token_3", None),
    ],
)
def test_an_operator_is_traced_to_its_node(operator: str, node: str | None) -> None:
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], name="Conv.1"),
        helper.make_node("Relu", ["c"], ["Clip.1"], name="Clip.0"),
    ]
    graph = build(nodes, {"w": floats(4, 3, 1, 1)}, {"image": [1, 3, 8, 8]}, {"Clip.1": [1, 4, 8, 8]})
    assert Quantized(graph.to_model()).node_of(operator) == node


def test_a_quantizer_without_a_scale_is_one_line(tmp_path: Path) -> None:
    nodes = [helper.make_node("QuantizeLinear", ["image"], ["y"])]
    model = build(nodes, {}, {"image": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]}).to_model()
    (tmp_path / "graph.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadData, match="a QuantizeLinear has too few inputs"):
        read_model(tmp_path / "graph.onnx")
