"""`edge-kit demo` as a person starts it, ends it and gets it wrong."""

import json
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.camera.parts import read_video, write_video
from tests.conftest import Cli, Result, install_distribution


@pytest.fixture
def toy(toy_run: Result, session_cli: Cli) -> Cli:
    """Where a bundle has been made; nothing else is needed."""
    return session_cli


def test_rendered_digits_are_run_to_their_end_and_the_document_says_how_it_went(toy: Cli, tmp_path: Path) -> None:
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    done = toy(
        "demo", "classify", "--synthetic", "--frames", "30", "--no-window", "--json",
        "--save", str(out), "--jsonl", str(lines),
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (done.json["frames"], done.json["dropped"], done.json["ended"]) == (30, 0, "enough frames")
    assert {"capture", "preprocess", "inference", "postprocess", "draw", "sink"} == set(done.json["ms"])
    assert len(read_video(out)) == 30
    assert len(lines.read_text().splitlines()) == 30


def test_without_a_display_the_window_is_a_file_and_that_is_said(toy: Cli, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", 12)
    env = {key: value for key, value in toy.env.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    saved = tmp_path / "seen.mp4"
    done = Cli(env)("demo", "classify", "--video", str(video), "--save", str(saved), "--fp32")
    assert done.code == 0, done.err
    assert f"this machine has no display: no window, the picture is saved to '{saved}'" in done.err
    assert "fp32 on onnx" in done.err
    assert "12 frames in" in done.out
    assert len(read_video(saved)) == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_with_files_that_are_whole(number: signal.Signals, toy: Cli, tmp_path: Path) -> None:
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    process = toy.start(
        "demo", "classify", "--synthetic", "--frames", "1000000", "--no-window",
        "--save", str(out), "--jsonl", str(lines),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (lines.exists() and lines.stat().st_size > 20_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    printed, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "interrupted" in printed
    assert "Traceback" not in err
    whole = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["frame"] for line in whole] == list(range(len(whole)))
    assert len(read_video(out)) == len(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.mp4"]


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        (("classify",), 2, "a demo has one source, got 0"),
        (("classify", "--camera", "97"), 1, "camera 97 cannot be opened"),
        (("classify", "--video", "none.mp4"), 1, "no such video: 'none.mp4'"),
        (("classify", "--images", "none"), 1, "no such folder: 'none'"),
        (("clasify", "--synthetic"), 2, "unknown demo 'clasify'; did you mean 'classify'?"),
        (("classify", "--synthetic", "--runtime", "onx"), 2, "unknown runtime 'onx'; did you mean 'onnx'?"),
        (("classify", "--synthetic", "--bundle", "toynt"), 2, "unknown bundle 'toynt'"),
        (("classify", "--synthetic", "--save", "x.gif"), 2, "a video is saved as .mp4"),
        (("classify", "--camera", "browser"), 2, "is the camera of whoever looks at the page; add --web"),
        (("classify", "--synthetic", "--web", "--host", "203.0.113.1"), 1, "cannot listen on 203.0.113.1 port 8000"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], code: int, says: str, toy: Cli) -> None:
    done = toy("demo", *arguments, "--no-window")
    assert done.code == code
    assert done.is_one_line(), done.err
    assert says in done.err


def test_the_page_is_served_while_frames_run_and_ctrl_c_ends_both(toy: Cli) -> None:
    process = toy.start("demo", "classify", "--synthetic", "--frames", "1000000", "--web", "--port", "0")
    assert process.stderr is not None
    address = next(line.split()[1] for line in process.stderr if line.startswith("page: "))
    assert "<title>edge-kit demo</title>" in httpx.get(address).text
    chosen = httpx.post(
        f"{address}choose", json={"bundle": "toynet", "runtime": "onnx", "precision": "fp32", "compare": True}
    ).json()
    assert chosen == {"bundle": "toynet", "runtime": "onnx", "precision": "fp32", "compare": True}
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    printed, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "note: fp32 and int8 differ on" in printed
    assert "Traceback" not in err
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_without_the_packages_of_the_page_it_is_one_line(toy: Cli, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no', name='uvicorn')\n")
    path = f"{tmp_path}:{toy.env['PYTHONPATH']}"
    done = toy("demo", "classify", "--synthetic", "--web", PYTHONPATH=path)
    assert done.code == 1
    assert done.err == "edge-kit: --web needs the uvicorn package: pip install 'edge-kit[web]'\n"


PLUGIN = """
from edge_kit.camera.demo import DemoKind, register


class Mean:
    def __init__(self, bundle):
        self.preprocess = bundle.preprocess()

    def prepare(self, image):
        return {"image": self.preprocess(image)[None]}

    def infer(self, graphs, inputs):
        return graphs["main"](inputs)

    def read(self, outputs):
        return {"mean": float(outputs["logits"].mean())}

    def draw(self, image, answer):
        image[:] = 255

    def same(self, first, second):
        return first == second


register(DemoKind("mean", "the mean logit", ("classify",), Mean))
"""


def test_a_demo_of_another_distribution_is_one_file(toy: Cli, tmp_path: Path) -> None:
    install_distribution(tmp_path, "mean", "edge_kit.demos", "mean_demo", PLUGIN)
    done = toy(
        "demo", "mean", "--synthetic", "--frames", "5", "--no-window", "--jsonl", str(tmp_path / "a.jsonl"),
        PYTHONPATH=f"{toy.env['PYTHONPATH']}:{tmp_path}",
    )  # fmt: skip
    assert done.code == 0, done.err
    answers = [json.loads(line)["answer"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(answers) == 5
    assert all(set(answer) == {"mean"} for answer in answers)
