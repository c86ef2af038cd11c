"""The classify demo gives what scoring the same frames offline gives, whatever a bundle takes and whatever runs it."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, load_demos
from edge_kit.camera.sinks import VideoSink
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.workspace import Workspace
from edge_kit.data.mini.clip import film
from runtimes.deploy import load_bundle
from tests.camera.parts import read_video, shown
from tests.conftest import TOY, Cli, Result

FRAMES = 40


@pytest.fixture(scope="module")
def floats(toy_run: Result) -> Path:
    return Path(toy_run.json["bundle"])


@pytest.fixture(scope="module")
def pixels(toy_run: Result, session_cli: Cli) -> Path:
    return Path(session_cli(*TOY, "--input", "uint8-nhwc", "--json").json["bundle"])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mini digits on photographs, as a real video file."""
    path = tmp_path_factory.mktemp("video") / "digits.mp4"
    sink = VideoSink(path, 25.0)
    for number in range(FRAMES):
        frame = shown(number, number / 25)
        frame.shown = film(5 * number)
        sink.write(frame)
    sink.close()
    return path


def run(folder: Path, bundle: Path, video: Path, **options: object) -> tuple[list[dict], list[str]]:
    """The lines that a demo writes for a video, and what it says."""
    said: list[str] = []
    request = DemoRequest(
        "classify", str(bundle), video=video, jsonl=folder / "out.jsonl", window=False, **options
    )  # fmt: skip
    summary = run_demo(request, Workspace.open(folder), said.append)
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert summary.frames == len(lines)
    return lines, said


def offline(bundle: Path, video: Path, runtime: str, precision: str) -> list[np.ndarray]:
    """Softmax of the logits of every frame, one after the other, without any of the camera's code."""
    opened = Bundle(bundle)
    session, prepare = load_bundle(opened, runtime=runtime, precision=precision)["main"], opened.preprocess()
    rows = []
    for image in read_video(video):
        logits = session.run({"image": prepare(image)[None]})["logits"][0].astype(np.float64)
        rows.append(np.exp(logits) / np.exp(logits).sum())
    return rows


CASES = [
    ("floats", "onnx", "int8"), ("floats", "onnx", "fp32"), ("pixels", "onnx", "int8"), ("pixels", "onnx", "fp32"),
    ("floats", "openvino", "int8"), ("pixels", "openvino", "fp32"), ("floats", "mnn", "fp32"),
    ("floats", "ncnn", "fp32"), ("floats", "paddle", "fp32"),
]  # fmt: skip


