"""ICNet and Simple Baselines as a user makes them."""

import json

import pytest

from tests.conftest import Cli, Result

pytestmark = pytest.mark.slow
RUNTIMES = ("onnx", "openvino", "ncnn", "mnn", "paddle")


@pytest.fixture(scope="module")
def scenes(session_cli: Cli) -> Result:
    return session_cli("compress", "icnet", "--max-latency-ratio", "100", "--json")


@pytest.fixture(scope="module")
def poses(session_cli: Cli) -> Result:
    return session_cli("compress", "simple_baselines", "--max-latency-ratio", "100", "--json")


def test_icnet_learns_the_mini_scenes_and_int8_sees_the_same(scenes: Result) -> None:
    assert scenes.code == 0, scenes.err
    assert scenes.json["models"]["fp32"]["metric"]["value"] > 50, "a photograph alone is 15 to 25"
    assert scenes.json["facts"]["agreement"]["int8"]["value"] > 95
    assert scenes.json["facts"]["lowering"]["main"]["left_float"] == {"Resize": 9}


def test_simple_baselines_falls_in_loss_and_its_head_runs_on_integers(poses: Result, session_cli: Cli) -> None:
    """Three epochs teach fifty layers little; what INT8 loses is told by the heat maps themselves."""
    assert "stage" not in poses.err, poses.err
    reports = [json.loads(path.read_text()) for path in session_cli.workspace.glob("stages/train-*/report.json")]
    assert any(one["last_loss"] < 0.8 * one["first_loss"] for one in reports)
    lowering = poses.json["facts"]["lowering"]["main"]
    assert lowering["passes"]["convolve_transposed"] == 3
    assert lowering["left_float"] == {}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_full_precision_scores_alike_on_every_runtime(scenes: Result, session_cli: Cli, runtime: str) -> None:
    done = session_cli("eval", "icnet", "--runtime", runtime, "--precision", "fp32", "--json")
    assert done.code == 0, done.err
    [row] = done.json["rows"]
    assert row["metrics"][0]["value"] == pytest.approx(scenes.json["models"]["fp32"]["metric"]["value"], abs=0.2)
