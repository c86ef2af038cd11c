"""The detect demo gives what the task gives of the same frames offline, and draws it where it is."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from convert.export import canonicalise, export_paddle, paddle_to_onnx
from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, Demo, load_demos
from edge_kit.core.bundle import Bundle, Manifest, write_bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.images import SquarePreprocess
from edge_kit.core.workspace import Workspace
from edge_kit.data.mini.clip import film
from edge_kit.tasks import TASKS
from edge_kit.tasks.detect import SURE
from edge_kit.train.settle import settle
from edge_kit.zoo import MODELS, load_all
from runtimes.deploy import load_bundle

SIDE, FRAMES = 64, 3
load_all()


@pytest.fixture(scope="module", params=["ssd", pytest.param("yolov3_mobilenet_v1", marks=pytest.mark.slow)])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A detector of random weights that suit its inputs, full precision in both places."""
    entry, folder = MODELS.get(request.param), tmp_path_factory.mktemp("bundle")
    paddle.seed(4)
    net, preprocess = entry.build(num_classes=2), SquarePreprocess(SIDE)
    (spec,) = entry.graphs(preprocess).values()
    settle(net, spec, {"image": np.random.default_rng(1).normal(0, 1, (8, 3, SIDE, SIDE)).astype(np.float32)})
    export_paddle(net, spec, folder / "main")
    paddle_to_onnx(folder / "main", folder / "converted.onnx", spec)
    canonicalise(folder / "converted.onnx", folder / "main.onnx")
    graphs = {precision: {"main": f"{precision}/main.onnx"} for precision in ("fp32", "int8")}
    manifest = Manifest(
        entry.id,
        entry.title,
        entry.task,
        "x86-vnni",
        graphs,
        {"main": spec.inputs},
        {"main": spec.outputs},
        preprocess.as_dict(),
        ("left", "right"),
        {},
    )
    place = folder / "made"
    place.mkdir()
    write_bundle(place, manifest, {precision: {"main": folder / "main.onnx"} for precision in graphs}, {})
    return Bundle(place)


def demo_of(bundle: Bundle) -> Demo:
    load_demos()
    return DEMOS.get("detect").make(bundle)


def test_what_is_found_is_what_the_task_finds_in_the_same_frames_offline(bundle: Bundle, tmp_path: Path) -> None:
    jsonl = tmp_path / "out.jsonl"
    request = DemoRequest(
        "detect", str(bundle.path), synthetic=True, frames=FRAMES, jsonl=jsonl, window=False, compare=True
    )
    summary = run_demo(request, Workspace.open(tmp_path), lambda line: None)
    lines = [json.loads(line) for line in jsonl.read_text().splitlines()]
    session, prepare = load_bundle(bundle)["main"], bundle.preprocess()
    assert len(lines) == FRAMES
    for number, line in enumerate(lines):
        outputs = session.run({"image": prepare(film(number))[None]})
        [found] = TASKS.get(bundle.manifest.task).detect(outputs, SIDE)
        sure = found.at_least(SURE)
        answer = line["answer"]["found"]
        assert len(answer) == len(sure.labels) > 0
        assert [one["class"] for one in answer] == sure.labels.tolist()
        assert {one["label"] for one in answer} <= {"left", "right"}
        np.testing.assert_allclose([one["score"] for one in answer], sure.scores, rtol=1e-6)
        np.testing.assert_allclose([one["box"] for one in answer], sure.boxes, rtol=1e-6)
    assert summary.notes == (f"int8 and fp32 differ on 0 of {FRAMES} frames",)


def test_boxes_are_drawn_where_the_objects_are_at_any_size(bundle: Bundle) -> None:
    demo = demo_of(bundle)
    answer = {"found": [{"label": "left", "class": 0, "score": 0.9, "box": [0.25, 0.5, 0.75, 1.0]}]}
    for height, width in ((200, 400), (300, 100)):
        image = np.zeros((height, width, 3), np.uint8)
        demo.draw(image, answer)
        assert image[round(0.8 * height), width // 4].any() and image[round(0.8 * height), width * 3 // 4].any()
        assert not image[round(0.8 * height), width // 2].any(), "nothing within"
        assert not image[: round(0.35 * height)].any(), "nothing above its name"
    demo.draw(np.zeros((20, 30, 3), np.uint8), {"found": [dict(answer["found"][0], box=[0.0, 0.0, 1.0, 1.0])] * 3})


def test_two_answers_are_the_same_when_each_finds_the_others_objects(bundle: Bundle) -> None:
    demo = demo_of(bundle)
    one = {"label": "left", "class": 0, "score": 0.9, "box": [0.1, 0.1, 0.5, 0.5]}
    near, other = {**one, "box": [0.1, 0.1, 0.5, 0.45], "score": 0.4}, {**one, "class": 1}
    far = {**one, "box": [0.5, 0.5, 0.9, 0.9]}
    assert demo.same({"found": []}, {"found": []})
    assert demo.same({"found": [one]}, {"found": [near]})
    assert demo.same({"found": [one, far]}, {"found": [far, near]})
    for different in ([], [other], [far], [one, near]):
        assert not demo.same({"found": [one]}, {"found": different})


def test_without_a_bundle_it_says_how_to_make_one_and_another_tasks_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no bundle for 'detect' in .* edge-kit compress ssd$"):
        run_demo(DemoRequest("detect", synthetic=True), Workspace.open(tmp_path), print)
    document = json.loads((bundle.path / "bundle.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps({**document, "task": "classify"}))
    with pytest.raises(BadData, match="finds no objects: its task is 'classify'"):
        demo_of(Bundle(tmp_path))