@pytest.mark.parametrize("kind, runtime, precision", CASES)
def test_numbers_are_those_of_offline_scoring(
    kind: str, runtime: str, precision: str, video: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bundle = request.getfixturevalue(kind)
    lines, _ = run(tmp_path, bundle, video, runtime=runtime, precision=precision)
    expected = offline(bundle, video, runtime, precision)
    assert [line["frame"] for line in lines] == list(range(FRAMES))
    assert {(line["runtime"], line["precision"]) for line in lines} == {(runtime, precision)}
    for line, shares in zip(lines, expected, strict=True):
        top = line["answer"]["top"]
        assert [one["class"] for one in top] == list(np.argsort(-shares, kind="stable")[:5])
        np.testing.assert_allclose([one["share"] for one in top], -np.sort(-shares)[:5], rtol=1e-9)
        assert top[0]["label"] == f"digit {top[0]['class']}"
    assert len({line["answer"]["top"][0]["class"] for line in lines}) > 1, "the video shows several digits"


def test_the_saved_video_plays_shows_every_frame_and_has_its_answer_on_it(
    floats: Path, video: Path, tmp_path: Path
) -> None:
    lines, _ = run(tmp_path, floats, video, save=tmp_path / "out.mp4")
    frames = read_video(tmp_path / "out.mp4")
    assert len(frames) == len(lines) == FRAMES
    assert set(lines[-1]["ms"]) == {"capture", "preprocess", "inference", "postprocess", "draw"}
    assert frames[0].shape == (360, 360, 3)
    plain = cv2.resize(read_video(video)[-1], (360, 360), interpolation=cv2.INTER_LINEAR)
    differs = np.abs(frames[-1].astype(int) - plain).mean(axis=2) > 40
    assert differs[:60, :60].any() and differs[-60:, :60].any(), "the overlay above and the answer below"
    assert not differs[130:280, 220:].any(), "the middle of the picture is as it was"


def test_both_precisions_side_by_side_are_those_of_offline_scoring_and_their_differences_are_counted(
    floats: Path, video: Path, tmp_path: Path
) -> None:
    request = DemoRequest(
        "classify", str(floats), video=video, window=False, compare=True,
        save=tmp_path / "out.mp4", jsonl=tmp_path / "out.jsonl",
    )  # fmt: skip
    summary = run_demo(request, Workspace.open(tmp_path), lambda line: None)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    ours = [[one["answer"]["top"][0]["class"] for one in (line, line["against"])] for line in lines]
    int8, fp32 = (offline(floats, video, "onnx", precision) for precision in ("int8", "fp32"))
    assert ours == [[int(a.argmax()), int(b.argmax())] for a, b in zip(int8, fp32, strict=True)]
    differing = sum(first != second for first, second in ours)
    assert summary.notes == (f"int8 and fp32 differ on {differing} of {FRAMES} frames",)
    assert read_video(tmp_path / "out.mp4")[0].shape == (360, 720, 3)


def test_a_folder_of_pictures_of_many_sizes_is_run_and_a_broken_one_left_out(floats: Path, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for number, (height, width) in enumerate([(240, 240), (64, 200), (300, 31)]):
        cv2.imwrite(str(tmp_path / "shots" / f"{number}.png"), cv2.resize(film(0), (width, height)))
    (tmp_path / "shots" / "1b.jpg").write_bytes(b"\xff\xd8\xff")
    request = DemoRequest(
        "classify", str(floats), images=tmp_path / "shots", window=False,
        save=tmp_path / "out.avi", jsonl=tmp_path / "out.jsonl",
    )  # fmt: skip
    summary = run_demo(request, Workspace.open(tmp_path), lambda line: None)
    assert (summary.frames, summary.unread) == (3, 1)
    names = [json.loads(line)["name"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert names == ["0.png", "1.png", "2.png"]
    assert len(read_video(tmp_path / "out.avi")) == 4, "the first picture stays for the broken one"


def test_the_bundle_made_last_for_the_task_is_taken(toy_run: Result, session_cli: Cli, video: Path) -> None:
    said: list[str] = []
    request = DemoRequest("classify", video=video, window=False, frames=2)
    run_demo(request, Workspace.open(session_cli.workspace), said.append)
    assert said[0].startswith("classify: digits.mp4 through ")


def test_faults_are_told_before_anything_runs(floats: Path, video: Path, tmp_path: Path) -> None:
    store, say = Workspace.open(tmp_path), print
    with pytest.raises(UsageError, match="unknown demo 'clasify'; did you mean 'classify'"):
        run_demo(DemoRequest("clasify", video=video), store, say)
    with pytest.raises(UsageError, match="no bundle for 'classify' in .* edge-kit compress mobilenetv2$"):
        run_demo(DemoRequest("classify", video=video), store, say)
    with pytest.raises(UsageError, match="a demo has one source, got 2; choose --camera 0"):
        DemoRequest("classify", video=video, synthetic=True)
    with pytest.raises(UsageError, match="--frames must be 0"):
        DemoRequest("classify", video=video, frames=-1)
    with pytest.raises(EdgeKitError, match="quantized"):
        run_demo(DemoRequest("classify", str(floats), runtime="ncnn", video=video), store, say)


def test_outputs_that_are_no_row_of_classes_are_one_line(floats: Path) -> None:
    load_demos()
    demo = DEMOS.get("classify").make(Bundle(floats))
    with pytest.raises(BadData, match=r"^output 'logits' of shape \(1, 2, 3\) is no row of classes$"):
        demo.read({"logits": np.zeros((1, 2, 3))})
    with pytest.raises(BadData, match="^logits are not finite: 2 of 3$"):
        demo.read({"logits": np.array([[np.nan, 1.0, np.inf]])})


def test_a_demo_is_one_short_file() -> None:
    load_demos()
    root = Path(__file__).parent.parent.parent / "demos"
    for kind in DEMOS:
        assert len((root / f"{kind.name}.py").read_text().splitlines()) <= 80
