"""`edge-kit matrix`: a row a model, whatever becomes of it, and nothing done twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edge_kit.report.matrix import as_markdown
from tests.conftest import Cli, Result, install_distribution
from tests.pipeline.test_compress import no_worker_is_left, until_log_says

BAD = """
import os
import signal
from dataclasses import replace

import toy_model
from edge_kit.zoo import MODELS, register


class Crashes(toy_model.ToyNet):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGSEGV)


class Unfit(toy_model.ToyNet):
    def forward(self, x):
        return super().forward(x).reshape([5, -1])


toy = MODELS.get("toynet")
register(replace(toy, id="toycrash", build=Crashes))
register(replace(toy, id="toyunfit", build=Unfit))
"""


@pytest.fixture(scope="module")
def bad_cli(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    site = tmp_path_factory.mktemp("bad")
    install_distribution(site, "toybad", "edge_kit.models", "toy_bad", BAD)
    return session_cli.with_packages(site)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("docs") / "zoo.md"


@pytest.fixture(scope="module")
def run(bad_cli: Cli, page: Path) -> Result:
    names = ("toyunfit", "toynet", "toycrash")
    return bad_cli("matrix", *names, "--train", "--runtime", "onnx,ncnn,openvino", "--out", str(page), "--json")


def test_a_row_tells_what_became_of_every_stage(run: Result) -> None:
    [row] = [row for row in run.json["rows"] if row["id"] == "toynet"]
    assert row["weights"] == "untrained"
    assert row["input"] == {"image": [1, 3, 32, 32]}  # as published: cut from 40
    assert row["parameters"] == 15_098  # with ten classes: 14,768 in the convolutions and norms, 330 in the head
    assert row["published"]["metrics"][0]["value"] == 99
    assert row["metrics"] == {"fp32": [], "int8": []}, "random weights have no metric"
    assert row["drop"] is None
    assert row["speedup"]["low"] <= row["speedup"]["ratio"] <= row["speedup"]["high"]
    assert row["pieces"]["main"]["compared"] > 5
    assert row["pieces"]["main"]["first"] == ""
    assert row["agreement"]["samples"] == 50


def test_a_model_without_weights_is_trained_and_held_to_chance(run: Result, page: Path) -> None:
    [row] = [row for row in run.json["rows"] if row["id"] == "toynet"]
    mini = row["mini"]
    [full], [chance] = mini["metrics"]["fp32"], mini["chance"]
    assert 4 < chance["value"] < 18, "of ten classes, whatever the network gives"
    assert (full["name"], full["samples"]) == (chance["name"], chance["samples"]), "the same scoring"
    assert mini["drop"] == pytest.approx(full["value"] - mini["metrics"]["int8"][0]["value"])
    assert mini["training"]["last_loss"] < mini["training"]["first_loss"]
    told = f"mini at 3x32x32: top1 {full['value']:.2f} %, chance {chance['value']:.2f}; loss "
    assert told in page.read_text()


def test_where_a_task_has_no_metric_the_row_says_so(run: Result) -> None:
    [row] = [row for row in run.json["rows"] if row["id"] == "toynet"]
    mini = {**row["mini"], "metrics": {"fp32": [], "int8": []}, "chance": [], "drop": None}
    text = as_markdown({**run.json, "rows": [{**row, "mini": mini}]})
    assert "mini at 3x32x32: no metric; loss " in text
    assert f"; mini: {mini['agreement']['value']:.4g} % same |" in text


def test_every_runtime_has_its_parity_or_a_reason(run: Result) -> None:
    [row] = [row for row in run.json["rows"] if row["id"] == "toynet"]
    parity = {(one["runtime"], one["precision"]): one for one in row["parity"]}
    assert set(parity) == {(r, p) for r in ("onnx", "ncnn", "openvino") for p in ("fp32", "int8")}
    for runtime in ("onnx", "ncnn", "openvino"):
        assert parity[runtime, "fp32"]["max_rel"] < 1e-4
        assert parity[runtime, "fp32"]["agreement"]["value"] == 100
    assert parity["onnx", "int8"]["agreement"]["value"] > 70
    assert "quantized" in parity["ncnn", "int8"]["reason"]


def test_a_model_that_fails_is_a_row_with_its_reason_and_exit_code_3(run: Result) -> None:
    assert run.code == 3
    assert run.is_one_line(), run.err
    rows = {row["id"]: row for row in run.json["rows"]}
    assert list(rows) == ["toycrash", "toynet", "toyunfit"]  # by family and id
    assert "crashed with SIGSEGV" in rows["toycrash"]["reason"]
    assert "stage 'train' failed" in rows["toyunfit"]["reason"]
    assert rows["toynet"]["reason"] == ""
    assert "2 thing(s) fell short: toycrash: " in run.err


def test_the_page_holds_the_same_figures_and_no_folder_of_this_machine(run: Result, page: Path, bad_cli: Cli) -> None:
    text = page.read_text()
    assert text == as_markdown(run.json)
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "| failed [" in lines["toycrash"]
    assert "| untrained; mini at " in lines["toynet"]
    assert "15,098 (published 16,586)" in lines["toynet"]
    assert "top1 99 % (not compared)" in lines["toynet"]
    assert set(lines) == {"model", "---", "toycrash", "toynet", "toyunfit"}
    assert {line.count(" | ") for line in lines.values()} == {12}
    for told in (*run.json["conditions"]["engines"].values(), run.json["conditions"]["machine"]["cpu"], "1 thread"):
        assert told in text
    assert str(bad_cli.workspace) not in text


def test_again_nothing_is_done_twice(run: Result, bad_cli: Cli) -> None:
    again = bad_cli("matrix", "toynet", "--runtime", "onnx,ncnn,openvino", "--json")
    assert again.code == 0, again.err
    assert all("was done before" in line for line in again.err.splitlines()), again.err
    [row] = [row for row in run.json["rows"] if row["id"] == "toynet"]
    assert again.json["rows"] == [{**row, "mini": None}], "nothing is trained unless asked"
    shown = bad_cli("matrix", "toynet", "--runtime", "onnx,ncnn,openvino")
    assert "untrained" in shown.out
    assert run.json["conditions"]["engines"]["openvino"] in shown.out


@pytest.mark.slow
def test_interrupted_it_goes_on_from_there(cli: Cli) -> None:
    process = cli.start("matrix", "toynet", "--runtime", "onnx")
    until_log_says(cli, "=== stage quantize:", 60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert no_worker_is_left(cli)
    again = cli("matrix", "toynet", "--runtime", "onnx")
    assert again.code == 0, again.err
    done = {line.split()[1]: "was done before" in line for line in again.err.splitlines()}
    assert (done["data"], done["settled"], done["measure"]) == (True, True, False)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("toynot",), "unknown model 'toynot'; did you mean 'toynet'?"),
        (("toynet", "--runtime", "onix"), "unknown runtime 'onix'; did you mean 'onnx'?"),
        (("toynet", "--threads", "0"), "--threads, --repeats and --samples must be at least 1"),
        (("toynet", "--samples", "0"), "--threads, --repeats and --samples must be at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_request_that_makes_no_sense_is_exit_code_2(args: tuple[str, ...], said: str, cli: Cli) -> None:
    done = cli("matrix", *args)
    assert (done.code, done.is_one_line()) == (2, True), done.err
    assert said in done.err
