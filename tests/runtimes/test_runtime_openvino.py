"""OpenVINO behind the Protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from convert.lower import lower
from edge_kit.core.errors import BadData, EdgeKitError, MissingDependency, UsageError
from runtimes.isolated import Isolated, Model
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.runtimes.graphs import Build

pytest.importorskip("openvino")

from runtimes.openvino import OpenVinoRuntime, shared_core  # noqa: E402  # after the engine is known to be there

WriteGraph = Callable[..., Path]
Save = Callable[[onnx.GraphProto], Path]

QUIET_IMPORT = """
import pathlib, socket, sys
def refuse(*where):
    pathlib.Path.home().joinpath("called").touch()
    raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refuse
from runtimes.registry import get_runtime
get_runtime("openvino").load(pathlib.Path(sys.argv[1]))
print("openvino_telemetry" in sys.modules)
"""

SIGNALLED = """
import gc, os, pathlib, signal, sys
from runtimes.registry import get_runtime
held = [get_runtime("openvino") for _ in range(3)]
held = [(runtime, runtime.load(pathlib.Path(sys.argv[1]))) for runtime in held]
while held:
    del held[0]
    gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_nothing_is_sent_and_nothing_is_written_to_the_home_folder(write_graph: WriteGraph, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", QUIET_IMPORT, str(write_graph())],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
    assert list(home.iterdir()) == []


def test_a_signal_is_taken_after_runtimes_ended_in_the_order_they_began(write_graph: WriteGraph) -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED, str(write_graph())], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_a_missing_engine_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependency) as caught:
        get_runtime("openvino")
    assert str(caught.value) == "runtime 'openvino' needs the openvino package: pip install 'edge-kit[openvino]'"


def test_outputs_stay_as_they_are_when_it_runs_again(write_graph: WriteGraph) -> None:
    session = OpenVinoRuntime().load(write_graph())
    first = session.run({"x": np.array([[1, 2, 3]], np.float32)})["y"]
    session.run({"x": np.array([[7, 8, 9]], np.float32)})
    assert first.tolist() == [[1, 2, 3]]


def test_an_array_that_is_not_contiguous_is_read_right(write_graph: WriteGraph) -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    outputs = OpenVinoRuntime().load(write_graph()).run({"x": x.T})
    np.testing.assert_array_equal(outputs["y"], [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize("dtype", [TensorProto.INT64, TensorProto.UINT8, TensorProto.DOUBLE, TensorProto.BOOL])
def test_element_types_go_through(save: Save, dtype: int) -> None:
    values = [helper.make_tensor_value_info(name, dtype, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    session = OpenVinoRuntime().load(save(graph))
    given = np.array([1, 0], session.inputs[0].dtype)
    taken = session.run({"x": given})["y"]
    assert taken.dtype == given.dtype
    np.testing.assert_array_equal(taken, given)


def test_options_are_the_ones_that_timing_relies_on(write_graph: WriteGraph) -> None:
    session = OpenVinoRuntime().load(write_graph(), threads=2)
    compiled = session.compiled_for({"x": np.zeros((1, 3), np.float32)}).network
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_a_batch_of_one_runs_with_every_shape_known_and_others_run_too(tmp_path: Path) -> None:
    build = Build()
    build.output(build.op("Relu", build.conv(build.input("x", "N", 3, 8, 8), 3, 4)))
    session = OpenVinoRuntime().load(build.save(tmp_path / "graph.onnx"))
    feeds = build.feeds(3)
    alone = {"x": feeds["x"][1:2]}
    for given, known in ((alone, True), (feeds, False)):
        [entry] = session.compiled_for(given).network.inputs
        assert entry.get_partial_shape().is_static is known
    [name] = session.outputs
    np.testing.assert_allclose(session.run(feeds)[name][1:2], session.run(alone)[name], rtol=1e-5, atol=1e-6)


def test_batches_of_any_size_follow_each_other_through_several_inputs(tmp_path: Path) -> None:
    build = Build()
    build.output(build.op("Add", build.input("a", "N", 3), build.input("b", "N", 3)))
    session = OpenVinoRuntime().load(build.save(tmp_path / "graph.onnx"))
    [name] = session.outputs
    for size in (5, 2, 1, 5):
        feeds = build.feeds(size)
        np.testing.assert_allclose(session.run(feeds)[name], feeds["a"] + feeds["b"], rtol=1e-6)


def test_a_gpu_that_is_not_there_lists_what_is(write_graph: WriteGraph) -> None:
    runtime = OpenVinoRuntime()
    if any(name.startswith("GPU") for name in shared_core(runtime._ov).available_devices):
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError) as caught:
        runtime.load(write_graph(), device="gpu")
    assert str(caught.value) == (
        f"runtime 'openvino' has no device 'gpu' here; openvino {runtime.version()} offers: CPU; "
        "a GPU needs Intel's OpenCL driver"
    )


def test_a_fault_inside_the_graph_is_one_line(save: Save) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.0] * 6)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight])
    session = OpenVinoRuntime().load(save(graph))
    with pytest.raises(BadData, match="^openvino cannot run these inputs: ") as caught:
        session.run({"x": np.zeros((1, 5), np.float32)})
    assert "\n" not in str(caught.value)
    assert "Exception from" not in str(caught.value)


