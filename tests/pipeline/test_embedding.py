"""A network whose loss has weights of its own goes the whole way, and its graph has none of them."""

from pathlib import Path

import onnx
import pytest

from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

pytestmark = pytest.mark.slow  # a whole path each; CI walks others

EMBEDDER = """
from paddle import nn

from edge_kit.core.images import ImagePreprocess
from edge_kit.data import MiniSettings
from edge_kit.data.augment import RandomAreaCrop
from edge_kit.data.sop import GroupedCrop
from edge_kit.train.recipe import Recipe
from edge_kit.zoo import Setup, ZooEntry, register
from edge_kit.zoo.metric_learning.losses import ArcMargin, NPairs
from edge_kit.zoo.metric_learning.resnet50 import graphs

class Small(nn.Layer):
    def __init__(self, num_classes, loss=ArcMargin):
        super().__init__()
        layers, channels = [], 3
        for filters in (16, 32, 32):
            layers += [nn.Conv2D(channels, filters, 3, 2, 1, bias_attr=False), nn.BatchNorm2D(filters), nn.ReLU()]
            channels = filters
        self.backbone = nn.Sequential(*layers, nn.Flatten())
        self.loss = loss(num_classes, 512)

    def forward(self, image, label=None):
        embedding = self.backbone(image)
        return embedding if label is None else self.loss(embedding, label)


def in_pairs(num_classes):
    return Small(num_classes, NPairs)


SIZE, RECIPE = ImagePreprocess(32, 32), Recipe(2, 40, 0.01)
CROP = RandomAreaCrop((0.9, 1.0), (1.0, 1.0), 0.0)
for name, build, augment in (("embedder", Small, CROP), ("pairer", in_pairs, GroupedCrop(CROP, (2,)))):
    setup = Setup(SIZE, RECIPE, RECIPE, augment=augment, made=MiniSettings(train=800, evaluation=200, side=32))
    register(
        ZooEntry(
            id=name, title=name, family="test", task="embed", paper="none", licence="none", source="a test",
            data="sop", parameters=14_400, macs=1, published_sizes={"num_classes": 40}, build=build, graphs=graphs,
            references=(), published=setup, mini=setup,
        )
    )
"""


@pytest.fixture(scope="module")
def searching(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    site = tmp_path_factory.mktemp("embedder")
    install_distribution(site, "embedder", "edge_kit.models", "embedder", EMBEDDER)
    return session_cli.with_packages(site)


@pytest.fixture(scope="module")
def made(searching: Cli) -> Result:
    return searching("compress", "embedder", *ANY_RATIO, "--json")


def test_every_check_holds_and_products_never_seen_are_told_apart(made: Result) -> None:
    assert made.code == 0, made.err
    assert all(check["ok"] is not False for check in made.json["checks"])
    metric = made.json["models"]["fp32"]["metric"]
    assert (metric["name"], metric["samples"]) == ("Recall@1", 200)
    assert metric["value"] > 5, "guessing finds 4 of 199"


def test_int8_embeddings_point_where_float_ones_do(made: Result) -> None:
    agreement = made.json["facts"]["agreement"]["int8"]
    assert (agreement["name"], agreement["samples"]) == ("same nearest", 200)
    assert agreement["value"] > 70
    [cosine] = made.json["facts"]["likeness"]["int8"]
    assert (cosine["name"], cosine["samples"]) == ("mean cosine", 200)
    assert 0.99 < cosine["value"] <= 1


def test_the_class_matrix_was_trained_and_is_not_shipped(made: Result) -> None:
    bundle = Path(made.json["bundle"])
    weights = onnx.load(str(bundle / "fp32/main.onnx")).graph.initializer
    assert not any(40 in tensor.dims for tensor in weights)
    assert made.json["facts"]["size"]["fp32"]["parameters"] == 3 * 9 * 16 + 16 * 9 * 32 + 32 * 9 * 32 + 2 * (16 + 64)


def test_eval_scores_the_bundle_and_a_loss_over_pairs_is_trained(searching: Cli, made: Result) -> None:
    scored = searching("eval", Path(made.json["bundle"]).name, "--json")
    assert scored.code == 0, scored.err
    rows = {row["precision"]: row["metrics"][0]["value"] for row in scored.json["rows"]}
    assert rows == {name: made.json["models"][name]["metric"]["value"] for name in ("fp32", "int8")}
    trained = searching("train", "pairer", "--json")
    assert trained.code == 0, trained.err
    assert trained.json["last_loss"] < trained.json["first_loss"]
