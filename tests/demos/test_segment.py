"""A model of scenes goes the whole way with nothing but its own file, and the segment demo shows what it finds."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from demos.segment import map_of, runs_of
from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, load_demos
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData
from edge_kit.core.scenes import ScenePreprocess
from edge_kit.core.workspace import Workspace
from edge_kit.data.mini.clip import film
from runtimes.deploy import load_bundle
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

pytestmark = pytest.mark.slow  # a whole path each; CI walks others

SCENES = """
from paddle import nn
from paddle.nn import functional

from edge_kit.core.scenes import ScenePreprocess
from edge_kit.data import MiniSettings
from edge_kit.data.augment import SceneCrop
from edge_kit.train.recipe import Recipe
from edge_kit.zoo import Setup, ZooEntry, register
from edge_kit.zoo.segmentation import segmentation_graphs

class SceneNet(nn.Layer):
    def __init__(self, num_classes):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2D(3, 16, 3, 2, 1), nn.BatchNorm2D(16), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2D(16, 16, 3, 2, 1), nn.BatchNorm2D(16), nn.ReLU())
        self.third = nn.Sequential(nn.Conv2D(16, 16, 3, 1, 1), nn.BatchNorm2D(16), nn.ReLU())
        self.head = nn.Conv2D(16, num_classes, 1)

    def forward(self, x):
        fine = self.first(x)
        coarse = self.second(fine)
        grown = functional.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=True)
        return self.head(self.third(grown + fine))


RECIPE = Recipe(epochs=8, batch_size=8, learning_rate=0.05, schedule="poly")
register(
    ZooEntry(
        id="scenenet", title="Scenes", family="test", task="segment", paper="none", licence="none", source="a test",
        data="cityscapes", parameters=1, macs=1, published_sizes={"num_classes": 3}, build=SceneNet,
        graphs=segmentation_graphs, references=(), published=Setup(ScenePreprocess(32, 64), RECIPE, RECIPE),
        mini=Setup(
            ScenePreprocess(32, 64), RECIPE, RECIPE, augment=SceneCrop(32, 32, (0.9, 1.1), 0.0),
            made=MiniSettings(train=64, evaluation=20, side=32),
        ),
    )
)
"""


@pytest.fixture(scope="module")
def made(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Result:
    site = tmp_path_factory.mktemp("scenes")
    install_distribution(site, "scenenet", "edge_kit.models", "scenenet", SCENES)
    return session_cli.with_packages(site)("compress", "scenenet", "--calibration", "40", *ANY_RATIO, "--json")


def test_every_check_holds_and_both_precisions_see_the_same(made: Result) -> None:
    assert made.code == 0, made.err
    assert all(check["ok"] is not False for check in made.json["checks"])
    metric = made.json["models"]["fp32"]["metric"]
    assert (metric["name"], metric["samples"]) == ("mIoU", 20)
    assert metric["value"] > 40, "a photograph found everywhere is less than a half of one class of three"
    assert made.json["facts"]["agreement"]["int8"]["value"] > 95


def test_a_bilinear_resize_stands_float_between_quantizers_and_looks_at_no_shape(made: Result) -> None:
    lowering = made.json["facts"]["lowering"]["main"]
    assert lowering["left_float"] == {"Resize": 1}
    assert lowering["quantized"] == {"Conv": 4, "Add": 1}
    graph = onnx.load(str(Path(made.json["bundle"]) / "int8/main.onnx")).graph
    assert "Shape" not in {node.op_type for node in graph.node}
    resize = next(node for node in graph.node if node.op_type == "Resize")
    reader = next(node for node in graph.node if resize.output[0] in node.input)
    assert reader.op_type == "QuantizeLinear"


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_the_demo_gives_what_running_the_same_pictures_offline_gives(
    made: Result, runtime: str, tmp_path: Path
) -> None:
    import cv2

    (tmp_path / "shots").mkdir()
    pictures = [cv2.resize(film(40 * i), (200, 100 + 20 * i)) for i in range(3)]
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"shots/{i}.png"), picture)
    request = DemoRequest(
        "segment", made.json["bundle"], images=tmp_path / "shots", window=False, runtime=runtime,
        save=tmp_path / "out.avi", jsonl=tmp_path / "out.jsonl",
    )  # fmt: skip
    assert run_demo(request, Workspace.open(tmp_path), lambda line: None).frames == 3
    bundle = Bundle(Path(made.json["bundle"]))
    session, prepare = load_bundle(bundle, runtime=runtime)["main"], bundle.preprocess_as(ScenePreprocess)
    for line, picture in zip((tmp_path / "out.jsonl").read_text().splitlines(), pictures, strict=True):
        answer = json.loads(line)["answer"]
        expected = session.run({"image": prepare(picture)[None]})["logits"][0].argmax(axis=0)
        assert np.array_equal(map_of(answer), expected)
        assert sum(one["share"] for one in answer["classes"]) == pytest.approx(1.0)
        assert answer["classes"][0]["label"] in ("ink", "temple", "flower")


def test_the_colour_of_a_class_lies_where_the_class_is(made: Result) -> None:
    load_demos()
    demo = DEMOS.get("segment").make(Bundle(Path(made.json["bundle"])))
    logits = np.zeros((1, 3, 2, 4))
    logits[0, 0, :, :2], logits[0, 2, :, 2:] = 1.0, 1.0
    answer = demo.read({"logits": logits})
    assert [(one["label"], one["share"]) for one in answer["classes"]] == [("ink", 0.5), ("flower", 0.5)]
    image = np.zeros((200, 400, 3), np.uint8)
    demo.draw(image, answer)
    left, right = image[40, 150].astype(int), image[40, 250].astype(int)
    assert np.abs(left - right).max() > 60
    assert np.array_equal(image[40, 199], image[40, 150]) and np.array_equal(image[40, 200], image[40, 250])


def test_answers_are_the_same_while_hardly_a_point_differs_and_faults_are_a_line(made: Result) -> None:
    load_demos()
    demo = DEMOS.get("segment").make(Bundle(Path(made.json["bundle"])))
    found = np.zeros((10, 20), int)
    answers = []
    for changed in (0, 2, 3):
        other = found.copy()
        other.flat[:changed] = 1
        answers.append({"size": [10, 20], "runs": runs_of(other)})
    assert [demo.same(answers[0], one) for one in answers] == [True, True, False]
    with pytest.raises(BadData, match=r"output 'logits' of shape \(1, 2\) is no finite map of classes"):
        demo.read({"logits": np.zeros((1, 2))})
    with pytest.raises(BadData, match="is no finite map"):
        demo.read({"logits": np.full((1, 2, 2, 2), np.nan)})


def test_runs_tell_a_map_row_by_row() -> None:
    found = np.array([[0, 0, 2], [2, 2, 1]])
    assert runs_of(found) == [[0, 2], [2, 3], [1, 1]]
    assert np.array_equal(map_of({"size": [2, 3], "runs": runs_of(found)}), found)
