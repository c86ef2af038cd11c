"""`verify` as a gate: seeded regressions are caught with the right reason, and no change is none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import onnx
import pytest

from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import UsageError
from edge_kit.core.words import WordPreprocess
from edge_kit.pipeline.gate import scene_checks
from edge_kit.pipeline.verify import VerifyRequest
from tests.conftest import Cli, Result, install_distribution
from tests.pipeline.remade import remade, with_weights

Change = Callable[[Bundle, Path], Bundle]

LAGGARD = """
import os
from time import perf_counter

from runtimes.ort import OnnxRuntime


class Laggard(OnnxRuntime):
    \"\"\"Takes LAG times as long over INT8 graphs.\"\"\"

    name = "laggard"

    def load(self, graph, *, threads=1, device="cpu"):
        session, lag = super().load(graph, threads=threads, device=device), float(os.environ["LAG"])
        run = session.run

        def slower(inputs):
            began = perf_counter()
            outputs = run(inputs)
            end = began + lag * (perf_counter() - began)
            while perf_counter() < end:
                pass
            return outputs

        if "int8" in graph.parts and lag > 1:
            session.run = slower
        return session
"""


@pytest.fixture(scope="module")
def toy(toy_run: Result) -> Bundle:
    assert toy_run.code == 0, toy_run.err
    return Bundle(Path(toy_run.json["bundle"]))


@pytest.fixture(scope="module")
def baseline(toy: Bundle, session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("baseline") / "baseline.json"
    done = session_cli("verify", str(toy.path), "--baseline", str(path), "--update-baseline", "--json")
    assert done.code == 0, done.err
    return path


def failed(done: Result) -> dict[str, str]:
    """Checks that fell short, and why."""
    assert done.code == 3 and done.is_one_line(), (done.code, done.err, done.out)
    return {check["name"]: check["note"] for check in done.json[0]["checks"] if check["ok"] is False}


def worse_weights(toy: Bundle, folder: Path) -> Bundle:  # the toy has no accuracy to lose; MobileNetV2 does, below
    """The filters of every layer in another order than the layers after it take them for."""
    graph = with_weights(toy.graph("int8", "main"), folder / "worse.onnx", lambda i, w: w[::-1])
    return remade(toy, folder, {"int8": graph})


def larger(toy: Bundle, folder: Path) -> Bundle:
    """5 % more bytes, and the same answers."""
    model = onnx.load(str(toy.graph("int8", "main")))
    model.doc_string += "x" * round(0.05 * toy.size_bytes("int8"))
    onnx.save(model, str(folder / "larger.onnx"))
    return remade(toy, folder, {"int8": folder / "larger.onnx"})


def wrong_mean(toy: Bundle, folder: Path) -> Bundle:
    return remade(toy, folder, preprocess={**toy.manifest.preprocess, "mean": [0.485, 0.456, 0.5]})


def swapped_label(toy: Bundle, folder: Path) -> Bundle:
    labels = list(toy.manifest.labels)
    labels[3], labels[4] = labels[4], labels[3]
    return remade(toy, folder, labels=tuple(labels))


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (worse_weights, "int8 same top1 on onnx", r"with FP32 on 200 samples of mini-imagenet val"),
        (larger, "baseline: int8 bytes", r"[\d,]+ bytes, [\d,]+ in the baseline"),
        (wrong_mean, "preprocessing", r"mean\[2\] is 0.5 in the bundle and 0.406 in model"),
        (swapped_label, "labels", r"\[3\] is 'digit 4' in the bundle and 'digit 3' in mini-imagenet"),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_a_seeded_regression_is_caught_with_its_reason(
    change: Change, name: str, reason: str, toy: Bundle, baseline: Path, session_cli: Cli, tmp_path: Path
) -> None:
    changed = change(toy, tmp_path)
    command = ("verify", str(changed.path), "--min-agreement", "95", "--baseline", str(baseline), "--json")
    found = failed(session_cli(*command))
    assert list(found) == [name]
    assert re.match(reason, found[name]), found[name]


def test_a_swapped_label_of_the_evaluation_set_is_caught(
    toy: Bundle, baseline: Path, session_cli: Cli, tmp_path: Path
) -> None:
    shutil.copytree(session_cli.workspace, tmp_path / "copy", symlinks=True)
    lists = [path for path in (tmp_path / "copy/stages").glob("data-*/val_list.txt")]
    for path in lists:
        lines = path.read_text().splitlines()
        name, _, label = lines[17].partition(" ")
        lines[17] = f"{name} {(int(label) + 1) % 10}"
        path.write_text("\n".join(lines) + "\n")
    done = session_cli.in_workspace(tmp_path / "copy")("verify", "toynet", "--baseline", str(baseline), "--json")
    found = failed(done)
    assert re.match(r"targets was '[0-9a-f]{64}', is ", found["baseline: evaluation set"])
    [score] = [one for one in done.json[0]["checks"] if one["name"] == "baseline: int8 top1 on onnx"]
    assert score["ok"] is None and "measured on other samples" in score["note"]


def test_no_change_is_no_alarm(toy: Bundle, baseline: Path, session_cli: Cli) -> None:
    before = baseline.read_bytes()
    done = session_cli("verify", str(toy.path), "--baseline", str(baseline), "--json")
    assert done.code == 0, done.err
    checks = {check["name"]: check for check in done.json[0]["checks"]}
    assert checks["baseline: int8 top1 on onnx"]["ok"] is True
    assert "+0.00 [+0.00, +0.00]" in checks["baseline: int8 top1 on onnx"]["note"]
    assert baseline.read_bytes() == before


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_runs_without_a_change_give_no_alarm(toy: Bundle, baseline: Path, session_cli: Cli) -> None:
    """The toy runs in microseconds: every disturbance shows. `test_baseline.py` has the same with made times."""
    runs = [session_cli("verify", str(toy.path), "--baseline", str(baseline)) for _ in range(100)]
    assert [run.err for run in runs if run.code != 0] == []


def test_a_slower_engine_is_caught(toy: Bundle, session_cli: Cli, tmp_path: Path) -> None:
    """Five times as slow, so that it is seen on a busy machine, too; `test_baseline.py` has a tenth."""
    install_distribution(tmp_path, "laggard", "edge_kit.runtimes", "laggard:Laggard", LAGGARD)
    env = {"PYTHONPATH": f"{session_cli.env['PYTHONPATH']}:{tmp_path}", "LAG": "1"}
    command = ("verify", str(toy.path), "--runtime", "laggard", "--baseline", str(tmp_path / "b.json"), "--json")
    assert session_cli(*command, "--update-baseline", **env).code == 0
    found = failed(session_cli(*command, **{**env, "LAG": "5"}))
    assert "times that of the baseline, both held to FP32" in found["baseline: int8 time on laggard"]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_tenth_slower_is_caught_and_no_change_is_not(
    mobilenetv2_run: Result, session_cli: Cli, tmp_path: Path
) -> None:
    """Wants a quiet machine: with other work on it, changes below 30 % are not held to be any."""
    install_distribution(tmp_path, "laggard", "edge_kit.runtimes", "laggard:Laggard", LAGGARD)
    env = {"PYTHONPATH": f"{session_cli.env['PYTHONPATH']}:{tmp_path}", "LAG": "1"}
    command = ("verify", mobilenetv2_run.json["bundle"], "--runtime", "laggard", "--baseline", str(tmp_path / "b.json"))
    assert session_cli(*command, "--update-baseline", **env).code == 0
    for _ in range(5):
        assert session_cli(*command, **env).code == 0
    found = failed(session_cli(*command, "--json", **{**env, "LAG": "1.1"}))
    assert "baseline: int8 time on laggard" in found


@pytest.mark.slow
def test_weights_that_cost_two_points_are_caught_against_the_baseline(
    mobilenetv2_run: Result, session_cli: Cli, tmp_path: Path
) -> None:
    whole = Bundle(Path(mobilenetv2_run.json["bundle"]))
    path = str(tmp_path / "b.json")
    assert session_cli("verify", str(whole.path), "--baseline", path, "--update-baseline").code == 0
    shrunk = with_weights(whole.graph("int8", "main"), tmp_path / "worse.onnx", lambda i, w: 0.96 * w)
    worse = remade(whole, tmp_path, {"int8": shrunk})
    found = failed(session_cli("verify", str(worse.path), "--baseline", path, "--json"))
    assert "int8 top1 drop on onnx" in found
    assert re.match(r"97\.\d\d in the baseline; -\d\.\d\d \[-\d\.\d\d, -", found["baseline: int8 top1 on onnx"])


def test_limits_of_the_file_hold_and_flags_have_precedence(toy: Bundle, session_cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    size = toy.size_bytes("int8") / 1e6
    file.write_text(f"[models.toynet]\nmax_size_mb = {size - 1e-6:.6f}\n")
    command = ("verify", str(toy.path), "--limits", str(file), "--json")
    assert list(failed(session_cli(*command))) == ["int8 size"]
    done = session_cli(*command, "--max-size-mb", f"{size:.6f}")
    assert done.code == 0, done.err
    checks = {check["name"]: check for check in done.json[0]["checks"]}
    assert checks["int8 size"]["ok"] is True
    assert checks["int8 top1 drop on onnx"]["limit"] == 100  # what it was made under
    assert checks["int8 p95 on onnx"]["ok"] is None and checks["int8 p95 on onnx"]["value"] > 0


def test_a_published_row_is_shown_as_not_comparable(toy: Bundle, session_cli: Cli) -> None:
    done = session_cli("verify", str(toy.path), "--max-drop", "50", "--json")
    [row] = [check for check in done.json[0]["checks"] if "published" in check["name"]]
    assert row["ok"] is None and row["note"].startswith("not comparable: mini-imagenet val")


def test_a_bundle_that_was_changed_is_not_measured_and_no_baseline_is_made_of_it(
    toy: Bundle, session_cli: Cli, tmp_path: Path
) -> None:
    copy = tmp_path / "toynet"
    shutil.copytree(toy.path, copy)
    (copy / "extra").write_text("x")
    done = session_cli("verify", str(copy), "--max-drop", "50", "--json")
    assert list(failed(done)) == ["files unchanged"]
    assert len(done.json[0]["checks"]) == 1


def test_a_limits_file_with_a_wrong_name_is_one_line(toy: Bundle, session_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text("[models.toynte]\nmax_drop = 1\n")
    done = session_cli("verify", str(toy.path), "--limits", str(tmp_path / "l.toml"))
    assert done.code == 2 and done.is_one_line()
    assert "unknown model 'toynte'; did you mean 'toynet'?" in done.err


def test_junit_is_what_ci_systems_read(toy: Bundle, session_cli: Cli, tmp_path: Path) -> None:
    """Elements, attributes and counts of the common schema, as Jenkins, GitLab and GitHub actions read it."""
    path = tmp_path / "verify.xml"
    done = session_cli("verify", str(toy.path), "--max-size-mb", "0", "--junit", str(path), "--json")
    assert done.code == 3
    root = ElementTree.fromstring(path.read_bytes())
    [suite] = check_junit(root)
    checks = done.json[0]["checks"]
    assert [case.get("name") for case in suite.iter("testcase")] == [check["name"] for check in checks]
    [failure] = suite.iter("failure")
    assert failure.get("message", "").endswith(f"<= 0; {toy.size_bytes('int8'):,} bytes")
    assert int(suite.get("skipped", "")) == sum(check["ok"] is None for check in checks)


def check_junit(root: ElementTree.Element) -> list[ElementTree.Element]:
    """Hold a document to the schema; the suites in it."""
    assert root.tag == "testsuites"
    for name in ("tests", "failures", "skipped"):
        assert int(root.attrib[name]) == sum(int(suite.attrib[name]) for suite in root)
    for suite in root:
        assert suite.tag == "testsuite" and float(suite.attrib["time"]) >= 0 and suite.attrib["name"]
        cases = list(suite)
        assert {case.tag for case in cases} == {"testcase"}
        assert len(cases) == int(suite.attrib["tests"]) and suite.attrib["errors"] == "0"
        for kind, count in (("failure", "failures"), ("skipped", "skipped")):
            assert sum(case.find(kind) is not None for case in cases) == int(suite.attrib[count])
        for case in cases:
            assert set(case.attrib) == {"classname", "name", "time"}
            assert {part.tag for part in case} <= {"failure", "skipped", "system-out"} and len(case) == 1
            assert all("message" in part.attrib for part in case if part.tag != "system-out")
    return list(root)


def test_what_xml_cannot_hold_is_replaced(tmp_path: Path) -> None:
    from edge_kit.report.junit import write_junit

    check = {
        "name": "a\x00<&",
        "value": None,
        "limit": None,
        "ok": False,
        "unit": "",
        "sense": "max",
        "note": "\x1b[0m",
    }
    write_junit(tmp_path / "x.xml", [{"bundle": "/b", "checks": [check], "seconds": 1.0}], 1.0)
    [case] = ElementTree.fromstring((tmp_path / "x.xml").read_bytes()).iter("testcase")
    assert case.get("name") == "a?<&" and case[0].get("message") == "?[0m"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"update": True}, "--update-baseline needs the file to write"),
        ({"on": "ssh://b"}, "--on runs the sentinel on a board"),
        ({"sentinel": True, "baseline": Path("b")}, "leave out --data and --baseline"),
        ({"sentinel": True, "data": Path("d")}, "leave out --data and --baseline"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        VerifyRequest(**options)


@pytest.mark.parametrize("word, ok", [("x", True), ("y", False)])
def test_what_only_the_data_knows_of_preprocessing_is_held_against_the_bundle(word: str, ok: bool) -> None:
    manifest = SimpleNamespace(labels=("a",), preprocess=WordPreprocess(4, (word,)).as_dict())
    dataset = SimpleNamespace(labels=("a",), name="data", preprocess=WordPreprocess(4, ("x",)))
    scene = SimpleNamespace(bundle=SimpleNamespace(manifest=manifest), dataset=dataset)
    labels, preprocessing = scene_checks(scene)  # type: ignore[arg-type]
    assert labels.ok
    assert preprocessing.ok is ok
