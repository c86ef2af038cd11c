"""A model of keypoints goes the whole way with nothing but its own file, and the pose demo shows what it finds."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, load_demos
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.workspace import Workspace
from edge_kit.data.mini.figures import figure
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

pytestmark = pytest.mark.slow  # a whole path each; CI walks others

POSES = """
from paddle import nn

from edge_kit.core.poses import PosePreprocess
from edge_kit.data import MiniSettings
from edge_kit.data.coco_keypoints import PoseChanges
from edge_kit.train.recipe import Recipe
from edge_kit.zoo import Setup, ZooEntry, register
from edge_kit.zoo.keypoints import keypoint_graphs

class PoseNet(nn.Layer):
    def __init__(self, keypoints):
        super().__init__()
        layers = []
        for channels, filters in ((3, 16), (16, 32), (32, 32), (32, 32)):
            layers += [nn.Conv2D(channels, filters, 3, 2, 1), nn.BatchNorm2D(filters), nn.ReLU()]
        for _ in range(2):
            layers += [nn.Conv2DTranspose(32, 32, 4, 2, 1, bias_attr=False), nn.BatchNorm2D(32), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2D(32, keypoints, 1))

    def forward(self, x):
        return self.body(x)


RECIPE = Recipe(epochs=12, batch_size=16, learning_rate=0.003, optimizer="adam", momentum=0.0)
SETUP = Setup(
    PosePreprocess(64, 64), RECIPE, RECIPE, augment=PoseChanges(0.1, 0.0, 0.0, 0.0, 1.5),
    made=MiniSettings(train=160, evaluation=40, side=64),
)
register(
    ZooEntry(
        id="posenet", title="Poses", family="test", task="keypoints", paper="none", licence="none", source="a test",
        data="coco_keypoints", parameters=1, macs=1, published_sizes={"keypoints": 17}, build=PoseNet,
        graphs=keypoint_graphs, references=(), published=SETUP, mini=SETUP,
    )
)
"""


@pytest.fixture(scope="module")
def made(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Result:
    site = tmp_path_factory.mktemp("poses")
    install_distribution(site, "posenet", "edge_kit.models", "posenet", POSES)
    return session_cli.with_packages(site)("compress", "posenet", "--calibration", "40", *ANY_RATIO, "--json")


def test_every_check_holds_and_both_precisions_see_the_same(made: Result) -> None:
    assert made.code == 0, made.err
    assert all(check["ok"] is not False for check in made.json["checks"])
    metric = made.json["models"]["fp32"]["metric"]
    assert metric["name"] == "AP" and 0 < metric["samples"] <= 40
    facts = made.json["facts"]
    assert facts["agreement"]["int8"]["name"] == "keypoints within half a cell"
    # Seconds of training leave flat maps, whose highest cell says nothing: a learnt peak would be 1 high.
    assert facts["differences"]["int8"]["main"][0]["max_abs"] < 0.15


def test_transposed_convolutions_run_on_integers(made: Result) -> None:
    lowering = made.json["facts"]["lowering"]["main"]
    assert lowering["passes"]["convolve_transposed"] == 2
    assert lowering["quantized"] == {"Conv": 7, "DepthToSpace": 2, "Slice": 2}
    assert lowering["left_float"] == {}


def test_the_demo_writes_where_the_joints_of_each_picture_are(made: Result, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for i, (height, width) in enumerate([(64, 64), (120, 90), (90, 160)]):
        picture, _ = figure("val", 64, np.random.default_rng(i))
        cv2.imwrite(str(tmp_path / f"shots/{i}.png"), cv2.resize(picture, (width, height)))
    request = DemoRequest(
        "pose", made.json["bundle"], images=tmp_path / "shots", window=False, compare=True,
        save=tmp_path / "out.avi", jsonl=tmp_path / "out.jsonl",
    )  # fmt: skip
    assert run_demo(request, Workspace.open(tmp_path), lambda line: None).frames == 3
    answers = [json.loads(line)["answer"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["size"] for one in answers] == [[64, 64], [120, 90], [90, 160]]
    assert [one["name"] for one in answers[0]["keypoints"]][:2] == ["nose", "left eye"]
    assert all(len(one["keypoints"]) == 17 for one in answers)


def test_a_peak_leads_to_the_pixel_that_it_stands_for(made: Result) -> None:
    """A picture twice as wide as high is seen with as much black above as below: 64 x 64 pixels of 200 x 200."""
    load_demos()
    demo = DEMOS.get("pose").make(Bundle(Path(made.json["bundle"])))
    image = np.zeros((100, 200, 3), np.uint8)
    inputs = demo.prepare(image)
    assert inputs["image"].shape == (1, 3, 64, 64)
    maps = np.zeros((1, 17, 16, 16))
    maps[0, 0, 8, 8], maps[0, 5, 8, 4] = 0.9, 0.8
    maps[0, 0, 8, 9] = maps[0, 0, 8, 7] = 0.1  # as high on both sides: no quarter of a cell
    answer = demo.read(demo.infer({"main": lambda given: {"heatmaps": maps}}, inputs))
    nose, shoulder = answer["keypoints"][0], answer["keypoints"][5]
    assert (nose["x"], nose["y"], nose["height"]) == pytest.approx((100, 50, 0.9))
    assert (shoulder["x"], shoulder["y"]) == pytest.approx((50, 50))
    shown = np.zeros((200, 400, 3), np.uint8)
    demo.draw(shown, answer)
    assert shown[100, 200].min() == 255 and shown[100, 100].min() == 255, "twice as large as it was"
    assert shown[20].max() == 0


def test_answers_are_the_same_within_a_fiftieth_of_the_height_and_faults_are_a_line(made: Result) -> None:
    load_demos()
    demo = DEMOS.get("pose").make(Bundle(Path(made.json["bundle"])))
    first, near, far = (
        {"size": [100, 100], "keypoints": [{"name": "nose", "x": x, "y": 5.0, "height": 0.9}]} for x in (10, 12, 13)
    )
    assert demo.same(first, near) and not demo.same(first, far)
    with pytest.raises(BadData, match=r"output 'heatmaps' of shape \(1, 17\) is no finite stack of heat maps"):
        demo.read({"heatmaps": np.zeros((1, 17))})
