"""The search demo finds again what it was shown, by what offline embeddings of the same pictures say."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import helper

from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, load_demos
from edge_kit.core.bundle import Bundle, Manifest, write_bundle
from edge_kit.core.errors import BadData
from edge_kit.core.images import ImagePreprocess
from edge_kit.core.tensors import TensorSpec
from edge_kit.core.workspace import Workspace
from runtimes.deploy import load_bundle
from tests.camera.parts import read_video
from tests.convert.graphs import build

SIDE = 16
COLOURS = {"red": (30, 20, 200), "green": (40, 190, 30), "blue": (210, 40, 20), "white": (240, 235, 245)}  # BGR


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mean of each channel, turned; INT8 takes red for blue."""
    root = tmp_path_factory.mktemp("embedder")
    shape = ["N", 3, SIDE, SIDE]
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 3)))[0].T.astype(np.float32)  # (3, 8)
    files = {}
    for precision, weights in (("fp32", turn), ("int8", turn[::-1])):
        nodes = [
            helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "w"], ["embedding"]),
        ]
        build(nodes, {"w": weights}, {"image": shape}, {"embedding": ["N", 8]}).save(root / f"{precision}.onnx")
        files[precision] = {"main": root / f"{precision}.onnx"}
    manifest = Manifest(
        id="embedder", title="Embedder", task="embed", target="x86-vnni",
        graphs={precision: {"main": f"{precision}/main.onnx"} for precision in files},
        inputs={"main": (TensorSpec("image", tuple(shape), layout="NCHW"),)}, outputs={"main": ("embedding",)},
        preprocess=ImagePreprocess(SIDE, SIDE).as_dict(), labels=(), model={},
    )  # fmt: skip
    (root / "bundle").mkdir()
    write_bundle(root / "bundle", manifest, files, {})
    return root / "bundle"


def pictures(folder: Path, shift: int = 0) -> Path:
    folder.mkdir()
    for name, colour in COLOURS.items():
        noise = np.random.default_rng(len(name) + shift).integers(-12, 13, (40, 60, 3))
        cv2.imwrite(str(folder / f"{name}.png"), np.clip(np.array(colour) + shift + noise, 0, 255).astype(np.uint8))
    return folder


def lines_of(folder: Path, bundle: Path, **options: object) -> list[dict]:
    request = DemoRequest("search", str(bundle), window=False, jsonl=folder / "out.jsonl", **options)
    run_demo(request, Workspace.open(folder), lambda line: None)
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_was_enrolled_is_found_with_the_likeness_of_offline_embeddings(
    precision: str, bundle: Path, tmp_path: Path
) -> None:
    shown, asked = pictures(tmp_path / "things"), pictures(tmp_path / "seen", shift=6)
    lines = lines_of(tmp_path, bundle, precision=precision, images=asked, enrol=shown)
    session, prepare = load_bundle(Bundle(bundle), precision=precision)["main"], Bundle(bundle).preprocess()

    def embed(path: Path) -> np.ndarray:
        found = session.run({"image": prepare(cv2.imread(str(path)))[None]})["embedding"][0]
        return found / np.linalg.norm(found)

    names = sorted(COLOURS)
    kept = np.stack([embed(shown / f"{name}.png") for name in names])
    assert [Path(line["name"]).stem for line in lines] == names
    for line, name in zip(lines, names, strict=True):
        wanted = kept @ embed(asked / f"{name}.png")
        order = np.argsort(-wanted)[:3]
        assert [one["name"] for one in line["answer"]["found"]] == [names[i] for i in order]
        np.testing.assert_allclose([one["likeness"] for one in line["answer"]["found"]], wanted[order], atol=1e-6)
    assert all(line["answer"]["found"][0]["name"] == name for line, name in zip(lines, names, strict=True))


def test_two_precisions_that_name_other_things_are_counted_and_a_video_is_saved(bundle: Path, tmp_path: Path) -> None:
    shown, asked = pictures(tmp_path / "things"), pictures(tmp_path / "seen", shift=6)
    lines = lines_of(
        tmp_path, bundle, precision="fp32", compare=True, images=asked, enrol=shown, save=tmp_path / "o.avi"
    )
    first = [[line["answer"]["found"][0]["name"], line["against"]["answer"]["found"][0]["name"]] for line in lines]
    assert [pair[0] for pair in first] == sorted(COLOURS)
    assert any(one != other for one, other in first), "INT8 looks for embeddings of the other one"
    assert len(read_video(tmp_path / "o.avi")) == len(COLOURS)


def test_a_key_keeps_what_is_read_next_under_a_number_and_one_of_a_name_under_that(bundle: Path) -> None:
    load_demos()
    demo, one = DEMOS.get("search").make(Bundle(bundle)), np.eye(8, dtype=np.float32)
    assert demo.read({"embedding": one[:1]}) == {"found": [], "kept": 0}
    demo.enrol("")
    assert demo.read({"embedding": one[:1]})["found"] == [{"name": "thing 1", "likeness": 1.0}]
    demo.enrol("cup")
    assert demo.read({"embedding": one[1:2]})["found"][0] == {"name": "cup", "likeness": 1.0}
    assert demo.read({"embedding": 5 * one[:1]})["found"][0]["name"] == "thing 1", "of any length"
    assert demo.read({"embedding": one[2:3]})["kept"] == 2


def test_an_embedding_that_is_none_is_one_line(bundle: Path) -> None:
    load_demos()
    demo = DEMOS.get("search").make(Bundle(bundle))
    for given in (np.zeros((1, 8)), np.full((1, 8), np.nan), np.ones((2, 8))):
        with pytest.raises(BadData, match=r"^output 'embedding' of shape \(\d, 8\) is no embedding of one picture"):
            demo.read({"embedding": given})


def test_a_folder_to_enrol_that_is_not_there_is_one_line(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such folder: 'none'"):
        lines_of(tmp_path, bundle, synthetic=True, enrol=Path("none"))
