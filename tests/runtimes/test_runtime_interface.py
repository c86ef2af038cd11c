"""What an ONNX file takes and gives, read without the onnx package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import TensorSpec
from runtimes.interface import Interface, read_interface

Save = Callable[[onnx.GraphProto], Path]
WriteGraph = Callable[..., Path]


def value(name: str, axes: list[int | str | None] | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, axes)


@pytest.fixture
def weighted(save: Save) -> Path:
    """Two inputs, one of them a weight that older writers list too; two operators, two outputs."""
    nodes = [helper.make_node("Add", ["x", "w"], ["y"]), helper.make_node("Cast", ["x"], ["z"], to=TensorProto.INT64)]
    weight = numpy_helper.from_array(np.ones((300, 3), np.float32), "w")
    inputs = [value("x", ["batch", 300, "wide", None]), value("w", [300, 3])]
    outputs = [value("y", None), value("z", [None, 2], TensorProto.INT64)]
    return save(helper.make_graph(nodes, "g", inputs, outputs, [weight]))


def test_it_is_what_was_written(weighted: Path) -> None:
    assert read_interface(weighted) == Interface(
        inputs=(TensorSpec("x", ("N", 300, "wide", "x_axis3")),),
        outputs=(TensorSpec("y", ()), TensorSpec("z", ("N", 2), "int64")),
        operators=("Add", "Cast"),
    )


def test_it_is_kept_beside_an_engines_form(weighted: Path, tmp_path: Path) -> None:
    interface = read_interface(weighted)
    interface.save(tmp_path / "model.form")
    assert Interface.beside(tmp_path / "model.form") == interface


def test_quantizers_are_seen(save: Save) -> None:
    node = helper.make_node("DequantizeLinear", ["x", "s"], ["y"])
    scale = numpy_helper.from_array(np.float32(0.5), "s")
    graph = helper.make_graph([node], "g", [value("x", [1], TensorProto.UINT8)], [value("y", [1])], [scale])
    assert read_interface(save(graph)).is_quantized


def test_without_quantizers_it_is_float(weighted: Path) -> None:
    assert not read_interface(weighted).is_quantized


@pytest.mark.parametrize(
    "content", [b"no model at all", bytes(64), b"\x08\x08", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 40]
)
def test_a_file_of_something_else_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"^'.*broken\.onnx' is not an ONNX graph or is cut short$"):
        read_interface(path)


def test_wherever_a_file_is_cut_it_is_read_or_refused(weighted: Path) -> None:
    whole = weighted.read_bytes()
    refused = 0
    for end in range(1, len(whole), 7):
        weighted.write_bytes(whole[:end])
        try:
            read_interface(weighted)
        except BadData:
            refused += 1
    assert refused > len(whole) // 7 * 0.9


def test_a_sequence_is_refused(save: Save) -> None:
    sequence = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])], "g", [value("x", ["n"])], [sequence]
    )
    with pytest.raises(
        BadData, match="cannot be used: 'y' is not a tensor; only tensors can go in and out of a graph$"
    ):
        read_interface(save(graph))


def test_a_type_that_numpy_does_not_have_is_named(write_graph: WriteGraph) -> None:
    with pytest.raises(BadData, match="cannot be used: 'x' has element type 16 of ONNX, which NumPy does not have$"):
        read_interface(write_graph(dtype=TensorProto.BFLOAT16))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"inputs": 3}', '{"inputs": [{}], "outputs": [], "operators": []}']
)
def test_a_broken_file_beside_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(BadData, match=r"^'.*model\.json' is broken; give the ONNX graph instead$"):
        Interface.beside(tmp_path / "model.form")


def test_a_missing_file_beside_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"has no model\.json beside it, which says what it takes; give the ONNX graph"):
        Interface.beside(tmp_path / "model.form")


def test_it_needs_no_onnx(weighted: Path) -> None:
    code = (
        "import sys\nsys.modules['onnx'] = None\n"
        "from pathlib import Path\nfrom runtimes.interface import read_interface\n"
        f"print(read_interface(Path({str(weighted)!r})).operators)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('Add', 'Cast')"
