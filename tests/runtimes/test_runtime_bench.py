"""The bench, from graphs to what `bench --json` prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import TensorSpec
from runtimes.bench import BenchTarget, bench_graphs
from runtimes.timing import TimingPlan

pytest.importorskip("onnxruntime")

WriteGraph = Callable[..., Path]
PLAN = TimingPlan(warmup=1, repeats=20)


def test_the_report_is_the_one_that_scripts_rely_on(write_graph: WriteGraph) -> None:
    graph = write_graph()
    targets = [
        BenchTarget("m fp32", graph, group="m", precision="fp32"),
        BenchTarget("m int8", graph, group="m", precision="int8"),
    ]
    document = json.loads(json.dumps(bench_graphs(targets, "onnx", PLAN).as_dict()))
    assert set(document) == {"rows", "verdicts"}
    row = document["rows"][0]
    assert list(row) == [
        "model",
        "runtime",
        "latency",
        "size_bytes",
        "cold_start_ms",
        "peak_rss_bytes",
    ]
    assert [row["model"] for row in document["rows"]] == ["m fp32", "m int8"]
    assert row["runtime"] == "onnx"
    assert row["size_bytes"] == graph.stat().st_size
    assert row["cold_start_ms"] > 0
    assert row["peak_rss_bytes"] > 10 << 20  # Python, NumPy and the engine
    assert row["latency"]["input_shape"] == {"x": [1, 3]}
    assert 0 < row["latency"]["p50_ms"] <= row["latency"]["p90_ms"] <= row["latency"]["p99_ms"]
    (verdict,) = document["verdicts"]
    assert list(verdict) == ["a", "b", "ratio", "low", "high", "verdict"]
    assert (verdict["a"], verdict["b"]) == ("m fp32", "m int8")
    assert verdict["low"] <= verdict["ratio"] <= verdict["high"]


def test_a_graph_with_sixteen_times_the_work_is_slower(save: Callable[..., Path]) -> None:
    def chain(layers: int, name: str) -> Path:
        nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", "w"], [f"x{i + 1}"]) for i in range(layers)]
        values = [helper.make_tensor_value_info(label, TensorProto.FLOAT, ["n", 256]) for label in ("x", f"x{layers}")]
        weight = numpy_helper.from_array(np.eye(256, dtype=np.float32), "w")
        made = save(helper.make_graph(nodes, "g", values[:1], values[1:], [weight]))
        return made.rename(made.with_name(name))

    targets = [
        BenchTarget("long", chain(16, "long.onnx"), group="g", precision="16"),
        BenchTarget("short", chain(1, "short.onnx"), group="g", precision="1"),
    ]
    plan = TimingPlan(warmup=5, repeats=60, batch=32)
    (verdict,) = bench_graphs(targets, "onnx", plan).verdicts
    assert verdict.verdict.startswith("short is ") and "x faster than long [" in verdict.verdict
    assert verdict.low > 1


def test_only_neighbours_of_one_group_that_differ_in_precision_are_compared(
    tmp_path: Path,
) -> None:
    graph = tmp_path / "g"
    graph.write_bytes(b"1")
    labels = [
        ("a32", "a", "fp32"),
        ("b32", "b", "fp32"),
        ("a16", "a", "fp16"),
        ("a8", "a", "int8"),
        ("a8 too", "a", "int8"),
        ("b8", "b", "int8"),
        ("alone", "", "fp32"),
        ("alone too", "", "int8"),
    ]
    targets = [BenchTarget(model, graph, group=g, precision=p) for model, g, p in labels]
    report = bench_graphs(targets, "null", TimingPlan(warmup=0, repeats=1))
    pairs = [(verdict.a, verdict.b) for verdict in report.verdicts]
    assert pairs == [("a32", "a16"), ("a16", "a8"), ("b32", "b8")]
    assert [row.model for row in report.rows] == [model for model, _, _ in labels]


def test_a_shape_is_timed_as_given_and_recorded(write_graph: WriteGraph) -> None:
    target = BenchTarget("m", write_graph(axes=["n", 3, "h", "w"]))
    report = bench_graphs([target], "onnx", PLAN, shapes={"x": (2, 3, 4, 5)})
    assert report.rows[0].latency.input_shape == {"x": [2, 3, 4, 5]}
    assert report.rows[0].latency.batch == 2


def test_an_open_axis_says_which_shape_is_missing(write_graph: WriteGraph) -> None:
    target = BenchTarget("m", write_graph(axes=["n", 3, "h", "w"]))
    with pytest.raises(UsageError, match="--shape x=1,3,h,w"):
        bench_graphs([target], "onnx", PLAN)


def test_a_shape_of_no_target_suggests_the_nearest(write_graph: WriteGraph) -> None:
    with pytest.raises(UsageError, match="^unknown input 'xx'; did you mean 'x'"):
        bench_graphs([BenchTarget("m", write_graph())], "onnx", PLAN, shapes={"xx": (1, 3)})


def test_given_inputs_and_files_are_used(tmp_path: Path) -> None:
    (tmp_path / "net.param").write_bytes(b"123")
    (tmp_path / "net.bin").write_bytes(b"45678")
    target = BenchTarget(
        "net",
        tmp_path / "net.param",
        inputs=(TensorSpec("in0", ("N", 4)),),
        files=(tmp_path / "net.bin",),
    )
    (row,) = bench_graphs([target], "null", TimingPlan(warmup=0, repeats=2, batch=3)).rows
    assert row.size_bytes == 8
    assert row.latency.input_shape == {"in0": [3, 4]}
    assert row.latency.batch == 3


def test_progress_names_what_is_under_way(write_graph: WriteGraph) -> None:
    seen: list[tuple[str, int, int]] = []
    bench_graphs(
        [BenchTarget("m", write_graph())],
        "onnx",
        TimingPlan(warmup=0, repeats=2),
        lambda what, done, total: seen.append((what, done, total)),
    )
    assert seen == [("cold start of m", 0, 1), ("timing m", 1, 2), ("timing m", 2, 2)]


def test_labels_must_differ(write_graph: WriteGraph) -> None:
    with pytest.raises(ValueError, match="^two targets are called 'm'$"):
        bench_graphs([BenchTarget("m", write_graph())] * 2, "onnx", PLAN)


def test_a_broken_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(BadData, match=r"^onnxruntime cannot load '.*bad\.onnx': "):
        bench_graphs([BenchTarget("m", tmp_path / "bad.onnx")], "onnx", PLAN)


def test_a_graph_that_crashes_the_engine_does_not_take_the_bench_with_it(
    install: Callable[..., Path], engine_source: Callable[..., str], tmp_path: Path
) -> None:
    install("crashy", "crashy", engine_source("crashy", "os.abort()"))
    (tmp_path / "g").write_bytes(b"1")
    with pytest.raises(EdgeKitError, match="killed by SIGABRT$") as caught:
        bench_graphs([BenchTarget("m", tmp_path / "g")], "crashy", PLAN)
    assert "\n" not in str(caught.value)


def test_integer_inputs_can_be_timed(save: Callable[[onnx.GraphProto], Path]) -> None:
    values = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", 4]) for n in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = save(helper.make_graph([node], "g", values[:1], values[1:]))
    (row,) = bench_graphs([BenchTarget("m", graph)], "onnx", PLAN).rows
    assert row.latency.input_shape == {"x": [1, 4]}
