"""A small reader of lines goes the whole way, and the read demo gives what scoring the same lines offline gives."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, load_demos
from edge_kit.camera.frame import Region
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.lines import LinePreprocess
from edge_kit.core.workspace import Workspace
from edge_kit.data.mini.compose import EVALUATION, compose_line
from edge_kit.data.mini.digits import load_digits
from edge_kit.tasks.read_text import read_greedily
from runtimes.deploy import load_bundle
from tests.camera.parts import read_video
from tests.conftest import ANY_RATIO, Cli, Result, install_distribution

READER = """
from paddle import nn

from edge_kit.core.lines import LinePreprocess
from edge_kit.data import MiniSettings
from edge_kit.train.recipe import Recipe
from edge_kit.zoo import Setup, ZooEntry, register
from edge_kit.zoo.ocr.crnn import graphs


class Small(nn.Layer):
    def __init__(self, num_classes):
        super().__init__()
        layers = []
        for before, after in ((1, 16), (16, 24), (24, 32)):
            layers += [nn.Conv2D(before, after, 3, 2, 1), nn.BatchNorm2D(after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.gru = nn.GRU(192, 32, direction="bidirectional")
        self.out = nn.Linear(64, num_classes + 1)

    def forward(self, image):
        columns = self.features(image).transpose([0, 3, 1, 2]).reshape([0, 0, 192])
        return self.out(self.gru(columns)[0])


LINE, RECIPE = LinePreprocess(104), Recipe(2, 16, 0.005, optimizer="adam", momentum=0.0)
register(
    ZooEntry(
        id="small_reader", title="Reader", family="test", task="read_text", paper="none", licence="none",
        source="a test", data="ocr_lines", parameters=1, macs=1, published_sizes={"num_classes": 95}, build=Small,
        graphs=graphs, references=(), published=Setup(LINE, RECIPE, RECIPE),
        mini=Setup(LINE, RECIPE, RECIPE, made=MiniSettings(train=480, evaluation=60, side=32)),
    )
)
"""


@pytest.fixture(scope="module")
def made(session_cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Result:
    site = tmp_path_factory.mktemp("reader")
    install_distribution(site, "small_reader", "edge_kit.models", "small_reader", READER)
    return session_cli.with_packages(site)("compress", "small_reader", "--calibration", "60", *ANY_RATIO, "--json")


@pytest.fixture(scope="module")
def bundle(made: Result) -> Bundle:
    return Bundle(Path(made.json["bundle"]))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of held-out digits of many sizes, large ones as a camera gives them."""
    folder, digits = tmp_path_factory.mktemp("lines"), load_digits("val")
    rng = np.random.default_rng(4)
    for i in range(12):
        line = compose_line(
            digits, rng.integers(len(digits.labels), size=2 + i % 2).tolist(), "val", 32, EVALUATION, rng
        )
        size = (line.shape[1] // 2 * 2 * (1 + i), line.shape[0] * (1 + i))  # even: a region begins between pixels
        cv2.imwrite(str(folder / f"{i:02d}.png"), cv2.resize(line, size, interpolation=cv2.INTER_CUBIC))
    return folder


def test_every_check_holds_and_the_error_rate_is_a_ceiling(made: Result) -> None:
    assert made.code == 0, made.err
    checks = {check["name"]: check for check in made.json["checks"]}
    assert all(check["ok"] is not False for check in checks.values())
    assert checks["int8 sequence error rate rise"]["unit"] == "points"
    metric = made.json["models"]["fp32"]["metric"]
    assert (metric["name"], metric["samples"], metric["lower_is_better"]) == ("sequence error rate", 60, True)
    training = made.json["facts"]
    assert training["agreement"]["int8"]["name"] == "same reading"


def test_convolutions_compute_in_int8_and_the_gru_is_stored_so(made: Result, bundle: Bundle) -> None:
    lowering = made.json["facts"]["lowering"]["main"]
    assert lowering["quantized"]["Conv"] == 3
    assert lowering["passes"]["store_weights"] >= 3, "both matrices of the GRU, and the last one"
    assert bundle.size_bytes("int8") < 0.4 * bundle.size_bytes("fp32")


def run(folder: Path, bundle: Bundle, pictures: Path, **options: object) -> list[dict]:
    request = DemoRequest(
        "read", str(bundle.path), images=pictures, jsonl=folder / "out.jsonl", window=False, **options
    )  # fmt: skip
    run_demo(request, Workspace.open(folder), lambda line: None)
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_readings_are_those_of_offline_scoring(precision: str, bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    lines = run(tmp_path, bundle, pictures, precision=precision)
    session, prepare = load_bundle(bundle, precision=precision)["main"], bundle.preprocess_as(LinePreprocess)
    assert len(lines) == 12
    for line, path in zip(lines, sorted(pictures.iterdir()), strict=True):
        image = cv2.imread(str(path))
        fitted = cv2.resize(image, (round(image.shape[1] * 48 / image.shape[0]), 48))
        [wanted] = read_greedily(session.run({"image": prepare(fitted)[None]})["logits"])
        assert line["answer"] == {"text": "".join(bundle.manifest.labels[i] for i in wanted), "ids": list(wanted)}


def test_a_region_is_read_as_if_there_were_nothing_else(bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    whole = run(tmp_path, bundle, pictures)
    (tmp_path / "pages").mkdir()
    for path in pictures.iterdir():
        line = cv2.imread(str(path))
        height, width = line.shape[:2]
        page = np.random.default_rng(0).integers(0, 256, (4 * height, 2 * width, 3), np.uint8)
        page[height : 2 * height, width // 2 : width // 2 + width] = line
        cv2.imwrite(str(tmp_path / "pages" / path.name), page)
    region = Region.parse("0.25,0.25,0.5,0.25")
    found = run(tmp_path, bundle, tmp_path / "pages", region=region, save=tmp_path / "seen.avi")
    assert [line["answer"] for line in found] == [line["answer"] for line in whole]
    [frame] = read_video(tmp_path / "seen.avi")[:1]
    height, width = frame.shape[:2]
    around = frame[height // 4 - 4 : height // 4 + 4, width // 2].astype(int)
    assert (around @ [-1, 2, -1]).max() > 100, "a green line is drawn where the region begins"


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0.5,0,0.6,1", "0,0,0,1", "-0.1,0,0.5,0.5", "nan,0,1,1"])
def test_a_region_outside_the_picture_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^a region (lies within|is left,top,width,height)"):
        Region.parse(text)


def test_a_tiny_region_is_a_pixel() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    assert Region(0.999, 0.999, 0.001, 0.001).of(image).shape == (1, 1, 3)
    assert Region(0.5, 0.2, 0.5, 0.3).of(image).shape == (3, 5, 3)


def test_outputs_that_are_no_line_are_one_line(bundle: Bundle) -> None:
    load_demos()
    demo = DEMOS.get("read").make(bundle)
    with pytest.raises(BadData, match=r"^output 'logits' of shape \(1, 96\) is no line of 95 ids and a blank$"):
        demo.read({"logits": np.zeros((1, 96))})
    with pytest.raises(BadData, match="^output 'logits' is not finite$"):
        demo.read({"logits": np.full((1, 5, 96), np.nan)})
