"""`reproduce`: a receipt that is true holds, and one that is not is found out, claim by claim."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_kit.core.bundle import SEAL, SENTINEL, Bundle, write_bundle
from tests.conftest import Cli, Result
from tests.pipeline.remade import remade, with_weights

Outcomes = dict[str, tuple[str, str]]


def outcomes(done: Result) -> Outcomes:
    return {claim["name"]: (claim["outcome"], claim["note"]) for claim in done.json["claims"]}


def differing(done: Result) -> dict[str, str]:
    assert done.code == 3 and done.is_one_line(), (done.code, done.err)
    return {name: note for name, (outcome, note) in outcomes(done).items() if outcome == "differs"}


def with_receipt(bundle: Bundle, folder: Path, change: Callable[[dict[str, Any]], None]) -> Bundle:
    """The same bundle with another receipt, all its records in order."""
    out = folder / bundle.path.name
    out.mkdir(parents=True)
    receipt = {key: value for key, value in bundle.receipt().items() if key not in ("bundle", SEAL)}
    change(receipt)
    graphs = {p: {g: bundle.graph(p, g) for g in named} for p, named in bundle.manifest.graphs.items()}
    paddle = {name: bundle.paddle_graph(name) for name in bundle.manifest.paddle}
    write_bundle(out, replace(bundle.manifest), graphs, receipt, paddle, bundle.path / SENTINEL)
    return Bundle(out)


@pytest.fixture(scope="module")
def toy(toy_run: Result) -> Bundle:
    assert toy_run.code == 0, toy_run.err
    return Bundle(Path(toy_run.json["bundle"]))


def test_what_was_just_made_holds(toy: Bundle, session_cli: Cli) -> None:
    found = outcomes(session_cli("reproduce", str(toy.path), "--json"))
    held = {name for name, (outcome, _) in found.items() if outcome == "holds"}
    assert {
        "files", "version of onnxruntime", "fp32 bytes", "int8 bytes", "fp32 parity main/logits", "published rows",
        "calibration set", "fp32 top1", "int8 top1", "int8 top5", "int8 same top1", "int8 largest error main/logits",
    } <= held  # fmt: skip
    assert "int8 latency ratio" in found  # the toy runs in microseconds: what is said of it depends on the moment


def more_accurate(receipt: dict[str, Any]) -> None:
    receipt["models"]["int8"]["metrics"][0]["value"] += 0.5


def other_calibration(receipt: dict[str, Any]) -> None:
    receipt["quantization"]["calibration"]["sha256"] = "0" * 64


def smaller(receipt: dict[str, Any]) -> None:
    receipt["models"]["int8"]["size_bytes"] -= 1


def better_published_row(receipt: dict[str, Any]) -> None:
    receipt["reference"][0]["value"] = 50.0


@pytest.mark.parametrize(
    ("change", "name", "note"),
    [
        (more_accurate, "int8 top1", "by -0.5; 200 samples of mini-imagenet val, 200 of mini-imagenet val there"),
        (other_calibration, "calibration set", "the samples are others, or are read in another way here"),
        (smaller, "int8 bytes", "by +1"),
        (better_published_row, "published rows", "[0].value is 50.0 there and 99.0 in this zoo"),
    ],
)
def test_a_claim_that_is_not_true_differs_by_so_much(
    change: Callable[[dict[str, Any]], None], name: str, note: str, toy: Bundle, session_cli: Cli, tmp_path: Path
) -> None:
    found = differing(session_cli("reproduce", str(with_receipt(toy, tmp_path, change).path), "--json"))
    found.pop("int8 latency ratio", None)
    assert found == {name: note}


def test_another_graph_and_a_changed_file_are_found(toy: Bundle, session_cli: Cli, tmp_path: Path) -> None:
    graph = with_weights(toy.graph("int8", "main"), tmp_path / "worse.onnx", lambda i, w: w[::-1])
    found = differing(session_cli("reproduce", str(remade(toy, tmp_path, {"int8": graph}).path), "--json"))
    assert {"int8 same top1", "int8 largest error main/logits"} <= set(found)
    shutil.copytree(toy.path, tmp_path / "changed")
    (tmp_path / "changed/int8/main.onnx").write_bytes(graph.read_bytes())
    found = differing(session_cli("reproduce", str(tmp_path / "changed"), "--json"))
    assert "'int8/main.onnx'" in found["files"] and "was changed" in found["files"]


def with_layers_in_float(receipt: dict[str, Any]) -> None:
    """As after `--max-drop`: what INT8 throughout would have been was measured, and is not in the bundle."""
    models = receipt["models"]
    whole = {**models["int8"], "size_bytes": 1, "metrics": [{**one, "value": 0.0} for one in models["int8"]["metrics"]]}
    receipt["models"] = {"fp32": models["fp32"], "int8-whole": whole, "int8": models["int8"]}


def test_what_is_not_in_a_bundle_is_not_held_against_it(toy: Bundle, session_cli: Cli, tmp_path: Path) -> None:
    done = session_cli("reproduce", str(with_receipt(toy, tmp_path, with_layers_in_float).path), "--json")
    found = {name: outcome for name, (outcome, _) in outcomes(done).items() if name != "int8 latency ratio"}
    assert "differs" not in found.values()
    assert {"fp32 bytes", "fp32 top1", "int8 top1", "int8 same top1", "int8 largest error main/logits"} <= set(found)


def elsewhere(receipt: dict[str, Any]) -> None:
    receipt["machine"]["cpu"] = "another processor"
    receipt["versions"]["onnxruntime"] = "0.1"
    receipt["models"]["int8"]["metrics"][0]["value"] += 0.5


def test_on_another_machine_rounding_is_no_difference_and_latency_cannot_be_checked(
    toy: Bundle, session_cli: Cli, tmp_path: Path
) -> None:
    done = session_cli("reproduce", str(with_receipt(toy, tmp_path, elsewhere).path), "--json")
    assert done.code == 0, done.err
    found = outcomes(done)
    assert found["int8 top1"][0] == "holds"
    assert found["version of onnxruntime"][0] == "cannot be checked here"
    outcome, note = found["int8 latency ratio"]
    assert outcome == "cannot be checked here" and "it was measured on another processor" in note


def on_imagenet(receipt: dict[str, Any]) -> None:
    receipt["request"]["data"] = "/data/imagenet"


def test_without_its_data_the_rest_is_checked_and_says_why(toy: Bundle, session_cli: Cli, tmp_path: Path) -> None:
    done = session_cli("reproduce", str(with_receipt(toy, tmp_path, on_imagenet).path))
    assert done.code == 0, done.err
    assert "it was made on /data/imagenet; pass --data with" in " ".join(done.out.split())


def test_a_receipt_that_lacks_something_is_one_line(toy: Bundle, session_cli: Cli, tmp_path: Path) -> None:
    done = session_cli("reproduce", str(with_receipt(toy, tmp_path, lambda r: r.pop("quantization")).path))
    assert done.code == 1 and done.is_one_line()
    assert "cannot be read (it lacks 'quantization')" in done.err
