"""`edge-kit bench` on what a user may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli, Result

QUICK = ("--repeats", "20", "--warmup", "1", "--seconds", "0")


def test_a_zoo_model_nobody_trained_is_timed_and_labelled_so(session_cli: Cli) -> None:
    done = session_cli("bench", "toynet", "--workspace", str(session_cli.workspace / "untrained"), *QUICK, "--json")
    assert done.code == 0, done.err
    [row] = done.json["rows"]
    assert row["model"] == "toynet fp32 (random weights)"
    assert row["latency"]["input_shape"] == {"image": [1, 3, 32, 32]}
    assert "metric" not in row


def test_a_paddle_inference_model_runs_on_paddle_and_as_onnx(toy_run: Result, session_cli: Cli, tmp_path: Path) -> None:
    bundle = Path(toy_run.json["bundle"])
    for name in ("main.pdmodel", "main.pdiparams"):
        (tmp_path / name).write_bytes((bundle / "paddle" / name).read_bytes())
    model = str(tmp_path / "main.pdmodel")
    done = session_cli("bench", model, "--runtime", "paddle,onnx", *QUICK, "--json")
    assert done.code == 0, done.err
    assert {row["runtime"] for row in done.json["rows"]} == {"paddle", "onnx"}
    [verdict] = done.json["verdicts"]
    assert (verdict["a"], verdict["b"]) == (f"paddle {model}", f"onnx {model}")


def test_every_installed_runtime_runs_the_full_precision_graph_of_a_bundle(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("bench", toy_run.json["bundle"], "--runtime", "all", *QUICK, "--json")
    assert done.code == 0, done.err
    ran = {row["runtime"] for row in done.json["rows"] if row["model"].endswith("fp32")}
    assert ran == {"mnn", "ncnn", "onnx", "openvino", "paddle"}
    told = {(one["model"].split()[-1], one["runtime"]) for one in done.json["skipped"]}
    assert ("int8", "paddle") in told
    assert all(one["reason"] and "\n" not in one["reason"] for one in done.json["skipped"])


def test_what_comes_before_and_behind_inference_is_told_of_a_bundle(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("bench", toy_run.json["bundle"], *QUICK, "--json")
    assert done.code == 0, done.err
    for row in done.json["rows"]:
        assert row["preprocess_ms"] > 0
        assert 0 < row["postprocess_ms"] < 20, "five of ten classes are ranked"
    shown = session_cli("bench", toy_run.json["bundle"], *QUICK)
    assert "picture ms" in shown.out and "answer ms" in shown.out
    graph = session_cli("bench", str(Path(toy_run.json["bundle"]) / "fp32/main.onnx"), *QUICK, "--json")
    assert graph.json["rows"][0]["postprocess_ms"] is None


def test_a_sweep_of_threads_compares_each_with_the_one_before(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("bench", toy_run.json["bundle"], "--threads", "1,2", *QUICK, "--json")
    assert done.code == 0, done.err
    assert {row["latency"]["threads"] for row in done.json["rows"]} == {1, 2}
    name = Path(toy_run.json["bundle"]).name
    pairs = {(verdict["a"], verdict["b"]) for verdict in done.json["verdicts"]}
    assert (f"onnx {name} int8", f"onnx {name} int8 on 2 threads") in pairs


def test_a_profile_gives_the_time_of_every_operator(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("bench", toy_run.json["bundle"], "--profile", *QUICK, "--json")
    operators = done.json["operators"][f"onnx {Path(toy_run.json['bundle']).name} int8"]
    assert "QLinearConv" in {one["kind"] for one in operators}
    assert all(one["ms"] >= 0 for one in operators)


def test_a_camera_and_a_long_run_are_told(toy_run: Result, session_cli: Cli) -> None:
    args = ("--fps", "200", "--minutes", "0.02", *QUICK)
    done = session_cli("bench", toy_run.json["bundle"], *args, "--json")
    assert done.code == 0, done.err
    for one in done.json["frames"]:
        assert one["report"]["served"] + one["report"]["dropped"] == 240
    for curve in done.json["sustained"]:
        assert curve["points"][-1]["second"] >= 1.2
        assert "over 1 s" in curve["verdict"]
    shown = session_cli("bench", toy_run.json["bundle"], *args)
    assert "a camera of 200 frames a second" in shown.out
    assert "keeps its speed" in shown.out or "slower than it starts" in shown.out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--threads", "1,x"), "--threads takes numbers from 1 on"),
        (("--threads", "0"), "--threads takes numbers from 1 on"),
        (("--cpus", "-1"), "--cpus takes numbers from 0 on"),
        (("--cpus", "9999"), "no processor 9999 here"),
        (("--fps", "-3"), "--fps must not be negative"),
        (("--minutes", "nan"), "--minutes must not be negative"),
        (("--runtime", "onyx"), "unknown runtime 'onyx'; did you mean 'onnx'?"),
        (("--runtime", "onnx,"), "unknown runtime ''"),
        (("--on", "board"), "--on takes ssh://user@host"),
        (("--seconds", "-1"), "seconds must not be negative"),
        (("--device", "gpu"), "has no device 'gpu' here"),
    ],
)
def test_what_makes_no_sense_is_one_line(toy_run: Result, session_cli: Cli, args: tuple[str, ...], said: str) -> None:
    done = session_cli("bench", toy_run.json["bundle"], *args)
    assert done.code == 2, done.err
    assert done.is_one_line(), done.err
    assert said in done.err


def test_a_name_that_is_nothing_suggests_the_nearest(session_cli: Cli) -> None:
    done = session_cli("bench", "mobilenetv")
    assert done.code == 2
    assert "unknown bundle, file or zoo model 'mobilenetv'; did you mean 'mobilenetv" in done.err


def test_a_model_named_twice_is_refused(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("bench", toy_run.json["bundle"], toy_run.json["bundle"])
    assert done.code == 2
    assert "is named twice" in done.err
