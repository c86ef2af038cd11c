"""Layers stay in float until what is lost is within what was allowed, and the receipt says which."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from convert.graph import Graph
from convert.lower import LowerReport, lower
from convert.sensitivity import rank_layers
from edge_kit.core.bundle import Bundle
from edge_kit.core.records import Check
from edge_kit.core.weights import load_weights, save_weights
from edge_kit.pipeline.mixed import Search, fewest
from tests.conftest import ANY_RATIO, Cli, Result
from tests.convert.graphs import build
from tests.convert.test_sensitivity import BATCHES, IMAGES, TARGET, error, fake_quantized

RATIOS = ANY_RATIO[2:]


def silent(done: int, total: int, note: str = "") -> None:
    """Tells nobody."""


@pytest.mark.parametrize("least", [1, 2, 3, 7, 8, 64, 65])
def test_the_fewest_that_fit_are_found_in_few_tries(least: int) -> None:
    tried: list[int] = []

    def fits(count: int) -> bool:
        tried.append(count)
        return count >= least

    search: Callable[[int, Callable[[int], bool]], int] = fewest
    assert search(65, fits) == least
    assert len(tried) <= 13
    assert len(tried) == len(set(tried))


class ByError:
    """Judges by the error of the answers instead of a metric: a thousandth of them is a point."""

    def check(self, candidate: Path) -> Check:
        lost = 1000 * error(Graph.load(candidate / "main.onnx"), candidate)
        return Check.at_most("error", lost, 5.0, "points", f"on {len(IMAGES)} samples")


def search_of(folder: Path) -> Search:
    fake_quantized().save(folder / "fake.onnx")
    harms = rank_layers(folder / "fake.onnx", TARGET, BATCHES, silent)
    ranking = [{"graph": "main", **asdict(harm)} for harm in harms]
    tries = folder / "tries"
    tries.mkdir()

    def lowering(keep: Mapping[str, Sequence[str]], out: Path) -> dict[str, LowerReport]:
        kept = keep.get("main", ())
        return {"main": lower(folder / "fake.onnx", out / "main.onnx", TARGET, BATCHES, keep_float=kept)}

    judge: Any = ByError()
    return Search(lowering, ranking, judge, tries)


def test_the_worst_layers_stay_float_until_the_drop_is_within_what_is_allowed(tmp_path: Path) -> None:
    reports, mixed = search_of(tmp_path).run(tmp_path, silent)
    assert [one["node"] for one in mixed["layers"]] == ["wild"]
    assert reports["main"].kept_float == ("wild",)
    found = ByError().check(tmp_path).value
    assert found is not None
    assert found == mixed["tried"]["1"]["value"] <= 5
    assert mixed["reason"].startswith("the 1 of 5 layers whose quantization harms the outputs most: with them, error ")
    assert mixed["reason"].endswith("points (at most 5) on 32 samples")


@pytest.fixture(scope="module")
def impossible(toy_run: Result, session_cli: Cli) -> Result:
    """A gain of fifty points, which no layer in float can bring."""
    return session_cli("compress", "toynet", "--calibration", "40", "--max-drop", "-50", *RATIOS, "--json")


def test_a_drop_that_no_layer_in_float_mends_is_said_and_nothing_is_kept(impossible: Result) -> None:
    assert impossible.code == 3, impossible.err
    report = impossible.json
    names = [stage["name"] for stage in report["stages"]]
    assert names == ["data", "train", "export", "quantize", "lower", "judge", "sensitivity", "mix", "measure", "bundle"]
    assert set(report["models"]) == {"fp32", "int8"}
    assert report["facts"]["mixed"]["layers"] == []
    assert report["facts"]["mixed"]["reason"].startswith("none: with all 6 layers in float, top1 drop ")
    assert Bundle(Path(report["bundle"])).receipt()["mixed"] == report["facts"]["mixed"]


@pytest.fixture(scope="module")
def uneven(toy_run: Result, session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained weights, one channel of which is a thousand times larger and read a thousand times smaller.

    In float that changes nothing; a grid that holds this channel has no step left for the others.
    """
    made = (session_cli.workspace / "stages").glob("train-*/weights.safetensors")
    weights = load_weights(min(made, key=lambda path: path.stat().st_mtime))
    for name, factor in (("features.4.weight", 1000), ("features.4.bias", 1000), ("features.6.weight", 1 / 1000)):
        weights[name] = weights[name].copy()
        weights[name][0] *= np.float32(factor)
    path = tmp_path_factory.mktemp("uneven") / "weights.safetensors"
    save_weights(path, weights, {})
    return path


@pytest.mark.parametrize("form", ["float", "uint8-nhwc"])
def test_the_layers_around_a_channel_that_fits_no_grid_stay_float_and_the_answers_are_back(
    form: str, uneven: Path, session_cli: Cli
) -> None:
    how = ("--weights", str(uneven), "--input", form, "--calibration", "40", "--max-drop", "2", *RATIOS, "--json")
    done = session_cli("compress", "toynet", *how)
    assert done.code == 0, done.err
    report = done.json
    whole, int8 = (report["models"][name] for name in ("int8-whole", "int8"))
    same = {name: one["value"] for name, one in report["facts"]["agreement"].items()}
    assert same["int8-whole"] < 70 < 90 < same["int8"]
    assert 1 <= len(report["facts"]["mixed"]["layers"]) <= 3
    lowering = report["facts"]["lowering"]["main"]
    kept = [one["node"] for one in report["facts"]["mixed"]["layers"]]
    assert sorted(lowering["kept_float"]) == sorted(kept)
    assert lowering["quantized"]["Conv"] == 4 - lowering["left_float"]["Conv"]
    assert (whole["size_bytes"], whole["path"]) != (int8["size_bytes"], int8["path"])
    [shown] = [check for check in report["checks"] if check["name"].startswith("int8-whole")]
    assert shown["ok"] is None
    assert shown["note"].startswith("not shipped: ")


def test_a_model_without_a_metric_keeps_layers_in_float_until_it_agrees(session_cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    constants = {f"w{i}": rng.normal(0, 0.3, (8, n, 3, 3)).astype(np.float32) for i, n in enumerate((3, 8, 8))}
    constants["w0"][0] *= 300  # one channel is all that the grid of the next tensor has room for
    constants["w1"][:, 0] /= 300
    nodes = [helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"x{i + 1}"], name=f"conv{i}") for i in range(3)]
    axes: list[int | str] = ["N", 3, 8, 8]
    build(nodes, constants, {"x0": axes}, {"x3": ["N", 8, 2, 2]}).save(tmp_path / "wild.onnx")
    np.savez(tmp_path / "s.npz", x0=IMAGES)
    own = ("compress", str(tmp_path / "wild.onnx"), "--data", str(tmp_path / "s.npz"), *ANY_RATIO)
    done = session_cli(*own, "--min-agreement", "30", "--json")
    assert done.code == 0, done.err
    facts = done.json["facts"]
    assert sorted(facts["lowering"]["main"]["kept_float"]) == ["conv0", "conv1"]
    assert facts["agreement"]["int8-whole"]["value"] < 25 < 30 <= facts["agreement"]["int8"]["value"]
    assert facts["mixed"]["reason"].startswith("the 2 of 3 layers")
    assert "signal to quantization noise" in facts["mixed"]["reason"]
    assert facts["quantization"]["settings"]["algorithm"] == "hist"
