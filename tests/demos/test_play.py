"""The play demo plays: what the network prefers is done, and the next picture shows it."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edge_kit.camera.app import DemoRequest, run_demo
from edge_kit.camera.demo import DEMOS, load_demos
from edge_kit.core.bundle import Bundle, Manifest, write_bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.frames import FrameStack
from edge_kit.core.tensors import TensorSpec
from edge_kit.core.workspace import Workspace
from edge_kit.data.mini.catch import BALL, BLACK, GREY, PADDLE, THICK, WHITE, Catch
from tests.camera.parts import read_video
from tests.convert.graphs import build

SIDE = 40
ROWS = SIDE - round(THICK * SIDE)  # above the paddle


def follower() -> tuple[np.ndarray, np.ndarray]:
    """Weights (4 * SIDE * SIDE, 3) and bias of a linear network: how far the ball is to the right of the paddle."""
    places = np.zeros((4, SIDE, SIDE))
    ball = round(BALL * SIDE) ** 2 * (WHITE - BLACK)
    paddle = round(PADDLE * SIDE) * round(THICK * SIDE) * (GREY - BLACK)
    places[3, :ROWS] = np.arange(SIDE) / ball
    places[3, ROWS:] = -np.arange(SIDE) / paddle
    right = places.reshape(-1)
    bias = -BLACK * right.sum()
    weights = np.stack([np.zeros_like(right), -right, right], axis=1).astype(np.float32)
    return weights, np.array([2.0, -bias, bias], np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Full precision follows the ball, INT8 always goes to the left."""
    root = tmp_path_factory.mktemp("follower")
    shape = ["N", 4, SIDE, SIDE]
    weights, bias = follower()
    nets = {"fp32": (weights, bias), "int8": (0 * weights, np.array([0.0, 1.0, 0.0], np.float32))}
    files = {}
    for precision, (w, b) in nets.items():
        nodes = [
            helper.make_node("Flatten", ["frames"], ["flat"], axis=1),
            helper.make_node("Gemm", ["flat", "w", "b"], ["q"]),
        ]
        build(nodes, {"w": w, "b": b}, {"frames": shape}, {"q": ["N", 3]}).save(root / f"{precision}.onnx")
        files[precision] = {"main": root / f"{precision}.onnx"}
    manifest = Manifest(
        id="follower", title="Follower", task="control", target="x86-vnni",
        graphs={precision: {"main": f"{precision}/main.onnx"} for precision in files},
        inputs={"main": (TensorSpec("frames", tuple(shape), layout="NCHW"),)}, outputs={"main": ("q",)},
        preprocess=FrameStack(SIDE, 4, "catch").as_dict(), labels=Catch.actions, model={},
    )  # fmt: skip
    (root / "bundle").mkdir()
    write_bundle(root / "bundle", manifest, files, {})
    return root / "bundle"


def lines_of(folder: Path, bundle: Path, frames: int, **options: object) -> list[dict]:
    request = DemoRequest(
        "play", str(bundle), synthetic=True, window=False, frames=frames, jsonl=folder / "out.jsonl", **options
    )  # fmt: skip
    run_demo(request, Workspace.open(folder), lambda line: None)
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_whoever_follows_the_ball_catches_it(bundle: Path, tmp_path: Path) -> None:
    answers = [line["answer"] for line in lines_of(tmp_path, bundle, 71, precision="fp32")]
    assert len(answers) == 71
    assert [answer["points"] for answer in answers[::7]] == [*range(10), 0], "an episode is ten balls of seven steps"
    assert {answer["action"] for answer in answers} == {0, 1, 2}
    assert set(answers[0]["worth"]) == set(Catch.actions)


def test_what_is_shown_is_what_was_done_and_both_precisions_are_compared_on_one_game(
    bundle: Path, tmp_path: Path
) -> None:
    lines = lines_of(tmp_path, bundle, 20, compare=True, save=tmp_path / "out.avi")
    assert {line["answer"]["action"] for line in lines} == {1}
    assert any(line["against"]["answer"]["action"] != 1 for line in lines)
    game = Catch(SIDE)
    game.reset(0)
    points = 0.0
    for line in lines:
        assert line["answer"]["points"] == points
        points += game.step(1).reward
    frames = read_video(tmp_path / "out.avi")
    assert len(frames) == 20
    bottom = frames[-1][-20:, 180:360].mean()
    assert bottom < 60, "the paddle has gone to the left"


def test_a_game_needs_no_camera_and_a_bundle_that_plays(bundle: Path, tmp_path: Path) -> None:
    store = Workspace.open(tmp_path)
    with pytest.raises(UsageError, match="demo 'play' makes its own pictures; choose --synthetic"):
        run_demo(DemoRequest("play", str(bundle), images=tmp_path), store, print)
    with pytest.raises(UsageError, match="make one: edge-kit compress dqn$"):
        run_demo(DemoRequest("play", synthetic=True), store, print)
    load_demos()
    demo = DEMOS.get("play").make(Bundle(bundle))
    with pytest.raises(BadData, match=r"output 'q' of shape \(1, 2\) does not tell 3 actions apart"):
        demo.read({"q": np.zeros((1, 2))})
