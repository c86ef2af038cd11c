"""`edge-kit explain` as a user starts it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_kit.core.bundle import Manifest, write_bundle
from edge_kit.core.tensors import TensorSpec
from tests.conftest import Cli
from tests.convert.test_passes import lowered, residual_net

FP32 = {"fp32": {"main": "fp32/main.onnx"}}


def write(
    path: Path, nodes: list[onnx.NodeProto], dtype: int = TensorProto.FLOAT, axes: tuple[object, ...] = (1, 3, 8, 8)
) -> Path:
    values = [helper.make_tensor_value_info(name, dtype, axes) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.ones((3, 3, 1, 1), helper.tensor_dtype_to_np_dtype(dtype)), "w")
    body = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("acme", 1)]
    path.write_bytes(helper.make_model(body, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


@pytest.fixture
def float_bundle(tmp_path: Path) -> Path:
    residual_net().save(tmp_path / "float.onnx")
    inputs = {"main": (TensorSpec("image", ("N", 3, 8, 8)),)}
    manifest = Manifest("toynet", "Toy", "classify", "x86-vnni", FP32, inputs, {"main": ("logits",)}, {}, (), {})
    (tmp_path / "bundle").mkdir()
    write_bundle(tmp_path / "bundle", manifest, {"fp32": {"main": tmp_path / "float.onnx"}}, {})
    return tmp_path / "bundle"


def test_a_finding_its_price_and_its_fix_are_shown_and_the_operators_as_bars(cli: Cli, tmp_path: Path) -> None:
    lowered(residual_net(), "arm64").save(tmp_path / "arm.onnx")
    done = cli("explain", str(tmp_path / "arm.onnx"))
    assert done.code == 0, done.err
    for text in ("S8 activations", "price, at most", " ms", "quantize activations to U8", "QLinearConv", "█"):
        assert text in done.out, text


def test_json_is_one_document_with_conditions(cli: Cli, tmp_path: Path) -> None:
    lowered(residual_net(), "x86-vnni").save(tmp_path / "int8.onnx")
    report = cli("explain", str(tmp_path / "int8.onnx"), "--threads", "2", "--json").json
    assert (report["runtime"], report["threads"], report["device"], report["calls"]) == ("onnx", 2, "cpu", 20)
    [graph] = report["graphs"]
    assert graph["total_ms"] == pytest.approx(sum(row["ms"] for row in graph["kinds"]))
    assert {"name", "kind", "place", "precision", "ms", "node"} == set(graph["operators"][0])


def test_a_bundle_without_int8_is_explained_in_full_precision_with_the_command_that_makes_it(
    cli: Cli, float_bundle: Path
) -> None:
    done = cli("explain", str(float_bundle), "--json")
    assert done.code == 0, done.err
    [graph] = done.json["graphs"]
    assert [finding["code"] for finding in graph["findings"]] == ["full-precision"]
    assert graph["findings"][0]["fix"].startswith("edge-kit compress toynet --target ")
    assert graph["findings"][0]["cost_ms"] > 0


def test_half_precision_bodies_and_custom_operators_are_findings(cli: Cli, tmp_path: Path) -> None:
    half = write(tmp_path / "half.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], TensorProto.FLOAT16)
    assert "the graph is FP16" in cli("explain", str(half)).out
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [1, 3, 8, 8])
    branches = [helper.make_graph([helper.make_node(op, ["x"], ["o"])], op, [], [out]) for op in ("Relu", "Neg")]
    choice = [
        helper.make_node("ReduceSum", ["x"], ["t"], keepdims=0),
        helper.make_node("Cast", ["t"], ["b"], to=TensorProto.BOOL),
        helper.make_node("If", ["b"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    shown = cli("explain", str(write(tmp_path / "if.onnx", choice)))
    assert shown.code == 0, shown.err
    assert "nodes with graphs inside" in shown.out
    custom = cli("explain", str(write(tmp_path / "own.onnx", [helper.make_node("Fancy", ["x"], ["y"], domain="acme")])))
    assert custom.code == 0, custom.err
    assert "acme.Fancy" in custom.out
    assert "not timed: onnxruntime cannot load" in custom.out
    assert "own.onnx" in custom.out, "and not the copy that was timed"


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 50], ids=["empty", "text", "bytes"])
def test_what_is_not_onnx_is_one_line(content: bytes, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(content)
    done = cli("explain", str(tmp_path / "broken.onnx"))
    assert done.code == 1
    assert done.is_one_line(), done.err
    assert "broken.onnx' is not a valid ONNX file" in done.err


def test_other_bad_requests_are_one_line(cli: Cli, tmp_path: Path) -> None:
    relu = str(write(tmp_path / "relu.onnx", [helper.make_node("Relu", ["x"], ["y"])], axes=("A", "B")))
    (tmp_path / "notes.txt").write_text("")
    for code, text, args in [
        (1, "does not exist", (str(tmp_path / "none.onnx"),)),
        (2, "neither a bundle nor an .onnx file", (str(tmp_path / "notes.txt"),)),
        (1, "it has no bundle.json", (str(tmp_path),)),
        (2, "unknown bundle 'nothing'", ("nothing",)),
        (2, "fix them: --shape x=1,B", (relu,)),
        (2, "threads must be at least 1", (relu, "--threads", "0")),
        (2, "unknown runtime 'onxx'", (relu, "--runtime", "onxx")),
    ]:
        done = cli("explain", *args)
        assert (done.code, done.is_one_line()) == (code, True), done.err
        assert text in done.err
    assert cli("explain", relu, "--shape", "x=2,3").code == 0
