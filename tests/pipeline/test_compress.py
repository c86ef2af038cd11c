"""The pipeline from end to end, on a toy that trains in seconds; `test_main_job.py` has the real one."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from convert.graph import Graph
from tests.conftest import ROOT, TOY, Cli, Result

LATENCY_KEYS = {
    "p50_ms", "p90_ms", "p99_ms", "runtime", "runtime_version", "device", "threads", "batch", "warmup", "repeats",
    "input_shape",
}  # fmt: skip
STAGES = ["data", "train", "export", "quantize", "lower", "judge", "measure", "bundle"]


def until_log_says(cli: Cli, text: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while text not in cli.logs():
        assert time.monotonic() < end, f"{text!r} never came; the log is:\n{cli.logs()}"
        time.sleep(0.02)


def no_worker_is_left(cli: Cli) -> bool:
    """No process of this test's workspace survives; looked for a short while, as ends take a moment."""
    for _ in range(50):
        found = subprocess.run(["pgrep", "-f", "edge_kit.pipeline.worker"], capture_output=True, text=True).stdout
        ours = [pid for pid in found.split() if str(cli.workspace) in environment_of(pid)]
        if not ours:
            return True
        time.sleep(0.1)
    return False


def environment_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""


def test_json_is_the_contract(toy_run: Result) -> None:
    assert toy_run.code == 0, toy_run.err
    report = toy_run.json
    assert report["id"] == "toynet"
    assert [stage["name"] for stage in report["stages"]] == STAGES
    assert all(stage["seconds"] > 0 and stage["cached"] is False for stage in report["stages"])
    assert set(report["models"]) == {"fp32", "int8"}
    for model in report["models"].values():
        assert Path(model["path"]).is_dir()
        size = sum(file.stat().st_size for file in Path(model["path"]).iterdir())
        assert model["size_bytes"] == size
        assert set(model["metric"]) == {"name", "value", "unit", "dataset", "samples", "lower_is_better"}
        assert model["metric"]["samples"] == 200
        assert set(model["latency"]) >= LATENCY_KEYS
        assert 0 < model["latency"]["p50_ms"] <= model["latency"]["p90_ms"] <= model["latency"]["p99_ms"]
        assert model["latency"]["input_shape"] == {"image": [1, 3, 32, 32]}
    # 432 + 4608 + 288 + 9216 weights, 224 of batch norm, 330 of the head; 110592 + 294912 + 18432 + 147456 + 320
    assert report["facts"]["size"]["fp32"] == {"parameters": 15_098, "macs": 571_712}
    for check in report["checks"]:
        assert set(check) >= {"name", "value", "limit", "ok"}


def test_a_published_row_is_shown_as_not_comparable_and_never_as_passed(toy_run: Result) -> None:
    [row] = [check for check in toy_run.json["checks"] if "published" in check["name"]]
    assert row["ok"] is None
    assert row["limit"] == 99.0
    assert row["note"].startswith("not comparable: mini-imagenet val")


def test_a_second_run_reuses_everything_and_its_table_agrees_with_the_json(toy_run: Result, session_cli: Cli) -> None:
    began = time.monotonic()
    again = session_cli(*TOY)
    assert time.monotonic() - began < 15
    assert again.code == 0, again.err
    assert again.err.count("was done before") == len(STAGES)
    report = toy_run.json
    for model in report["models"].values():
        assert f"{model['latency']['p50_ms']:.3f}" in again.out
        assert f"{model['metric']['value']:.2f}" in again.out
    assert report["digest"] in again.out


def test_nothing_the_engines_print_reaches_the_terminal(toy_run: Result, session_cli: Cli) -> None:
    assert all(line.startswith("  ") for line in toy_run.err.splitlines()), toy_run.err
    assert "Paddle2ONNX" in session_cli.logs()


def test_the_bundle_verifies_and_a_changed_byte_is_found(toy_run: Result, session_cli: Cli, tmp_path: Path) -> None:
    good = session_cli("verify", toy_run.json["bundle"], "--json")
    assert good.code == 0, good.err
    copy = tmp_path / "copy"
    shutil.copytree(toy_run.json["bundle"], copy)
    graph = copy / "int8/main.onnx"
    content = bytearray(graph.read_bytes())
    content[-20] ^= 1
    graph.write_bytes(bytes(content))
    bad = session_cli("verify", str(copy))
    assert bad.code == 3
    assert bad.is_one_line()
    assert "'int8/main.onnx' of bundle" in bad.err


