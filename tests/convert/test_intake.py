"""A user's ONNX file is taken in as it computes, or refused in one line that names the fault."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from convert.intake import external_files, read_own, take_onnx
from edge_kit.core.errors import BadData
from runtimes.registry import get_runtime
from tests.convert.graphs import build

WEIGHT = np.random.default_rng(0).normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
IMAGE = {"image": np.random.default_rng(1).normal(0, 1, (2, 3, 8, 8)).astype(np.float32)}


def conv(opset: int = 13) -> ModelProto:
    node = helper.make_node("Conv", ["image", "w"], ["y"], name="first")
    model = build([node], {"w": WEIGHT}, {"image": ["N", 3, 8, 8]}, {"y": ["N", 4, 6, 6]}).to_model()
    model.opset_import[0].version = opset
    return model


def answer(path: Path) -> np.ndarray:
    return get_runtime("onnx").load(path).run(IMAGE)["y"]


def test_an_old_opset_is_converted_said_and_computes_the_same(tmp_path: Path) -> None:
    model = conv(opset=9)
    model.ir_version = 3  # constants are inputs as well, as they had to be then
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, WEIGHT.shape))
    onnx.save(model, tmp_path / "old.onnx")
    done = take_onnx(tmp_path / "old.onnx", tmp_path / "taken.onnx", "old")
    assert done == ["opset 9 converted to 13, where channels can have scales of their own"]
    taken = onnx.load(tmp_path / "taken.onnx")
    assert taken.opset_import[0].version == 13
    assert [value.name for value in taken.graph.input] == ["image"]
    np.testing.assert_allclose(answer(tmp_path / "taken.onnx"), answer(tmp_path / "old.onnx"), rtol=1e-6)


def test_weights_beside_the_file_are_found_and_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    onnx.save(conv(), path, save_as_external_data=True, location="large.bin", size_threshold=0)
    assert external_files(path, read_own(path)) == [tmp_path / "large.bin"]
    done = take_onnx(path, tmp_path / "taken.onnx", "large")
    assert done == ["weights taken in from large.bin"]
    before = answer(path)
    (tmp_path / "large.bin").unlink()
    np.testing.assert_array_equal(answer(tmp_path / "taken.onnx"), before)
    with pytest.raises(BadData, match=r"'large.onnx' keeps weights in 'large.bin', which is not beside it"):
        external_files(path, read_own(path))


def test_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    onnx.save(conv(), path, save_as_external_data=True, location="large.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../large.bin"
    onnx.save(model, path)
    with pytest.raises(BadData, match="keeps weights outside its folder"):
        external_files(path, read_own(path))


def quantized() -> ModelProto:
    model = conv()
    model.graph.node[0].op_type = "QLinearConv"
    return model


def half() -> ModelProto:
    model = conv()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(WEIGHT.astype(np.float16), "w"))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


def with_nan() -> ModelProto:
    model, weight = conv(), WEIGHT.copy()
    weight[1, 2, 0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    return model


def with_loop() -> ModelProto:
    model = conv()
    body = helper.make_graph([], "body", [], [])
    model.graph.node[0].CopyFrom(helper.make_node("If", ["image"], ["y"], "maybe", then_branch=body, else_branch=body))
    return model


def of_nobody() -> ModelProto:
    model = conv()
    model.graph.node[0].domain = "nobody.knows"
    model.opset_import.append(helper.make_opsetid("nobody.knows", 1))
    return model


FAULTS: list[tuple[Callable[[], ModelProto], str]] = [
    (quantized, r"'m.onnx' is quantized already \(1 QLinearConv\); give the float model"),
    (half, r"'m.onnx' is in float16 \(2 weights and inputs\); INT8 starts from float32"),
    (with_nan, r"1 of 108 numbers in weight 'w' of 'm' are not finite"),
    (with_loop, r"'m.onnx' has control flow \(If 'maybe'\)"),
    (of_nobody, "onnxruntime cannot load 'm': .*nobody.knows"),
]


@pytest.mark.parametrize(("make", "message"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_lowered_is_one_line(make: Callable[[], ModelProto], message: str, tmp_path: Path) -> None:
    onnx.save(make(), tmp_path / "m.onnx")
    with pytest.raises(BadData, match=message) as fault:
        take_onnx(tmp_path / "m.onnx", tmp_path / "taken.onnx", "m")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("content", [b"", b"no model at all", bytes(range(256)) * 40])
def test_a_file_that_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(BadData, match="is not an ONNX file") as fault:
        read_own(tmp_path / "m.onnx")
    assert "\n" not in str(fault.value)
