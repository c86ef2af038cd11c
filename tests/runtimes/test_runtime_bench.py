"""The bench, from graphs to what `bench --json` prints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import MAIN, TensorSpec
from runtimes.bench import BenchReport, BenchSettings, BenchTarget, Progress, bench_models, pairs
from runtimes.isolated import Isolated, Model
from runtimes.timing import TimingPlan

pytest.importorskip("onnxruntime")

WriteGraph = Callable[..., Path]
PLAN = TimingPlan(warmup=1, repeats=20)


def target(model: str, graph: Path, **more: Any) -> BenchTarget:
    return BenchTarget.of_graph(model, graph, **more)


def bench(targets: Sequence[BenchTarget], plan: TimingPlan = PLAN, **more: Any) -> BenchReport:
    progress: Progress | None = more.pop("progress", None)
    return bench_models(targets, BenchSettings(plan, **more), progress)


def test_the_report_is_the_one_that_scripts_rely_on(write_graph: WriteGraph) -> None:
    graph = write_graph()
    targets = [
        target("m fp32", graph, group="m", precision="fp32"),
        target("m int8", graph, group="m", precision="int8"),
    ]
    document = json.loads(json.dumps(bench(targets).as_dict()))
    assert set(document) == {"rows", "verdicts", "skipped", "noise", "operators", "machine"}
    row = document["rows"][0]
    assert list(row) == [
        "model",
        "runtime",
        "latency",
        "size_bytes",
        "cold_start_ms",
        "peak_rss_bytes",
        "load_ms",
        "first_ms",
        "throughput",
        "placement",
        "preprocess_ms",
        "postprocess_ms",
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
    assert (verdict["a"], verdict["b"]) == ("onnx m fp32", "onnx m int8")
    assert verdict["low"] <= verdict["ratio"] <= verdict["high"]


def test_a_graph_with_sixteen_times_the_work_is_slower(save: Callable[..., Path]) -> None:
    def chain(layers: int, name: str) -> Path:
        nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", "w"], [f"x{i + 1}"]) for i in range(layers)]
        values = [helper.make_tensor_value_info(label, TensorProto.FLOAT, ["n", 256]) for label in ("x", f"x{layers}")]
        weight = numpy_helper.from_array(np.eye(256, dtype=np.float32), "w")
        made = save(helper.make_graph(nodes, "g", values[:1], values[1:], [weight]))
        return made.rename(made.with_name(name))

    targets = [
        target("long", chain(16, "long.onnx"), group="g", precision="16"),
        target("short", chain(1, "short.onnx"), group="g", precision="1"),
    ]
    plan = TimingPlan(warmup=5, repeats=60, batch=32)
    (verdict,) = bench(targets, plan).verdicts
    assert verdict.verdict.startswith("onnx short is ") and "x faster than onnx long [" in verdict.verdict
    assert verdict.low > 1


def test_a_precision_is_compared_with_the_one_before_it_in_its_group(
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
    targets = [target(model, graph, group=g, precision=p, runtime="null") for model, g, p in labels]
    report = bench(targets, TimingPlan(warmup=0, repeats=1))
    pairs = [(verdict.a, verdict.b) for verdict in report.verdicts]
    wanted = [("a32", "a16"), ("a16", "a8"), ("a16", "a8 too"), ("b32", "b8")]
    assert pairs == [(f"null {a}", f"null {b}") for a, b in wanted]
    assert [row.model for row in report.rows] == [model for model, _, _ in labels]


def test_a_shape_is_timed_as_given_and_recorded(write_graph: WriteGraph) -> None:
    report = bench([target("m", write_graph(axes=["n", 3, "h", "w"]))], shapes={"x": (2, 3, 4, 5)})
    assert report.rows[0].latency.input_shape == {"x": [2, 3, 4, 5]}
    assert report.rows[0].latency.batch == 2


def test_an_open_axis_says_which_shape_is_missing(write_graph: WriteGraph) -> None:
    with pytest.raises(UsageError, match="--shape x=1,3,h,w"):
        bench([target("m", write_graph(axes=["n", 3, "h", "w"]))])


def test_a_shape_of_no_target_suggests_the_nearest(write_graph: WriteGraph) -> None:
    with pytest.raises(UsageError, match="^unknown input 'xx'; did you mean 'x'"):
        bench([target("m", write_graph())], shapes={"xx": (1, 3)})


def test_given_inputs_and_files_are_used(tmp_path: Path) -> None:
    (tmp_path / "net.param").write_bytes(b"123")
    (tmp_path / "net.bin").write_bytes(b"45678")
    net = target(
        "net",
        tmp_path / "net.param",
        inputs={"main": (TensorSpec("in0", ("N", 4)),)},
        files=(tmp_path / "net.bin",),
        runtime="null",
    )
    (row,) = bench([net], TimingPlan(warmup=0, repeats=2, batch=3)).rows
    assert row.size_bytes == 8
    assert row.latency.input_shape == {"in0": [3, 4]}
    assert row.latency.batch == 3


def test_progress_names_what_is_under_way(write_graph: WriteGraph) -> None:
    seen: list[tuple[str, int, int]] = []
    bench(
        [target("m", write_graph())],
        TimingPlan(warmup=0, repeats=4),
        progress=lambda what, done, total: seen.append((what, done, total)),
    )
    assert seen == [("loading onnx m", 0, 1), ("timing onnx m", 4, 4)]


def test_labels_must_differ(write_graph: WriteGraph) -> None:
    with pytest.raises(ValueError, match="^two targets are called 'onnx m'$"):
        bench([target("m", write_graph())] * 2)


def test_a_broken_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(BadData, match=r"^onnxruntime cannot load '.*bad\.onnx': "):
        bench([target("m", tmp_path / "bad.onnx")])


def test_a_graph_that_crashes_the_engine_does_not_take_the_bench_with_it(
    install: Callable[..., Path], engine_source: Callable[..., str], tmp_path: Path
) -> None:
    install("crashy", "crashy", engine_source("crashy", "os.abort()"))
    (tmp_path / "g").write_bytes(b"1")
    with pytest.raises(EdgeKitError, match="killed by SIGABRT$") as caught:
        bench([target("m", tmp_path / "g", runtime="crashy")])
    assert "\n" not in str(caught.value)


def test_integer_inputs_can_be_timed(save: Callable[[onnx.GraphProto], Path]) -> None:
    values = [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", 4]) for n in ("x", "y")]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = save(helper.make_graph([node], "g", values[:1], values[1:]))
    (row,) = bench([target("m", graph)]).rows
    assert row.latency.input_shape == {"x": [1, 4]}


def test_runtimes_and_threads_are_compared_with_all_else_alike(tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(b"1")
    crossed = [
        target(f"m {precision}", tmp_path / "g", group="m", precision=precision, runtime=runtime, threads=threads)
        for runtime in ("null", "other")
        for precision in ("fp32", "int8")
        for threads in (1, 2)
    ]
    found = {(a.label, b.label) for a, b in pairs(crossed)}
    assert ("null m fp32", "null m int8") in found
    assert ("null m fp32", "null m fp32 on 2 threads") in found
    assert ("null m int8 on 2 threads", "other m int8 on 2 threads") in found
    assert all(
        sum(getattr(a, one) != getattr(b, one) for one in ("runtime", "precision", "threads")) == 1
        for a, b in pairs(crossed)
    )
    assert len(found) == 12  # the edges of a cube


def test_a_runtime_that_cannot_run_a_model_is_passed_over_only_where_that_is_wanted(
    write_graph: WriteGraph, tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    targets = [target("good", write_graph(), group="g"), target("bad", tmp_path / "bad.onnx", group="g")]
    report = bench(targets, tolerant=True)
    assert [row.model for row in report.rows] == ["good"]
    (skipped,) = report.skipped
    assert (skipped.model, skipped.runtime) == ("bad", "onnx")
    assert skipped.reason.startswith("onnxruntime cannot load")
    with pytest.raises(BadData):
        bench(targets)


def test_the_harness_costs_less_than_fifty_microseconds_a_call(tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(b"1")
    picture = {"main": (TensorSpec("image", ("N", 3, 224, 224)),)}
    null = target("g", tmp_path / "g", inputs=picture, runtime="null")
    (row,) = bench([null], TimingPlan(repeats=500)).rows
    assert row.latency.p50_ms < 0.05


def test_a_picture_is_timed_apart_from_the_model(write_graph: WriteGraph) -> None:
    settings = ImagePreprocess(256, 224).as_dict()
    targets = [target("pictures", write_graph(), preprocess=settings), target("none", write_graph())]
    pictures, none = bench(targets).rows
    assert pictures.preprocess_ms is not None and pictures.preprocess_ms > pictures.latency.p50_ms
    assert none.preprocess_ms is None


def test_a_picture_is_timed_on_its_whole_way_to_an_answer(write_graph: WriteGraph) -> None:
    small, large = (ImagePreprocess(short, crop=32).as_dict() for short in (32, 2048))
    with Isolated(Model("onnx", {MAIN: write_graph(axes=("batch", 3, 32, 32))})) as loaded:
        quick, slow = (loaded.picture_to_answer(MAIN, how)(1, 5) for how in (small, large))
    assert len(quick) == len(slow) == 5
    assert np.median(slow) > 10 * np.median(quick)


def test_a_model_that_is_kept_on_one_core_does_not_make_the_machine_smaller(write_graph: WriteGraph) -> None:
    assert bench([target("m", write_graph())]).machine["cores"] == os.cpu_count()
