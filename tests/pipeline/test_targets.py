"""Targets that are engines of their own, from the command line to answers on that engine."""

from __future__ import annotations

import pytest

from tests.conftest import TOY, Cli


@pytest.fixture(scope="module")
def own_cli(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A workspace apart: a bundle is called as its model is, whatever it was lowered for."""
    return session_cli.in_workspace(tmp_path_factory.mktemp("targets") / "workspace")


@pytest.mark.parametrize(("target", "module"), [("ncnn", "ncnn"), ("mnn", "MNN")])
def test_a_bundle_for_an_engine_is_measured_there_and_answers_there(target: str, module: str, own_cli: Cli) -> None:
    pytest.importorskip(module)
    made = own_cli(*TOY, "--target", target, "--json")
    assert made.code == 0, made.err
    assert {made.json["models"][name]["latency"]["runtime"] for name in ("fp32", "int8")} == {target}
    done = own_cli("verify", made.json["bundle"], "--runtime", target, "--json")
    assert done.code == 0, done.err
    rows = {(row["runtime"], row["precision"]): row for row in done.json[0]["parity"]}
    ours, onnx = rows[target, "int8"], rows["onnx", "int8"]
    assert ours["reason"] == ""
    assert ours["agreement"]["value"] > 90
    assert 0 < ours["max_rel"] < 2 * onnx["max_rel"]  # INT8, and no worse than ONNX Runtime's


def test_an_engine_that_is_not_here_is_not_timed_on_another(own_cli: Cli) -> None:
    made = own_cli(*TOY, "--target", "tensorrt", "--json")
    assert made.code == 0, made.err
    [check] = [one for one in made.json["checks"] if one["name"] == "int8 latency ratio"]
    assert check["ok"] is None
    assert check["note"].startswith("not comparable: made for tensorrt and measured without it; p50 ")