def test_an_unknown_operator_is_one_line_that_names_it(save: Save) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Frobnicate", ["x"], ["y"])], "g", values[:1], values[1:])
    with pytest.raises(BadData, match=r"^openvino cannot load '.*graph\.onnx': .*Frobnicate") as caught:
        OpenVinoRuntime().load(save(graph))
    assert "\n" not in str(caught.value)


def test_a_graph_that_crashes_the_engine_is_one_line_in_a_bench(save: Save) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Conv", ["x"], ["y"])], "g", values[:1], values[1:])  # no weight
    with pytest.raises(EdgeKitError) as caught:
        Isolated(Model("openvino", {"main": save(graph)}))
    assert "\n" not in str(caught.value)


def test_operators_are_timed_in_the_order_of_execution(tmp_path: Path) -> None:
    build = Build()
    x = build.input("x", "N", 8, 32, 32)
    build.output(build.op("Softmax", build.op("Relu", build.conv(x, 8, 16)), axis=1))
    graph = build.save(tmp_path / "graph.onnx")
    rows = OpenVinoRuntime().profile(graph, build.feeds(1), calls=5)
    kinds = [row.kind for row in rows]
    assert kinds.index("Convolution") < kinds.index("Softmax")
    convolution = rows[kinds.index("Convolution")]
    assert convolution.name.startswith("Conv.0")
    assert convolution.precision == "fp32"
    assert convolution.place and convolution.ms > 0


def test_what_is_lowered_for_it_runs_in_int8_throughout(tmp_path: Path) -> None:
    build = Build()
    x = build.op("Relu", build.conv(build.input("x", "N", 3, 16, 16), 3, 16, pads=[1, 1, 1, 1]))
    y = build.op("Relu", build.conv(x, 16, 16, group=16, pads=[1, 1, 1, 1]))
    x = build.op("MaxPool", build.op("Add", x, build.conv(y, 16, 16, 1)), kernel_shape=[2, 2], strides=[2, 2])
    flat = build.op("Flatten", build.op("GlobalAveragePool", x))
    build.output(build.op("Gemm", flat, build.weight(10, 16), build.weight(10), transB=1))
    build.outputs[0].type.tensor_type.shape.SetInParent()  # which ONNX's checker asks for
    images = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)
    graph = tmp_path / "int8.onnx"
    lower(build.save(tmp_path / "float.onnx"), graph, TARGETS["openvino"], [{"x": images}])
    rows = OpenVinoRuntime().profile(graph, {"x": images[:1]}, calls=1)
    kinds = [row.kind for row in rows]
    assert kinds.count("Convolution") == 3
    assert "Eltwise" not in kinds[: kinds.index("FullyConnected")]  # the last convolution sums
    for row in rows:
        if row.kind in ("Convolution", "FullyConnected", "Pooling", "Reduce"):
            assert row.precision == "int8", row
    exact, want = (get_runtime("onnx").load(path).run({"x": images})["y"] for path in (tmp_path / "float.onnx", graph))
    got = OpenVinoRuntime().load(graph).run({"x": images})["y"]
    assert np.linalg.norm(got - exact) < 1.2 * np.linalg.norm(want - exact)


def write_ir(graph: Path) -> Path:
    """The same graph in OpenVINO's own form."""
    import openvino

    form = graph.with_suffix(".xml")
    openvino.save_model(openvino.convert_model(graph), form, compress_to_fp16=False)
    return form


def test_its_own_form_is_read_as_the_onnx_graph_is(write_graph: WriteGraph) -> None:
    graph = write_graph()
    onnx_session, session = (OpenVinoRuntime().load(path) for path in (graph, write_ir(graph)))
    assert session.inputs == onnx_session.inputs
    assert session.outputs == ("y",)
    given = {"x": np.array([[1, 2, 3]], np.float32)}
    np.testing.assert_array_equal(session.run(given)["y"], onnx_session.run(given)["y"])


def test_a_broken_form_of_its_own_is_one_line(write_graph: WriteGraph) -> None:
    form = write_ir(write_graph())
    for broken in ("<net", '<?xml version="1.0"?><net name="a" version="11"></net>', form.read_text()[:900]):
        form.write_text(broken)
        with pytest.raises(BadData, match="openvino|an IR without outputs") as caught:
            OpenVinoRuntime().load(form)
        assert "\n" not in str(caught.value)
