"""`edge-kit eval`: the figures are those of an independent computation, and what they are compared with is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_kit.core.bundle import Bundle
from tests.conftest import Cli, Result, from_guide
from tests.data.test_imagenet import make_folder

CLASSES = 1000


@dataclass(frozen=True)
class Shaped:
    """A folder shaped like ImageNet, weights for it, and what an independent program makes of both."""

    root: Path
    weights: Path
    names: list[str]
    labels: np.ndarray
    logits: np.ndarray

    def percent(self, k: int) -> float:
        best = np.argsort(-self.logits, axis=1)[:, :k]
        return 100 * float(np.mean([label in row for label, row in zip(self.labels, best, strict=True)]))


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Shaped:
    """A thousand synsets of tiny JPEGs, one for training and two for evaluation each."""
    root, rng = tmp_path_factory.mktemp("shaped"), np.random.default_rng(0)
    names = [f"n{number:08d}" for number in rng.choice(10**8, CLASSES, replace=False)]  # in no order
    for name in names:
        pattern = rng.integers(60, 196, (4, 5, 3)).astype(np.float32)
        for split, count in (("train", 1), ("val", 2)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                picture = cv2.resize(pattern, (60, 48), interpolation=cv2.INTER_CUBIC)
                noisy = np.clip(picture + rng.normal(0, 25, picture.shape), 0, 255).astype(np.uint8)
                cv2.imwrite(str(root / split / name / f"{name}_{i}.JPEG"), noisy)
    names.sort()
    return _with_network(root, names)


def _with_network(root: Path, names: list[str]) -> Shaped:
    import paddle

    scope: dict[str, Any] = {"__name__": "toy"}
    exec(from_guide("toy_model.py").partition("def graphs(")[0], scope)  # the class alone: nothing is registered
    paddle.seed(1)
    net = scope["ToyNet"](CLASSES)
    net.eval()
    train = np.stack([by_hand(next((root / "train" / name).iterdir())) for name in names])
    paths = [path for name in names for path in sorted((root / "val" / name).iterdir())]
    with paddle.no_grad():
        mean = net.pool(net.features(paddle.to_tensor(train))).flatten(1).numpy()  # (classes, 32)
        net.head.weight.set_value(2 * mean.T)  # the nearest training picture wins
        net.head.bias.set_value(-(mean**2).sum(axis=1))
        logits = net(paddle.to_tensor(np.stack([by_hand(path) for path in paths]))).numpy()
    weights = root.parent / f"{root.name}.pdparams"
    paddle.save(net.state_dict(), str(weights))
    return Shaped(root, weights, names, np.repeat(np.arange(CLASSES), 2), logits)


def by_hand(path: Path) -> np.ndarray:
    """48 x 60 pixels -> 40 x 50, linear, as PaddlePaddle scores; the middle 32 x 32; RGB, normalised."""
    image = cv2.imread(str(path))
    resized = cv2.resize(image, (50, 40), interpolation=cv2.INTER_LINEAR)
    between = image.astype(np.float64)  # the same from the definition: linear between the centres of pixels
    for axis, size in ((0, 40), (1, 50)):
        at = (np.arange(size) + 0.5) * image.shape[axis] / size - 0.5
        low = np.floor(at).astype(int)
        share = np.expand_dims(at - low, (1, 2) if axis == 0 else (0, 2))
        between = (1 - share) * between.take(low, axis) + share * between.take(low + 1, axis)
    assert np.abs(resized - between).max() < 1  # OpenCV computes with 11 bits
    cut = resized[4:36, 9:41, ::-1] / 255
    return ((cut - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def scored(shaped: Shaped, session_cli: Cli) -> Result:
    subject = ("toynet", "--data", str(shaped.root), "--weights", str(shaped.weights))
    return session_cli("eval", *subject, "--runtime", "onnx,paddle", "--json")


def test_a_thousand_class_folders_give_the_figures_of_an_independent_program(shaped: Shaped, scored: Result) -> None:
    assert scored.code == 3, scored.err  # the published row of 99 % is not reached, see below
    expected = {"top1": shaped.percent(1), "top5": shaped.percent(5)}
    assert 20 < expected["top1"] < expected["top5"] < 100, "the test would say nothing"
    for row in scored.json["rows"]:
        assert {one["name"]: one["value"] for one in row["metrics"]} == pytest.approx(expected, abs=1e-9), row[
            "runtime"
        ]
        assert {one["samples"] for one in row["metrics"]} == {2 * CLASSES}
        low, high = row["intervals"]["top1"]
        assert low < expected["top1"] < high < low + 6  # about 2 * 1.96 * sqrt(p (1 - p) / 2000)
    assert [row["runtime"] for row in scored.json["rows"]] == ["onnx", "paddle"]


def test_every_class_is_counted_in_the_sorted_order_of_its_folder(shaped: Shaped, scored: Result) -> None:
    hits = shaped.logits.argmax(axis=1) == shaped.labels
    classes = scored.json["rows"][0]["classes"]
    assert [one["label"] for one in classes] == shaped.names
    assert [one["values"]["top1"] for one in classes] == [100 * float(pair.mean()) for pair in hits.reshape(-1, 2)]
    assert scored.json["data"]["order"] == "1,000 class folders, labels in the sorted order of their names"


def test_on_the_users_data_the_published_row_is_compared_with_its_source(shaped: Shaped, scored: Result) -> None:
    checks = scored.json["checks"]
    assert [check["name"] for check in checks] == [f"fp32 top1 against published, on {r}" for r in ("onnx", "paddle")]
    for check in checks:
        assert (check["value"], check["limit"], check["ok"]) == (pytest.approx(shaped.percent(1)), 98.5, False)
        assert check["note"] == "published 99 on toy val, a test"
    assert "below the published row: fp32 top1 against published, on onnx" in scored.err


def test_a_bundle_scores_what_its_receipt_says_and_mini_is_not_compared(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("eval", toy_run.json["bundle"], "--json")
    assert done.code == 0, done.err
    rows = {row["precision"]: row for row in done.json["rows"]}
    for precision, model in toy_run.json["models"].items():
        assert rows[precision]["metrics"][0] == model["metric"]
        classes = rows[precision]["classes"]
        mean = sum(one["samples"] * one["values"]["top1"] for one in classes) / 200
        assert mean == pytest.approx(model["metric"]["value"])
        assert [one["label"] for one in classes] == [f"digit {i}" for i in range(10)]
    assert all(
        check["ok"] is None and "not comparable: mini-imagenet" in check["note"] for check in done.json["checks"]
    )


def test_a_file_is_scored_like_the_model_it_is_said_to_be(toy_run: Result, session_cli: Cli) -> None:
    bundle = Bundle(Path(toy_run.json["bundle"]))
    done = session_cli("eval", str(bundle.graph("int8", "main")), "--like", "toynet", "--json")
    assert done.code == 0, done.err
    assert done.json["rows"][0]["metrics"][0] == toy_run.json["models"]["int8"]["metric"]
    program = session_cli("eval", str(bundle.paddle_graph("main")), "--like", "toynet", "--runtime", "paddle", "--json")
    assert program.json["rows"][0]["metrics"][0] == toy_run.json["models"]["fp32"]["metric"]


def test_people_see_the_interval_the_classes_and_the_source(toy_run: Result, session_cli: Cli) -> None:
    done = session_cli("eval", toy_run.json["bundle"], "--precision", "int8", "--runtime", "onnx,ncnn")
    assert done.code == 0, done.err
    metric = toy_run.json["models"]["int8"]["metric"]
    assert f"{metric['value']:.2f} % [" in done.out
    assert "3 digit 3" in done.out
    assert "quantized" in done.out  # why ncnn has no figure
    assert "not comparable" in done.out


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("mobilenetv1",), 2, "'mobilenetv1' is no bundle yet, and a zoo model needs --weights FILE"),
        (("mobilnetv1",), 2, "did you mean 'mobilenetv1'?"),
        (("toynet", "--weights", "nowhere.pdparams"), 1, "weights file 'nowhere.pdparams' does not exist"),
        (("toynet", "--weights", "pretrained"), 1, "no pretrained weights of 'toynet' for this data set"),
        (("net.onnx",), 2, "nobody told what 'net.onnx' is; pass --like ID"),
        (("net.onnx", "--like", "toynet"), 1, "model file 'net.onnx' does not exist"),
        (("toynet", "--like", "toynet"), 2, "--like tells what a file is"),
        (("BUNDLE", "--precision", "int4"), 2, "has no precision 'int4', but fp32, int8"),
        (("BUNDLE", "--threads", "0"), 2, "--threads must be at least 1"),
        (("BUNDLE", "--precision", "int8", "--runtime", "ncnn"), 1, "is quantized"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_scored_is_one_line(
    args: tuple[str, ...], code: int, said: str, toy_run: Result, session_cli: Cli
) -> None:
    done = session_cli("eval", *(toy_run.json["bundle"] if arg == "BUNDLE" else arg for arg in args))
    assert (done.code, done.is_one_line()) == (code, True), done.err
    assert said in done.err


def test_a_graph_of_other_classes_than_the_data_is_one_line(toy_run: Result, session_cli: Cli, tmp_path: Path) -> None:
    root = make_folder(tmp_path)  # three classes
    graph = Bundle(Path(toy_run.json["bundle"])).graph("fp32", "main")
    done = session_cli("eval", str(graph), "--like", "toynet", "--data", str(root))
    assert (done.code, done.is_one_line()) == (1, True), done.err
    assert "the graph tells 10 classes apart and imagenet-1k has 3" in done.err
