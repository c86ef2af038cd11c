"""Kinetics' format: what is read of a clip, and what is said of a broken folder."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.clips import ClipPreprocess
from edge_kit.core.errors import BadData
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.kinetics import KineticsFolder, MultiScaleCrop, read_frames
from edge_kit.data.mini.motions import FRAMES, MOTIONS, film, make_mini

SETTINGS = MiniSettings(train=16, evaluation=8, side=32)
PREPARE = ClipPreprocess(8, 32, 32)
CROP = MultiScaleCrop(flip=0.0)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinetics")
    make_mini(folder, SETTINGS, lambda *told: None)
    return folder


@pytest.fixture
def folder(mini: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(mini, tmp_path / "copy")


def opened(folder: Path, max_bad: int = 0, augment: MultiScaleCrop = CROP) -> KineticsFolder:
    return KineticsFolder(folder, PREPARE, OpenOptions("mini-kinetics", False, max_bad, augment))


def test_the_lists_are_as_published_and_labels_in_sorted_order(mini: Path) -> None:
    lines = (mini / "val.list").read_text().splitlines()
    assert lines[:2] == ["val/down_00000.mp4 0", "val/grow_00001.mp4 1"]
    assert list(MOTIONS) == sorted(MOTIONS)
    dataset = opened(mini)
    assert dataset.labels == MOTIONS
    assert dataset.sizes == {"num_classes": 8, "segments": 8}
    assert (dataset.train_size(), dataset.eval_size()) == (16, 8)


def test_evaluation_sees_the_middle_frame_of_each_segment_of_the_video(mini: Path) -> None:
    (batch,) = opened(mini).eval_batches(8)
    assert batch["clip"].shape == (8, 8, 3, 32, 32)
    assert batch["label"].tolist() == list(range(8))
    made = film("val", 3, 3, SETTINGS)
    wanted = np.stack([PREPARE.finish([made[i]])[0] for i in range(0, FRAMES, 2)])
    error = np.abs(batch["clip"][3] - wanted).mean()
    assert error < 0.25, "what the codec of the video costs"
    reverse = np.abs(batch["clip"][3] - wanted[::-1]).mean()
    assert reverse > 2 * error, "the order of the frames is that of the film"


def test_no_single_frame_tells_a_motion_from_its_reverse() -> None:
    for one, other in (("left", "right"), ("up", "down"), ("grow", "shrink"), ("turn left", "turn right")):
        first, second = (film("val", 5, MOTIONS.index(name), SETTINGS) for name in (one, other))
        for forth, back in zip(first, second[::-1], strict=True):
            np.testing.assert_array_equal(forth, back)
        assert np.abs(first[0].astype(int) - first[-1]).max() > 60, "it moves"


def test_a_folder_of_frames_is_read_as_the_video_is(folder: Path) -> None:
    path = folder / "val/down_00000.mp4"
    whole = read_frames(path, lambda count: list(range(count)))
    assert len(whole) == FRAMES
    (folder / "val/frames").mkdir()
    for i, frame in enumerate(whole):
        cv2.imwrite(str(folder / f"val/frames/{i:04d}.png"), frame)
    (folder / "val.list").write_text("val/frames 0\nval/down_00000.mp4 0\n")
    (batch,) = opened(folder).eval_batches(2)
    np.testing.assert_array_equal(batch["clip"][0], batch["clip"][1])


def test_an_epoch_is_shuffled_repeatable_and_can_start_in_the_middle(mini: Path) -> None:
    dataset = opened(mini)
    whole = list(dataset.train_batches(4, 0, 1))
    assert len(whole) == 4
    (rest,) = dataset.train_batches(4, 0, 1, start=3)
    assert np.array_equal(rest["clip"], whole[3]["clip"])
    assert not np.array_equal(next(dataset.train_batches(4, 1, 1))["clip"], whole[0]["clip"])


def test_one_crop_is_drawn_for_all_frames_of_a_clip() -> None:
    ramp = np.indices((32, 42)).sum(0).astype(np.uint8)
    clip = [np.stack([ramp] * 3, 2)] * 4
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        cut = MultiScaleCrop(flip=0.5)(clip, ClipPreprocess(4, 32, 28), rng)
        assert {one.shape for one in cut} == {(28, 28, 3)}
        assert all(np.array_equal(one, cut[0]) for one in cut)
        seen.add(cut[0].tobytes())
    assert len(seen) > 30


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("val/down_00000.mp4", "line 1 is not 'path label'"),
        ("val/down_00000.mp4 down", "line 1 is not 'path label'"),
        ("val/down_00000.mp4 99999999999", "line 1 is not 'path label'"),
        ("/data/val/clip.pkl", "line 1 names a pickle, which is never read: '/data/val/clip.pkl'"),
        ("../x.mp4 0", "line 1 leaves the data folder"),
        ("/etc/passwd 0", "line 1 leaves the data folder"),
        ("val/x.pkl 0", "x.pkl' .a pickle, which is never read"),
        ("val/x.mp4 0", "no such file"),
        ("", "lists no clip"),
    ],
)
def test_a_bad_line_is_named(line: str, word: str, folder: Path) -> None:
    (folder / "val.list").write_text(line + "\n")
    with pytest.raises(BadData, match=word):
        opened(folder)


def test_a_missing_clip_can_be_left_out_and_one_of_rubbish_is_told_when_it_is_read(folder: Path) -> None:
    (folder / "val/down_00000.mp4").unlink()
    with pytest.raises(
        BadData, match=r"1 clips listed .*'val/down_00000.mp4' \(no such file or directory\); allowed 0"
    ):
        opened(folder)
    (folder / "val/grow_00001.mp4").write_bytes(b"no video at all")
    dataset = opened(folder, max_bad=1)
    assert dataset.eval_size() == 7
    with pytest.raises(BadData, match="clip .*grow_00001.mp4' cannot be decoded; mend it or take it off the list"):
        list(dataset.eval_batches(7))


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": "b"}', '{"a": -1}', '{"a": 1e300}'])
def test_labels_that_cannot_be_read_are_told(text: str, folder: Path) -> None:
    (folder / "kinetics_labels.json").write_text(text)
    with pytest.raises(BadData, match='kinetics_labels.json. cannot be read .*{"name": number, ...}'):
        opened(folder)


def test_classes_without_a_list_of_names_are_their_numbers(folder: Path) -> None:
    (folder / "kinetics_labels.json").unlink()
    assert opened(folder).labels == tuple("01234567")
    (folder / "kinetics_labels.json").write_text(json.dumps({"abseiling": 0}))
    assert opened(folder).labels[:2] == ("abseiling", "1")


def test_a_folder_of_another_shape_is_told_what_the_format_is(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has no train.list; Kinetics' format is train.list and val.list"):
        opened(tmp_path)
