"""Scales that a file leaves to its engine, before and after."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from convert.engine import run_file
from convert.graph import Graph
from convert.halves import as_half, to_half
from convert.lower import lower
from convert.passes.derive import FEWEST, derive_scales
from convert.quantized import read_model
from runtimes.registry import get_runtime
from runtimes.targets import TARGETS
from tests.convert.graphs import build, fused, operators, run

RNG = np.random.default_rng(0)
WIDTH = 48
BATCHES = [{"x": RNG.normal(0, 1, (4, 8, 6, 6)).astype(np.float32)} for _ in range(2)]


def float_net(width: int = WIDTH) -> Graph:
    """Two convolutions with biases."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "v", "d"], ["y"]),
    ]
    shapes = {"w": (width, 8, 3, 3), "b": (width,), "v": (width, width, 1, 1), "d": (width,)}
    constants = {name: RNG.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    return build(nodes, constants, {"x": ["N", 8, 6, 6]}, {"y": ["N", width, 4, 4]})


def lowered(folder: Path, target: str = "x86-vnni", width: int = WIDTH) -> Path:
    float_net(width).save(folder / "float.onnx")
    lower(folder / "float.onnx", folder / "int8.onnx", TARGETS[target], BATCHES)
    return folder / "int8.onnx"


def stored(path: Path) -> dict[str, int]:
    """How many float32 numbers are under each name."""
    floats = [one for one in onnx.load(path).graph.initializer if one.data_type == onnx.TensorProto.FLOAT]
    return {one.name: int(np.prod(one.dims)) for one in floats}


def test_no_scale_of_a_channel_is_stored_in_full_and_the_engine_runs_integers_as_before(tmp_path: Path) -> None:
    path = lowered(tmp_path)
    assert max(stored(path).values()) == 1
    assert [n.op_type for n in onnx.load(path).graph.node][:4] == ["Cast", "Cast", "Mul", "Mul"]
    written_out = Graph.load(path)
    assert {"Cast", "Mul"}.isdisjoint(operators(written_out)), "our own tools read numbers"
    for name in ("r.w.scale", "y.w.scale", "r.b.scale", "y.b.scale"):
        assert written_out.constants[name].shape == (WIDTH,)
    wanted = run(written_out, BATCHES[0], tmp_path)["y"]
    np.testing.assert_array_equal(get_runtime("onnx").load(path).run(BATCHES[0])["y"], wanted)
    assert fused(path, tmp_path).count("QLinearConv") == 1, "the last one gives floats"
    assert path.stat().st_size < (tmp_path / "graph.onnx").stat().st_size


@pytest.mark.parametrize("runtime", ["openvino", "mnn"])
def test_other_engines_answer_as_from_scales_in_full(tmp_path: Path, runtime: str) -> None:
    pytest.importorskip({"mnn": "MNN"}.get(runtime, runtime))
    path = lowered(tmp_path, "arm64" if runtime == "mnn" else "openvino")
    Graph.load(path).save(tmp_path / "full.onnx")
    files = (path, tmp_path / "full.onnx")
    derived, full = (run_file(get_runtime(runtime), one, BATCHES[:1])[0]["y"] for one in files)
    np.testing.assert_array_equal(derived, full)
    assert np.abs(full).max() > 0


def test_readers_of_files_see_numbers(tmp_path: Path) -> None:
    model, _ = read_model(lowered(tmp_path))
    assert {node.op_type for node in model.graph.node} == {"QuantizeLinear", "DequantizeLinear", "Conv"}


def test_engines_that_want_constants_get_them(tmp_path: Path) -> None:
    assert stored(lowered(tmp_path, "tensorrt"))["y.w.scale"] == WIDTH


def test_short_scales_stay_as_they_are(tmp_path: Path) -> None:
    assert stored(lowered(tmp_path, width=FEWEST - 1))["y.w.scale"] == FEWEST - 1


def test_what_does_not_follow_is_stored(tmp_path: Path) -> None:
    graph = Graph.load(lowered(tmp_path))
    graph.constants["y.b.scale"] = graph.constants["y.b.scale"] * np.float32(1.001)
    graph.constants["r.w.scale"] = graph.constants["r.w.scale"] * np.float32(1.0001)
    before = {name: value.copy() for name, value in graph.constants.items()}
    assert derive_scales(graph) == 1, "of the second weight alone"
    graph.save(tmp_path / "again.onnx")
    after = Graph.load(tmp_path / "again.onnx").constants
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_half_a_scale_is_the_nearest_and_never_too_small_for_its_weights() -> None:
    scales = np.exp(RNG.uniform(np.log(1e-12), np.log(1e4), 10_000)).astype(np.float32)
    half = to_half(scales)
    np.testing.assert_array_equal(as_half(half), half.astype(np.float16))
    normal = scales > 6.2e-5
    np.testing.assert_allclose(half[normal], scales[normal], rtol=2**-11)
    assert 0.4 < (half[normal] < scales[normal]).mean() < 0.6
    assert (np.rint(127 * scales / half) <= 127).all()
    assert (half > 0).all()


def test_what_float16_does_not_hold_stays_float32() -> None:
    large = np.array([1e5, 0.3], np.float32)
    assert to_half(large)[0] == large[0]
    assert as_half(large) is None
