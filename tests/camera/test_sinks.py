"""Files that are whole, also when frames are missing, sizes change or the disk is full."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_kit.camera.frame import Run
from edge_kit.camera.sinks import JsonLinesSink, VideoSink, fit
from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from tests.camera.parts import picture, read_video, shown
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_a_saved_video_plays_and_holds_every_frame(name: str, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / name, 25.0)
    for number in range(30):
        assert sink.write(shown(number, number / 25))
    assert not (tmp_path / name).exists(), "a reader would see half of it"
    sink.close()
    frames = read_video(tmp_path / name)
    np.testing.assert_allclose([f.mean() for f in frames], [picture(n).mean() for n in range(30)], atol=4)  # lossy
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_saved_video_keeps_time_where_frames_were_dropped(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", 10.0)
    for number in (0, 1, 5, 6):
        sink.write(shown(number, 100 + number / 10))
    sink.close()
    greys = [frame.mean() for frame in read_video(tmp_path / "a.avi")]
    np.testing.assert_allclose(greys, [picture(n).mean() for n in (0, 1, 1, 1, 1, 5, 6)], atol=4)


def test_frames_that_come_faster_than_the_source_said_do_not_slow_the_video_down(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", 10.0)
    for number in range(40):
        sink.write(shown(number, number / 20))
    sink.close()
    assert len(read_video(tmp_path / "a.avi")) == pytest.approx(20, abs=1)


def test_an_hour_without_frames_is_not_an_hour_of_video(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", 10.0)
    for number, seconds in enumerate((0.0, 0.1, 3600.0, 3600.1)):
        sink.write(shown(number, seconds))
    sink.close()
    assert len(read_video(tmp_path / "a.avi")) == 2 + 20 + 2  # it holds the last one for two seconds


def test_frames_of_another_size_are_fitted_into_the_first_ones(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.avi", 25.0)
    for number, (height, width) in enumerate([(64, 96), (96, 64), (33, 17), (640, 960)]):
        sink.write(shown(20, number / 25, height, width))
    sink.close()
    frames = read_video(tmp_path / "a.avi")
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 4
    grey = picture(20).mean()
    assert frames[1][32, 48].mean() == pytest.approx(grey, abs=5)
    assert frames[1][:, :20].mean() == pytest.approx(0, abs=5), "an upright picture in a wide one has black beside it"


def test_fitting_keeps_the_shape_of_what_is_in_a_picture() -> None:
    fitted = fit(np.full((10, 30, 3), 200, np.uint8), (60, 60))
    rows = np.flatnonzero(fitted[:, 30, 0] > 100)
    assert (fitted.shape, len(rows), rows[0]) == ((60, 60, 3), 20, 20)


def test_odd_sides_lose_no_frame(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.mp4", 25.0)
    for number in range(5):
        sink.write(shown(number, number / 25, 63, 65))
    sink.close()
    assert [frame.shape for frame in read_video(tmp_path / "a.mp4")] == [(62, 64, 3)] * 5


def test_a_sink_that_got_no_frame_leaves_no_file(tmp_path: Path) -> None:
    VideoSink(tmp_path / "a.mp4", 25.0).close()
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"saved as .mp4, .avi, .mkv, got '.*x.gif'$"):
        VideoSink(tmp_path / "x.gif", 25.0)
    for sink in (lambda path: VideoSink(path, 25.0), JsonLinesSink):
        with pytest.raises(BadData, match="^no such folder: '.*none'$"):
            sink(tmp_path / "none" / "x.mp4")
        (tmp_path / "folder.mp4").mkdir(exist_ok=True)
        with pytest.raises(BadData, match="is a folder; name a file$"):
            sink(tmp_path / "folder.mp4")


LIMITED = """
import resource, signal, sys
from pathlib import Path
import edge_kit
from edge_kit.camera.sinks import JsonLinesSink, VideoSink
from edge_kit.core.errors import EdgeKitError
from tests.camera.parts import shown
import numpy as np
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
path = Path(sys.argv[1])
sink = VideoSink(path, 25.0) if path.suffix == ".avi" else JsonLinesSink(path)
rng = np.random.default_rng(0)
try:
    for number in range(400):
        frame = shown(number, number / 25, 64, 96)
        frame.shown = rng.integers(0, 256, frame.shown.shape, np.uint8)
        sink.write(frame)
    sink.close()
except EdgeKitError as error:
    sink.close() if path.suffix != ".avi" else None
    print(error)
"""


def limited(path: Path) -> str:
    """What a sink says where no file may grow beyond 10,000 bytes, as on a full disk."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_video_on_a_full_disk_is_one_line_and_the_one_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(b"the old one")
    assert limited(tmp_path / "a.avi").endswith("of 400 frames; is the disk full?")
    assert (tmp_path / "a.avi").read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]


def test_json_lines_on_a_full_disk_are_one_line_and_every_line_there_is_whole(tmp_path: Path) -> None:
    assert "a.jsonl'" in limited(tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert len(lines) > 100
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))


def test_a_device_that_takes_nothing_is_one_line() -> None:
    sink = JsonLinesSink(Path("/dev/full"))
    with pytest.raises(EdgeKitError, match="^JSON lines '/dev/full' cannot be written: No space left on device$"):
        sink.write(shown(0, 0.0))


def test_a_line_says_what_ran_and_what_it_took(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "a.jsonl")
    frame = shown(3, 0.12)
    answer = {"top": [{"class": 1, "share": 0.5}]}
    frame.runs = [Run({"runtime": "onnx", "precision": "int8"}, {}, 1.0, answer)]
    frame.ms["inference"] = 1.23456
    sink.write(frame)
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {  # before it is closed: it can be followed
        "frame": 3, "seconds": 0.12, "runtime": "onnx", "precision": "int8",
        "answer": {"top": [{"class": 1, "share": 0.5}]}, "ms": {"inference": 1.235},
    }  # fmt: skip
    sink.close()
