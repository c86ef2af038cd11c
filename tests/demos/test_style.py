"""The style demo shows what the graph made of the square that it saw."""

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import helper

from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, load_demos
from edge_kit.core.bundle import Bundle, Manifest, write_bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import TensorSpec
from edge_kit.core.workspace import Workspace
from tests.convert.graphs import build

HALVES = (0.5, 0.5, 0.5)
SIDE = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full precision gives the negative of a picture, INT8 a pale one."""
    root = tmp_path_factory.mktemp("negative")
    shape = ["N", 3, SIDE, SIDE]
    files = {}
    for precision, factor in (("fp32", -1.0), ("int8", -0.5)):
        node = helper.make_node("Mul", ["a", "factor"], ["fake_b"])
        files[precision] = {"a_to_b": root / f"{precision}.onnx"}
        graph = build([node], {"factor": np.array([factor], np.float32)}, {"a": shape}, {"fake_b": shape})
        graph.save(root / f"{precision}.onnx")
    manifest = Manifest(
        id="negative", title="Negative", task="translate", target="x86-vnni",
        graphs={precision: {"a_to_b": f"{precision}/a_to_b.onnx"} for precision in files},
        inputs={"a_to_b": (TensorSpec("a", tuple(shape), layout="NCHW"),)}, outputs={"a_to_b": ("fake_b",)},
        preprocess=ImagePreprocess(SIDE, SIDE, HALVES, HALVES).as_dict(), labels=(), model={},
    )  # fmt: skip
    (root / "bundle").mkdir()
    write_bundle(root / "bundle", manifest, files, {})
    return root / "bundle"


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shots")
    for number in range(3):
        picture = np.full((SIDE, 2 * SIDE, 3), (10 + number, 100, 200), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def lines_of(folder: Path, bundle: Path, shots: Path, **options: object) -> list[dict]:
    request = DemoRequest(
        "style", str(bundle), images=shots, window=False, jsonl=folder / "out.jsonl", **options
    )  # fmt: skip
    run_demo(request, Workspace.open(folder), lambda line: None)
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_an_answer_is_the_whole_picture(bundle: Path, shots: Path, tmp_path: Path) -> None:
    lines = lines_of(tmp_path, bundle, shots, precision="fp32")
    assert len(lines) == 3
    for number, line in enumerate(lines):
        packed = np.frombuffer(base64.b64decode(line["answer"]["picture"]), np.uint8)
        picture = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        assert picture.shape == (SIDE, SIDE, 3)
        assert (picture == (245 - number, 155, 55)).all(), "BGR, each 255 less what it was"


def test_the_square_in_the_middle_is_drawn_over_and_what_lies_beside_it_is_not(bundle: Path) -> None:
    load_demos()
    demo = DEMOS.get("style").make(Bundle(bundle))
    image = np.full((100, 300, 3), 40, np.uint8)
    answer = demo.read({"fake_b": np.full((1, 3, SIDE, SIDE), 1.0, np.float32)})
    demo.draw(image, answer)
    assert (image[:, 100:200] == 255).all()
    assert (image[:, :100] == 40).all() and (image[:, 200:] == 40).all()


def test_precisions_that_make_other_pictures_differ(bundle: Path, shots: Path, tmp_path: Path) -> None:
    request = DemoRequest("style", str(bundle), images=shots, window=False, compare=True, jsonl=tmp_path / "out.jsonl")
    summary = run_demo(request, Workspace.open(tmp_path), lambda line: None)
    assert summary.notes == ("int8 and fp32 differ on 3 of 3 frames",)


def test_what_is_no_picture_is_one_line(bundle: Path, tmp_path: Path) -> None:
    load_demos()
    demo = DEMOS.get("style").make(Bundle(bundle))
    with pytest.raises(BadData, match=r"^output 'fake_b' of shape \(1, 10\) is no picture$"):
        demo.read({"fake_b": np.zeros((1, 10))})
    with pytest.raises(BadData, match="is no picture$"):
        demo.read({"fake_b": np.full((1, 3, 2, 2), np.nan)})
    with pytest.raises(UsageError, match="no bundle for 'style' in .* make one: edge-kit compress cyclegan$"):
        run_demo(DemoRequest("style", synthetic=True), Workspace.open(tmp_path), print)
