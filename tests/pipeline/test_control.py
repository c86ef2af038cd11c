"""A network that learns by playing goes the whole way: made, killed and gone on, quantized both ways, pruned."""

from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.bundle import Bundle
from edge_kit.core.frames import FrameStack
from runtimes.deploy import load_bundle
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution
from tests.pipeline.test_compress import kill_in_stage

pytestmark = pytest.mark.slow

PLAYER = """
from dataclasses import replace
from functools import partial

from edge_kit.core.frames import FrameStack
from edge_kit.data import MiniSettings
from edge_kit.data.replay import Exploration
from edge_kit.zoo import Setup, ZooEntry, register
from edge_kit.zoo.control.dqn import MINI, Agent, graphs

FRAMES, RECIPE = FrameStack(20), replace(MINI, epochs=3, batch_size=16)
PLAY = Exploration(samples=160, steps=80, capacity=2000, start=1.0, fall=0.004)
register(
    ZooEntry(
        id="player", title="Player", family="test", task="control", paper="none", licence="none",
        source="a test", data="replay", parameters=1, macs=1, published_sizes={"num_actions": 3, "side": 20},
        build=partial(Agent, dueling=True), graphs=graphs, references=(),
        published=Setup(FRAMES, RECIPE, RECIPE, PLAY),
        mini=Setup(FRAMES, RECIPE, RECIPE, PLAY, MiniSettings(train=400, evaluation=100, side=20)),
    )
)
"""
RUN = ("compress", "player", *ANY_RATIO)


@pytest.fixture(scope="module")
def playing(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    site = tmp_path_factory.mktemp("player")
    install_distribution(site, "player", "edge_kit.models", "player", PLAYER)
    return session_cli.with_packages(site)


@pytest.fixture(scope="module")
def made(playing: Cli) -> Result:
    return playing(*RUN, "--json")


def test_every_layer_is_in_int8_and_says_what_full_precision_does(made: Result) -> None:
    assert made.code == 0, made.err
    lowered = made.json["facts"]["lowering"]["main"]
    assert {name: lowered["quantized"][name] for name in ("Conv", "Gemm")} == {"Conv": 4, "Gemm": 2}
    assert set(lowered["left_float"]) <= {"ReduceMean", "Sub", "Add"}, "the dueling head's mean"
    metric = made.json["models"]["int8"]["metric"]
    assert (metric["name"], metric["samples"]) == ("return", 30)
    assert -10 <= metric["value"] <= 10
    assert made.json["facts"]["agreement"]["int8"]["value"] > 90


def test_a_bundle_answers_pictures_with_nothing_else_at_hand(made: Result) -> None:
    bundle = Bundle(Path(made.json["bundle"]))
    prepare = bundle.preprocess_as(FrameStack)
    assert prepare == FrameStack(20, 4, "catch")
    assert bundle.manifest.labels == ("stay", "left", "right")
    feeds = prepare([[np.full((40, 40), value, np.uint8) for value in (30, 60)]])
    answers = [load_bundle(bundle, precision=p)["main"].run(feeds)["q"] for p in ("fp32", "int8")]
    assert np.abs(answers[1] - answers[0]).max() < 0.15 * np.abs(answers[0]).max()


def test_training_that_was_killed_ends_with_the_same_bundle(made: Result, playing: Cli, tmp_path: Path) -> None:
    other = playing.in_workspace(tmp_path / "workspace")
    kill_in_stage("train", other, *RUN)
    again = other(*RUN, "--json")
    assert again.code == 0, again.err
    assert again.json["digest"] == made.json["digest"]


@pytest.mark.parametrize("option", [("--quantize", "qat"), ("--prune", "0.3")])
def test_it_can_be_trained_with_rounding_and_pruned(option: tuple[str, str], made: Result, playing: Cli) -> None:
    done = playing(*RUN, *option, "--json")
    assert done.code == 0, done.err
    assert done.json["facts"]["lowering"]["main"]["quantized"]["Conv"] == 4


def test_it_is_scored_and_verified(made: Result, playing: Cli) -> None:
    scored = playing("eval", made.json["bundle"], "--json")
    assert scored.code == 0, scored.err
    values = {row["precision"]: row["metrics"][0]["value"] for row in scored.json["rows"]}
    assert values == {name: made.json["models"][name]["metric"]["value"] for name in ("fp32", "int8")}
