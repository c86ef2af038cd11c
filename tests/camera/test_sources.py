"""Real files, whole and broken."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.camera.sources import ImageFolder, Made, Source, VideoFile, sane_fps
from edge_kit.core.errors import BadData, UsageError
from tests.camera.parts import picture, write_video


def test_frames_behind_a_hole_keep_their_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 60)
    data = bytearray(path.read_bytes())
    data[600:900] = bytes(300)
    path.write_bytes(data)
    source, shots = VideoFile(path), []
    while shot := source.read():
        shots.append(shot)
    told = [(float(shot.image.mean()) - 20) / 3 / 25.0 for shot in shots]  # each picture tells its number
    np.testing.assert_allclose([shot.seconds for shot in shots], told, atol=0.06)


def read_all(source: Source) -> list[np.ndarray]:
    frames = []
    while shot := source.read():
        frames.append(shot.image)
    source.close()
    return frames


def greys(frames: list[np.ndarray]) -> list[float]:
    return [float(frame.mean()) for frame in frames]


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_every_frame_of_a_video_is_given_in_its_time(name: str, tmp_path: Path) -> None:
    source = VideoFile(write_video(tmp_path / name, 40, fps=20.0))
    assert (source.fps, source.live, source.name) == (20.0, False, name)
    shots = []
    while shot := source.read():
        shots.append(shot)
    np.testing.assert_allclose(greys([s.image for s in shots]), [20 + 3 * i for i in range(40)], atol=4)  # lossy
    np.testing.assert_allclose([s.seconds for s in shots], np.arange(40) / 20.0)
    assert (source.unread, source.notes) == (0, [])


def test_a_video_with_a_hole_is_read_on_behind_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 60)
    data = bytearray(path.read_bytes())
    data[600:900] = bytes(300)
    path.write_bytes(data)
    source = VideoFile(path)
    frames = read_all(source)
    assert source.unread > 0
    assert 58 <= len(frames) + source.unread <= 60  # a decoder may pass over one without a word
    assert greys(frames)[-1] == pytest.approx(20 + 3 * 59, abs=4), "the end was not reached"


def test_a_video_that_was_cut_off_ends_with_a_note(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = VideoFile(path)
    frames = read_all(source)
    assert 10 < len(frames) < 50
    assert source.notes == [f"a.avi says that it has 60 frames; no more than {len(frames)} were read"]


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"anything " * 100)
    with pytest.raises(BadData, match="x.mp4' is no video that OpenCV can read$"):
        VideoFile(tmp_path / "x.mp4")
    with pytest.raises(BadData, match="^no such video: '.*y.mp4'$"):
        VideoFile(tmp_path / "y.mp4")
    with pytest.raises(BadData, match="^no such video"):
        VideoFile(tmp_path)


def test_a_folder_gives_its_pictures_by_name_and_leaves_out_the_broken(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(["a.png", "c.png", "sub/d.bmp"]):
        cv2.imwrite(str(tmp_path / name), picture(number))
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff and no more")
    (tmp_path / "notes.txt").write_text("no picture")
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((5, 7), 9, np.uint8))
    source = ImageFolder(tmp_path, fps=5.0)
    shots = []
    while shot := source.read():
        shots.append(shot)
    assert [shot.name for shot in shots] == ["a.png", "c.png", "grey.png", "sub/d.bmp"]
    assert shots[2].image.shape == (5, 7, 3)
    assert [shot.seconds for shot in shots] == [0.0, 0.4, 0.6, 0.8], "the broken one keeps its place in time"
    assert source.unread == 1
    assert source.notes == [f"'{tmp_path / 'b.jpg'}' cannot be decoded, left out"]


def test_a_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"holds no picture \(.bmp, .jpeg,"):
        ImageFolder(tmp_path)
    with pytest.raises(BadData, match="no such folder"):
        ImageFolder(tmp_path / "none")


def test_made_pictures_end_after_their_count() -> None:
    assert greys(read_all(Made(picture, 3))) == [20.0, 23.0, 26.0]
    with pytest.raises(UsageError, match="got -1"):
        Made(picture, -1)


@pytest.mark.parametrize("said", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_nonsense_for_a_frame_rate_is_replaced(said: float) -> None:
    assert sane_fps(said) == 25.0
    assert sane_fps(29.97) == 29.97
