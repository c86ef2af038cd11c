"""MNN behind the Protocol, and the converter that its wheel ships."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_kit.core.errors import BadData, MissingDependency, UsageError
from runtimes.registry import get_runtime
from tests.runtimes.graphs import Build

pytest.importorskip("MNN")

from runtimes.mnn import MnnRuntime, MnnSession  # noqa: E402  # after the engine is known to be there

Save = Callable[[onnx.GraphProto], Path]
FLOAT = TensorProto.FLOAT


def value(name: str, axes: list[int | str] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, axes)


def small_net(path: Path) -> Path:
    build = Build()
    x = build.input("x", "N", 8, 16, 16)
    build.output(build.op("Softmax", build.op("Relu", build.conv(x, 8, 8)), axis=1))
    return build.save(path)


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    MnnRuntime().convert(small_net(tmp_path / "graph.onnx"), tmp_path)
    return tmp_path / "model.mnn"


def test_a_missing_engine_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MNN", None)
    with pytest.raises(MissingDependency) as caught:
        get_runtime("mnn")
    assert str(caught.value) == "runtime 'mnn' needs the MNN package: pip install 'edge-kit[mnn]'"


def test_it_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = MnnRuntime()
    graph = small_net(tmp_path / "graph.onnx")
    runtime.convert(graph, tmp_path)
    session = runtime.load(tmp_path / "model.mnn")
    session.run({"x": np.zeros((2, 8, 16, 16), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_the_converter_calls_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A child of ours runs this file first; the wheel's own command would open a connection.
    (tmp_path / "sitecustomize.py").write_text(
        f"import pathlib, socket\ndef refuse(*where):\n    pathlib.Path({str(tmp_path / 'called')!r}).touch()\n"
        "    raise OSError('no network')\nsocket.socket.connect = socket.getaddrinfo = refuse\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    MnnRuntime().convert(small_net(tmp_path / "graph.onnx"), tmp_path)
    assert (tmp_path / "ran").exists()
    assert not (tmp_path / "called").exists()


def test_a_converter_that_crashes_is_one_line(save: Save, tmp_path: Path) -> None:
    weight = TensorProto(name="w", dims=[-8, 3, 3, 3], data_type=FLOAT)
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = save(helper.make_graph([node], "g", [value("x", ["n", 3, 8, 8])], [value("y", None)], [weight]))
    with pytest.raises(
        BadData, match=r"^MNN cannot convert '.*graph\.onnx': .*its process ended with -?\d+\)$"
    ) as caught:
        MnnRuntime().convert(graph, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_graph_that_it_takes_and_then_crashes_on_is_one_line(save: Save, tmp_path: Path) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[0, 0])
    graph = save(helper.make_graph([node], "g", [value("x", ["n", 3, 4, 4])], [value("y", None)]))
    with pytest.raises(BadData, match=r"^MNN cannot convert '.*graph\.onnx': .*its process ended with -?\d+\)$"):
        MnnRuntime().convert(graph, tmp_path)


def test_an_unknown_operator_is_named(save: Save, tmp_path: Path) -> None:
    node = helper.make_node("Frobnicate", ["x"], ["y"])
    graph = save(helper.make_graph([node], "g", [value("x", ["n", 3])], [value("y", None)]))
    with pytest.raises(BadData, match=r"^MNN cannot convert '.*': .*ONNX::Frobnicate") as caught:
        MnnRuntime().convert(graph, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_type_that_it_does_not_have_is_named(save: Save, tmp_path: Path) -> None:
    values = [value(name, ["n"], TensorProto.DOUBLE) for name in ("x", "y")]
    graph = save(helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", values[:1], values[1:]))
    with pytest.raises(BadData, match="^MNN has no tensors of float64, which 'x' is$"):
        MnnRuntime().convert(graph, tmp_path)


@pytest.fixture
def picker(save: Save, tmp_path: Path) -> MnnSession:
    """Rows of a table by an int64 index."""
    table = helper.make_tensor("table", FLOAT, [4, 2], [float(i) for i in range(8)])
    nodes = [helper.make_node("Gather", ["table", "i"], ["row"]), helper.make_node("ArgMax", ["row"], ["best"], axis=1)]
    index = value("i", ["n"], TensorProto.INT64)
    given = [value("row", ["n", 2]), value("best", ["n", 1], TensorProto.INT64)]
    MnnRuntime().convert(save(helper.make_graph(nodes, "g", [index], given, [table])), tmp_path)
    return MnnRuntime().load(tmp_path / "model.mnn")


def test_int64_goes_in_and_comes_out(picker: MnnSession) -> None:
    outputs = picker.run({"i": np.array([3, 0, 2])})
    assert outputs["row"].tolist() == [[6, 7], [0, 1], [4, 5]]
    assert outputs["best"].dtype == np.int64
    assert outputs["best"].tolist() == [[1], [1], [1]]


def test_a_number_that_int32_does_not_hold_is_refused(picker: MnnSession) -> None:
    with pytest.raises(BadData, match="^input 'i' holds a number over 2\\^31, and MNN computes in int32$"):
        picker.run({"i": np.array([1 << 40])})


def test_shapes_that_do_not_fit_are_one_line_and_the_next_run_is_right(tmp_path: Path) -> None:
    build = Build()
    build.output(build.op("MatMul", build.input("x", "N", "m"), build.const(np.eye(3))))
    MnnRuntime().convert(build.save(tmp_path / "graph.onnx"), tmp_path)
    session = MnnRuntime().load(tmp_path / "model.mnn")
    with pytest.raises(BadData, match=r"^MNN cannot run x \(1, 5\): ") as caught:
        session.run({"x": np.ones((1, 5), np.float32)})
    assert "\n" not in str(caught.value)
    assert session.run({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[1, 1, 1]] * 2


@pytest.mark.parametrize("keep", [0.5, 0.99, 0.01])
def test_a_cut_file_is_one_line(converted: Path, keep: float) -> None:
    content = converted.read_bytes()
    converted.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(BadData, match=r"^MNN cannot load '.*model\.mnn': ") as caught:
        MnnRuntime().load(converted)
    assert "\n" not in str(caught.value)


def test_random_bytes_are_one_line(converted: Path) -> None:
    converted.write_bytes(np.random.default_rng(1).bytes(5000))
    with pytest.raises(BadData, match=r"^MNN cannot load '.*model\.mnn': "):
        MnnRuntime().load(converted)


def test_a_file_without_what_lies_beside_it_says_what_to_give(converted: Path) -> None:
    converted.with_suffix(".json").unlink()
    with pytest.raises(BadData, match=r"has no model\.json beside it"):
        MnnRuntime().load(converted)


def test_what_belongs_to_another_graph_is_seen(converted: Path) -> None:
    beside = converted.with_suffix(".json")
    beside.write_text(beside.read_text().replace('"y"', '"z"'))
    with pytest.raises(BadData, match=r"model\.mnn' and its model\.json do not belong together$"):
        MnnRuntime().load(converted)


def test_a_gpu_that_is_not_there_lists_what_is(converted: Path) -> None:
    try:
        MnnRuntime().load(converted, device="gpu")
    except UsageError as fault:
        assert str(fault) == (
            f"runtime 'mnn' has no device 'gpu' here; MNN {MnnRuntime().version()} offers: CPU; "
            "a GPU needs an MNN built with one of CUDA, OPENCL, VULKAN, METAL"
        )
    else:
        pytest.skip("there is a GPU")


def test_operators_are_timed_in_the_order_of_execution(converted: Path) -> None:
    rows = MnnRuntime().profile(converted, {"x": np.zeros((1, 8, 16, 16), np.float32)}, calls=3)
    kinds = [row.kind for row in rows]
    assert kinds.index("Convolution") < kinds.index("Softmax")
    assert all(row.ms > 0 for row in rows)
