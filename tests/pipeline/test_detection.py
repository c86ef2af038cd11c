"""A detector goes the whole way: from pictures with boxes to an INT8 bundle that is scored by what it finds."""

from pathlib import Path

import pytest

from edge_kit.core.bundle import Bundle
from edge_kit.core.images import SquarePreprocess
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

SPOTTER = """
from dataclasses import replace

from edge_kit.data import MiniSettings
from edge_kit.zoo import register
from edge_kit.zoo.detection import ssd

ENTRY = ssd.ENTRY
RECIPE = replace(ENTRY.mini.recipe, epochs=1, batch_size=8, warmup_steps=4)
MINI = replace(
    ENTRY.mini, preprocess=replace(ENTRY.mini.preprocess, side=64), recipe=RECIPE, recovery=RECIPE,
    made=MiniSettings(train=48, evaluation=16, side=64),
)
register(replace(ENTRY, id="spotter", mini=MINI))
"""


@pytest.fixture(scope="module")
def spotting(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    site = tmp_path_factory.mktemp("spotter")
    install_distribution(site, "spotter", "edge_kit.models", "spotter", SPOTTER)
    return session_cli.with_packages(site)


@pytest.fixture(scope="module")
def made(spotting: Cli) -> Result:
    return spotting("compress", "spotter", "--calibration", "40", *ANY_RATIO, "--json")


def test_both_precisions_are_scored_and_held_to_each_other(made: Result) -> None:
    assert made.code == 0, made.err
    for precision in ("fp32", "int8"):
        metric = made.json["models"][precision]["metric"]
        assert (metric["name"], metric["dataset"], metric["samples"]) == ("mAP", "mini-voc test", 16)
    agreement = made.json["facts"]["agreement"]["int8"]
    assert agreement["name"] == "same detections"
    assert agreement["value"] > 50
    [row] = [check for check in made.json["checks"] if check["name"] == "fp32 mAP against published"]
    assert (row["limit"], row["ok"]) == (73.32, None), "not comparable"
    assert set(made.json["facts"]["lowering"]["main"]["left_float"]) == {"Concat"}


def test_the_bundle_says_how_pictures_are_prepared_and_what_is_found(made: Result) -> None:
    bundle = Bundle(Path(made.json["bundle"]))
    preprocess = bundle.preprocess()
    assert isinstance(preprocess, SquarePreprocess)
    assert (preprocess.side, preprocess.channel_order) == (64, "BGR")
    assert bundle.manifest.labels[:3] == ("zero", "one", "two")
    assert bundle.manifest.outputs["main"] == ("loc", "conf")


def test_pixels_go_in_as_they_come_in_the_networks_own_order_of_channels(made: Result, spotting: Cli) -> None:
    done = spotting("compress", "spotter", "--calibration", "40", *ANY_RATIO, "--input", "uint8-nhwc", "--json")
    assert done.code == 0, done.err
    bundle = Bundle(Path(done.json["bundle"]))
    assert bundle.takes_pixels()
    assert bundle.manifest.preprocess["kind"] == "stretch"
    ours, floats = (run.json["models"]["fp32"]["metric"]["value"] for run in (done, made))
    assert ours == pytest.approx(floats, abs=1)
    [check] = [one for one in done.json["checks"] if one["name"] == "fp32 from pixels main/conf"]
    assert check["value"] < 1e-3


def test_eval_tells_the_precision_of_each_class(made: Result, spotting: Cli) -> None:
    done = spotting("eval", Path(made.json["bundle"]).name, "--precision", "int8", "--json")
    assert done.code == 0, done.err
    [row] = done.json["rows"]
    assert row["metrics"][0]["value"] == pytest.approx(made.json["models"]["int8"]["metric"]["value"])
    assert [one["label"] for one in row["classes"]][:2] == ["zero", "one"]
    assert sum(one["samples"] for one in row["classes"]) >= 16
