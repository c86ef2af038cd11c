"""`edge-kit report` as a user starts it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from edge_kit.core.bundle import Bundle
from tests.conftest import TOY, Cli, Result


@pytest.fixture(scope="module")
def made(toy_run: Result, session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    assert toy_run.code == 0, toy_run.err
    folder = tmp_path_factory.mktemp("report")
    files = ("--out", str(folder / "r.html"), "--csv", str(folder / "r.csv"), "--markdown", str(folder / "r.md"))
    # Another run lets the name mean another bundle; what is told of this one must not change by that.
    other = session_cli(*TOY, "--algorithm", "abs_max", "--json")
    assert other.code == 0, other.err
    assert Bundle(Path(other.json["bundle"])).digest != Bundle(Path(toy_run.json["bundle"])).digest
    return session_cli("report", toy_run.json["bundle"], *files, "--json"), folder


def test_figures_of_the_receipt_are_used_as_they_are(made: tuple[Result, Path], toy_run: Result) -> None:
    done, folder = made
    assert done.code == 0, done.err
    receipt = json.loads((Path(toy_run.json["bundle"]) / "receipt.json").read_text())
    rows = {one["version"]: one for one in csv.DictReader((folder / "r.csv").open())}
    for version, told in receipt["models"].items():
        assert float(rows[version]["p50_ms"]) == told["latency"]["p50_ms"]
        assert float(rows[version]["metric_value"]) == told["metrics"][0]["value"]
        assert int(rows[version]["size_bytes"]) == told["size_bytes"]
        text = f"| {told['latency']['p50_ms']:.3f} | {told['latency']['p90_ms']:.3f} |"
        assert text in (folder / "r.md").read_text()
        assert f">{told['latency']['p50_ms']:.3f}</td>" in (folder / "r.html").read_text()
        assert rows[version]["origin"] == "receipt" and rows[version]["cpu"] == receipt["machine"]["cpu"]


def test_what_the_receipt_does_not_hold_is_measured(made: tuple[Result, Path]) -> None:
    [model] = made[0].json["models"]
    assert model["missing"] == []
    assert [one["name"] for one in model["stages"]][-1] == "measure"
    assert {one["version"] for one in model["latencies"]} == {"fp32", "int8"}
    assert all(len(one["times_ms"]) == one["latency"]["repeats"] >= 200 for one in model["latencies"])
    assert sum(count for *_, count in model["shown"]["charts"]["int8"]["counts"]) == 200
    assert model["shown"]["explained"]["graphs"][0]["kinds"]
    assert model["sensitivity"]["layers"] and model["shown"]["examples"][0]["answers"].keys() == {"fp32", "int8"}


def test_a_second_report_measures_nothing_of_a_copy_of_the_bundle_either(
    made: tuple[Result, Path], toy_run: Result, session_cli: Cli, tmp_path: Path
) -> None:
    shutil.copytree(Path(toy_run.json["bundle"]).resolve(), tmp_path / "copy")
    done = session_cli("report", str(tmp_path / "copy"), "--out", str(tmp_path / "r.html"), "--json")
    assert done.code == 0, done.err
    assert done.err.count("was done before") >= 3 and not [
        line for line in done.err.splitlines() if line.endswith(" s")
    ]
    assert done.json["models"][0]["latencies"] == made[0].json["models"][0]["latencies"]


def test_a_place_that_cannot_be_written_is_told_before_the_work(session_cli: Cli, tmp_path: Path) -> None:
    done = session_cli("report", "--out", str(tmp_path / "none" / "r.html"))
    assert done.code == 2 and done.is_one_line() and "does not exist" in done.err
    done = session_cli("report", "--out", str(tmp_path / "r"), "--csv", str(tmp_path / "r"))
    assert done.code == 2 and "files of their own" in done.err


def test_a_changed_bundle_is_refused(toy_run: Result, session_cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(Path(toy_run.json["bundle"]).resolve(), tmp_path / "copy")
    (tmp_path / "copy" / "receipt.json").write_text("{}")
    done = session_cli("report", str(tmp_path / "copy"), "--out", str(tmp_path / "r.html"))
    assert done.code == 1 and "receipt.json" in done.err and not (tmp_path / "r.html").exists()
