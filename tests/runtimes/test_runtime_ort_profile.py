"""Times by node out of ONNX Runtime's own trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_kit.core.errors import BadData

pytest.importorskip("onnxruntime")

from runtimes.ort import OnnxRuntime  # noqa: E402  # after the engine is known to be there
from runtimes.ort_profile import count_fallbacks, read_trace  # noqa: E402
from runtimes.protocol import Profiling  # noqa: E402

Save = Callable[[onnx.GraphProto], Path]


@pytest.fixture
def quantized(save: Save) -> Path:
    """A convolution with its ReLU in INT8, then a float Softmax."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.02),
        "zero": np.uint8(0),
        "w": rng.integers(-90, 90, (8, 3, 3, 3), np.int8),
        "ws": np.float32(0.01),
        "wz": np.int8(0),
    }
    quantizer, dequantizer = "QuantizeLinear", "DequantizeLinear"
    nodes = [
        helper.make_node(quantizer, ["x", "s", "zero"], ["xq"], "first"),
        helper.make_node(dequantizer, ["xq", "s", "zero"], ["xd"]),
        helper.make_node(dequantizer, ["w", "ws", "wz"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"], "conv"),
        helper.make_node(quantizer, ["c", "s", "zero"], ["cq"]),
        helper.make_node(dequantizer, ["cq", "s", "zero"], ["cd"]),
        helper.make_node("Softmax", ["cd"], ["y"], "softmax", axis=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return save(graph)


def test_nodes_are_those_after_fusion_in_their_order(quantized: Path) -> None:
    runtime = OnnxRuntime()
    assert isinstance(runtime, Profiling)
    times = runtime.profile(quantized, {"x": np.ones((2, 3, 16, 16), np.float32)}, calls=5)
    told = [(one.kind, one.precision) for one in times if one.kind not in ("Transpose", "ReorderOutput")]
    assert told == [
        ("QuantizeLinear", "conversion"),
        ("QLinearConv", "int8"),
        ("DequantizeLinear", "conversion"),
        ("Softmax", "fp32"),
    ]
    assert times[0].name == "first"
    assert {one.place for one in times} == {"CPUExecutionProvider"}
    assert all(one.ms > 0 for one in times)


def test_no_trace_is_left_behind(quantized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    monkeypatch.chdir(place)
    OnnxRuntime().profile(quantized, {"x": np.ones((1, 3, 16, 16), np.float32)}, calls=1)
    with pytest.raises(BadData, match=r"must be \(N, 3, 16, 16\)"):
        OnnxRuntime().profile(quantized, {"x": np.ones((1, 3), np.float32)})
    assert list(place.iterdir()) == []


def node(name: str, ts: int, dur: int, kind: str, provider: str = "CUDAExecutionProvider") -> dict[str, object]:
    args = {"op_name": kind, "provider": provider, "input_type_shape": [{"float16": [1]}, {"float": []}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": args}


def test_a_time_is_the_median_of_sums_over_the_last_calls() -> None:
    calls = [{"cat": "Session", "name": "model_run", "ts": 100 * i, "dur": 90} for i in range(4)]
    body = [(5, 9000), (105, 1000), (115, 500), (205, 2000), (305, 4000)]  # twice in the second call, as in a loop
    events = [
        *calls,
        *(node("body", ts, dur, "Add") for ts, dur in body),
        {"cat": "Node", "name": "body_fence", "ts": 1},
    ]
    (one,) = read_trace(events, 3)
    assert (one.name, one.kind, one.precision, one.ms) == ("body", "Add", "fp16", 2.0)


def test_nodes_on_the_cpu_and_copies_are_fallbacks() -> None:
    events = [
        {"cat": "Session", "name": "model_run", "ts": 0, "dur": 90},
        node("conv", 1, 1, "Conv"),
        node("copy", 2, 1, "MemcpyToHost"),
        node("odd", 3, 1, "NonZero", "CPUExecutionProvider"),
    ]
    assert count_fallbacks(read_trace(events, 1)) == 2
