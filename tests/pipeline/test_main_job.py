"""`edge-kit compress mobilenetv2` with no other argument, as the README's reader meets it."""

import os
import signal
import time
from pathlib import Path

import pytest

from edge_kit.core.bundle import Bundle
from runtimes.bench import BenchSettings, BenchTarget, bench_models
from runtimes.timing import TimingPlan
from tests.conftest import ROOT, Cli, Result
from tests.pipeline.test_compress import no_worker_is_left, until_log_says

FIVE_MINUTES = 300
PACKAGED = str(ROOT / "edge_kit/zoo/weights/mobilenetv2.safetensors")


@pytest.fixture(scope="module", params=["packaged", pytest.param("trained", marks=pytest.mark.slow)])
def job(request: pytest.FixtureRequest, session_cli: Cli) -> tuple[list[str], Result]:
    """The main job, command and result: as it stands, and without its one epoch, which is most of it on one core."""
    if request.param == "trained":
        return ["compress", "mobilenetv2", "--json"], request.getfixturevalue("mobilenetv2_run")
    command = ["compress", "mobilenetv2", "--weights", PACKAGED, "--json"]
    return command, session_cli(*command)


def test_it_is_done_in_five_minutes_and_every_check_holds(job: tuple[list[str], Result]) -> None:
    assert job[1].code == 0, job[1].err
    report = job[1].json
    assert sum(stage["seconds"] for stage in report["stages"]) < FIVE_MINUTES
    assert not [check for check in report["checks"] if check["ok"] is False]


def test_int8_is_as_right_smaller_and_faster(job: tuple[list[str], Result]) -> None:
    fp32, int8 = (job[1].json["models"][name] for name in ("fp32", "int8"))
    assert fp32["metric"]["samples"] == 1000
    assert fp32["metric"]["value"] >= 95
    assert fp32["metric"]["value"] - int8["metric"]["value"] <= 0.5
    assert int8["size_bytes"] <= 0.30 * fp32["size_bytes"]
    assert int8["latency"]["p50_ms"] < fp32["latency"]["p50_ms"]


def test_the_network_is_the_published_one_but_for_its_ten_classes(job: tuple[list[str], Result]) -> None:
    """1,000 classes have 1,281,000 parameters in the head, ten have 12,810."""
    size = job[1].json["facts"]["size"]["fp32"]
    assert size["parameters"] == 3_505_960 - 1_281_000 + 12_810


def test_again_takes_less_than_fifteen_seconds(job: tuple[list[str], Result], session_cli: Cli) -> None:
    began = time.monotonic()
    again = session_cli(*job[0])
    assert time.monotonic() - began < 15
    assert again.code == 0
    assert all(stage["cached"] for stage in again.json["stages"])
    assert again.json["digest"] == job[1].json["digest"]


def test_no_node_of_the_int8_graph_is_left_float(job: tuple[list[str], Result]) -> None:
    lowering = job[1].json["facts"]["lowering"]["main"]
    assert lowering["left_float"] == {}
    assert lowering["quantized"] == {"Conv": 53, "Add": 10, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


@pytest.mark.slow
def test_half_the_work_costs_at_most_two_points_and_is_faster_still(mobilenetv2_run: Result, session_cli: Cli) -> None:
    done = session_cli("compress", "mobilenetv2", "--prune", "0.5", "--json")
    assert done.code == 0, done.err
    size = done.json["facts"]["size"]
    assert 0.48 <= size["pruned"]["macs"] / size["fp32"]["macs"] <= 0.5
    models = done.json["models"]
    assert models["fp32"]["metric"]["value"] - models["int8"]["metric"]["value"] <= 2
    graphs = {
        name: Bundle(Path(result.json["bundle"])).graph("int8", "main")
        for name, result in (("whole", mobilenetv2_run), ("half", done))
    }
    targets = [BenchTarget.of_graph(name, path, group="g", precision=name) for name, path in graphs.items()]
    [verdict] = bench_models(targets, BenchSettings(TimingPlan())).verdicts
    assert verdict.low > 1, verdict.verdict


@pytest.mark.slow
def test_killed_in_training_it_goes_on_from_the_checkpoint_to_the_same_bundle(
    mobilenetv2_run: Result, cli: Cli
) -> None:
    run = cli.start("compress", "mobilenetv2")
    until_log_says(cli, "=== stage train:", 120)
    deadline = time.monotonic() + 120
    while not list((cli.workspace / "scratch").glob("train-*/checkpoint.safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert no_worker_is_left(cli)
    again = cli("compress", "mobilenetv2", "--json")
    assert again.code == 0, again.err
    report = next((cli.workspace / "stages").glob("train-*/report.json")).read_text()
    assert '"resumed_at": 0' not in report
    assert again.json["digest"] == mobilenetv2_run.json["digest"]