def test_bench_with_no_model_measures_every_bundle_fp32_beside_int8(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("bench", "--runtime", "onnx", "--repeats", "30", "--json")
    assert done.code == 0, done.err
    models = [row["model"] for row in done.json["rows"]]
    assert {"toynet fp32", "toynet int8"} <= set(models)
    pairs = [(v["a"], v["b"]) for v in done.json["verdicts"]]
    assert ("onnx toynet fp32", "onnx toynet int8") in pairs
    assert all(set(row["latency"]) >= LATENCY_KEYS for row in done.json["rows"])
    assert all(row["cold_start_ms"] > 0 and row["peak_rss_bytes"] > 1e6 for row in done.json["rows"])


def test_a_check_that_falls_short_is_exit_code_3_and_names_it(
    toy_run: Result, session_cli: Cli, tmp_path: Path
) -> None:
    shutil.copytree(session_cli.workspace, tmp_path / "copy", symlinks=True)  # other tests hold the bundle to be good
    cli = session_cli.in_workspace(tmp_path / "copy")
    done = cli("compress", "toynet", "--calibration", "40", "--max-size-ratio", "0.0001")
    assert done.code == 3
    assert done.is_one_line()
    assert "int8 size ratio" in done.err


def test_a_pruned_model_has_the_work_that_was_asked_for(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli(*TOY, "--prune", "0.4", "--json")
    assert done.code == 0, done.err
    report = done.json
    assert set(report["models"]) == {"fp32", "pruned", "int8"}
    full, pruned = (report["facts"]["size"][name] for name in ("fp32", "pruned"))
    assert pruned["macs"] <= 0.62 * full["macs"]
    assert pruned["parameters"] < full["parameters"]
    assert report["models"]["pruned"]["size_bytes"] < report["models"]["fp32"]["size_bytes"]
    assert report["bundle"] != toy_run.json["bundle"]


def test_the_bundle_runs_where_there_is_only_numpy_and_onnx_runtime(toy_run: Result, tmp_path: Path) -> None:
    """An environment like a board's: our packages, NumPy, ONNX Runtime, and nothing else to import."""
    site = tmp_path / "site"
    site.mkdir()
    import numpy
    import onnxruntime

    packages = Path(numpy.__file__).parent.parent
    needed = [
        "numpy",
        "numpy.libs",
        "onnxruntime",
        "flatbuffers",
        "packaging",
        "google",
        "coloredlogs",
        "humanfriendly",
    ]
    for name in [*needed, "sympy", "mpmath"]:
        if (packages / name).exists():
            (site / name).symlink_to(packages / name)
    assert Path(onnxruntime.__file__).parent.parent == packages
    for name in ("edge_kit", "runtimes"):
        (site / name).symlink_to(ROOT / name)
    code = f"""
import sys
sys.path.insert(0, {str(site)!r})
for absent in ("paddle", "onnx", "cv2", "typer", "rich", "filelock", "safetensors"):
    try:
        __import__(absent)
    except ImportError:
        continue
    raise SystemExit(f"{{absent}} is there")
from pathlib import Path
import numpy as np
from edge_kit.core.bundle import Bundle
from runtimes.deploy import load_bundle
bundle = Bundle(Path({toy_run.json["bundle"]!r}))
bundle.verify()
frame = np.full((32, 32, 3), 128, np.uint8)
batch = {{"image": bundle.preprocess()(frame)[None]}}
for precision in ("fp32", "int8"):
    logits = load_bundle(bundle, precision=precision)["main"].run(batch)["logits"]
    print(precision, bundle.manifest.labels[int(logits.argmax())], logits.shape, np.isfinite(logits).all())
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["fp32", "int8"]
    assert all("digit" in line and line.endswith("(1, 10) True") for line in lines)


def kill_in_stage(stage: str, cli: Cli, *args: str) -> None:
    """Start a command and end it the hard way in a stage; its workers end, too."""
    run = cli.start(*args)
    until_log_says(cli, f"=== stage {stage}:")
    time.sleep(0.3)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert no_worker_is_left(cli)


@pytest.mark.parametrize(
    "stage",
    [
        "train",
        pytest.param("export", marks=pytest.mark.slow),
        pytest.param("quantize", marks=pytest.mark.slow),
        "lower",
    ],
)
def test_after_a_kill_the_next_run_goes_on_and_ends_with_the_same_bundle(stage: str, toy_run: Result, cli: Cli) -> None:
    kill_in_stage(stage, cli, *TOY)
    again = cli(*TOY, "--json")
    assert again.code == 0, again.err
    before = STAGES[: STAGES.index(stage)]
    assert [s["name"] for s in again.json["stages"] if s["cached"]] == before
    assert again.json["digest"] == toy_run.json["digest"]


def test_a_stage_whose_process_is_killed_is_one_line_that_names_the_log(cli: Cli) -> None:
    run = cli.start(*TOY)
    until_log_says(cli, "=== stage train:")
    found = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(found[0]), signal.SIGKILL)
    _, err = run.communicate()
    assert run.returncode == 1
    result = Result(run.returncode, "", err)
    assert result.is_one_line()
    assert "stage 'train' crashed with SIGKILL; its log: " in err
    assert Path(err.strip().splitlines()[-1].rpartition("its log: ")[2]).is_file()


def until_it_is_in_our_hands(pid: int) -> None:
    """Python, which sets a handler first of all, may swallow an interrupt while it starts; ours takes it off again."""
    caught = []
    while not (caught and not caught[-1]):
        [mask] = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
        handles = bool(int(mask, 16) >> (signal.SIGINT - 1) & 1)
        if handles or caught:
            caught.append(handles)
        time.sleep(0.0005)


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.6, 0.9, 1.5, 4.0])
def test_ctrl_c_at_any_moment_is_one_line_and_leaves_no_process(after: float, cli: Cli) -> None:
    run = cli.start(*TOY)
    if after >= 1:
        until_log_says(cli, "=== stage data:")
    else:
        until_it_is_in_our_hands(run.pid)
    time.sleep(after)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert run.returncode in (130, -signal.SIGINT), err
    assert "Traceback" not in err
    assert no_worker_is_left(cli)


def test_lowering_is_given_the_weights_that_paddleslim_was(toy_run: Result, session_cli: Cli) -> None:
    made = (session_cli.workspace / "stages").glob("quantize-*/main.onnx")
    graph = Graph.load(min(made, key=lambda path: path.stat().st_mtime))
    grids = {
        node.input[0]: graph.constants[node.input[1]]
        for node in graph.nodes
        if node.op_type == "QuantizeLinear" and graph.is_constant(node.input[0])
    }
    assert len(grids) >= 4
    for name, scale in grids.items():
        weight = graph.constants[name]
        steps = weight.reshape(len(weight), -1) / scale.reshape(-1, 1)
        assert np.abs(steps - np.rint(steps)).max() > 0.3, f"{name} is rounded"


def test_two_runs_at_once_do_the_work_once_and_agree(toy_run: Result, cli: Cli) -> None:
    runs = [cli.start(*TOY, "--json") for _ in range(2)]
    results = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], results
    reports = [Result(0, out, err).json for out, err in results]
    assert {report["digest"] for report in reports} == {toy_run.json["digest"]}
    assert cli.logs().count("=== stage train:") == 1


def test_weights_from_a_file_are_taken_instead_of_training(toy_run: Result, session_cli: Cli, cli: Cli) -> None:
    made = (session_cli.workspace / "stages").glob("train-*/weights.safetensors")
    trained = min(made, key=lambda path: path.stat().st_mtime)  # the first: others were pruned before
    done = cli(*TOY, "--weights", str(trained), "--json")
    assert done.code == 0, done.err
    assert "train" not in [stage["name"] for stage in done.json["stages"]]
    assert done.json["models"]["fp32"]["metric"] == toy_run.json["models"]["fp32"]["metric"]
