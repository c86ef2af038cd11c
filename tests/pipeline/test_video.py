"""A network of clips goes the whole way, and the demo of actions gives what it gives offline."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.sinks import VideoSink
from edge_kit.core.bundle import Bundle
from edge_kit.core.clips import ClipPreprocess
from edge_kit.core.errors import BadData
from edge_kit.core.workspace import Workspace
from edge_kit.data.mini.clip import film
from runtimes.deploy import load_bundle
from tests.camera.parts import read_video, shown
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

pytestmark = pytest.mark.slow  # a whole path each; CI walks others

WATCHER = """
from paddle import nn

from edge_kit.core.clips import ClipPreprocess
from edge_kit.data import MiniSettings
from edge_kit.data.kinetics import MultiScaleCrop
from edge_kit.train.recipe import Recipe
from edge_kit.zoo import Setup, ZooEntry, register
from edge_kit.zoo.video.tsm import TemporalShift, graphs

class Small(nn.Layer):
    def __init__(self, num_classes, segments):
        super().__init__()
        layers, channels = [], 3
        for filters in (16, 32, 32):
            layers += [nn.Conv2D(channels, filters, 3, 2, 1, bias_attr=False), nn.BatchNorm2D(filters), nn.ReLU()]
            layers.append(TemporalShift(segments))
            channels = filters
        self.features, self.pool = nn.Sequential(*layers), nn.AdaptiveAvgPool2D(1)
        self.segments, self.fc = segments, nn.Linear(32, num_classes)

    def forward(self, clip):
        maps = self.features(clip.reshape([-1, *clip.shape[2:]]))
        means = self.pool(maps).reshape([-1, self.segments, 32, 1]).transpose([0, 2, 1, 3])
        return self.fc(self.pool(means).flatten(1))


CLIP, RECIPE = ClipPreprocess(4, 32, 32), Recipe(2, 16, 0.05)
SETUP = Setup(CLIP, RECIPE, RECIPE, augment=MultiScaleCrop((1.0,), 0.0), made=MiniSettings(320, 80, 32))
register(
    ZooEntry(
        id="watcher", title="Watcher", family="test", task="classify_clip", paper="none", licence="none",
        source="a test", data="kinetics", parameters=1, macs=1, published_sizes={"num_classes": 8, "segments": 4},
        build=Small, graphs=graphs, references=(), published=SETUP, mini=SETUP,
    )
)
"""


@pytest.fixture(scope="module")
def watching(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    site = tmp_path_factory.mktemp("watcher")
    install_distribution(site, "watcher", "edge_kit.models", "watcher", WATCHER)
    return session_cli.with_packages(site)


@pytest.fixture(scope="module")
def made(watching: Cli) -> Result:
    return watching("compress", "watcher", *ANY_RATIO, "--json")


def test_every_check_holds_and_nothing_but_the_activation_of_no_node_stays_float(made: Result) -> None:
    assert made.code == 0, made.err
    assert all(check["ok"] is not False for check in made.json["checks"])
    assert made.json["models"]["fp32"]["metric"]["name"] == "top1"
    assert made.json["facts"]["agreement"]["int8"]["value"] >= 80
    lowering = made.json["facts"]["lowering"]["main"]
    assert not lowering["left_float"]
    assert {kind: lowering["quantized"][kind] for kind in ("Conv", "Pad", "Slice", "Concat")} == {
        "Conv": 3, "Pad": 3, "Slice": 9, "Concat": 3,
    }  # fmt: skip


def test_a_bundle_answers_clips_with_nothing_else_at_hand_and_refuses_pixels(watching: Cli, made: Result) -> None:
    bundle = Bundle(Path(made.json["bundle"]))
    clip = bundle.preprocess_as(ClipPreprocess)([film(i) for i in range(16)])
    logits = load_bundle(bundle)["main"].run({"clip": clip[None]})["logits"]
    assert logits.shape == (1, 8)
    with pytest.raises(BadData, match="takes no pictures"):
        bundle.preprocess()
    done = watching("compress", "watcher", "--input", "uint8-nhwc")
    assert done.code == 2 and done.is_one_line()


def test_the_demo_of_actions_gives_what_the_last_frames_give_offline(made: Result, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "film.mp4", 25.0)
    for number in range(24):
        frame = shown(number, number / 25)
        frame.shown = film(5 * number)
        sink.write(frame)
    sink.close()
    request = DemoRequest(
        "act", made.json["bundle"], video=tmp_path / "film.mp4", jsonl=tmp_path / "out.jsonl", window=False
    )
    run_demo(request, Workspace.open(tmp_path), lambda line: None)
    answers = [json.loads(line)["answer"]["top"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    opened, frames = Bundle(Path(made.json["bundle"])), read_video(tmp_path / "film.mp4")
    session, prepare = load_bundle(opened, precision="int8")["main"], opened.preprocess_as(ClipPreprocess)
    assert len(answers) == len(frames) == 24
    for i in (0, 5, 23):
        logits = session.run({"clip": prepare(frames[max(0, i - 15) : i + 1])[None]})["logits"][0].astype(np.float64)
        shares = np.exp(logits) / np.exp(logits).sum()
        assert [one["class"] for one in answers[i]] == list(np.argsort(-shares, kind="stable")[:5])
        np.testing.assert_allclose([one["share"] for one in answers[i]], -np.sort(-shares)[:5], rtol=1e-9)
        assert answers[i][0]["label"] == opened.manifest.labels[answers[i][0]["class"]]
