"""Unpaired sets: lists or folders, what an epoch shows, what the mini set is, and what is said of a broken one."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.images import ImagePreprocess
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.augment import EnlargedCrop
from edge_kit.data.mini.looks import make_mini
from edge_kit.data.unpaired import UnpairedFolder

HALVES = (0.5, 0.5, 0.5)


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def make_folder(root: Path, counts: dict[str, int], *, lists: bool) -> Path:
    """Grey pictures whose value tells which they are."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            value = 100 * (name[-1] == "B") + 10 * i
            cv2.imwrite(str(root / name / f"{i}.png"), np.full((16, 16, 3), value, np.uint8))
        if lists:
            (root / f"{name}.txt").write_text("".join(f"{name}/{i}.png\n" for i in range(count)))
    return root


COUNTS = {"trainA": 3, "trainB": 5, "testA": 2, "testB": 3}


def opened(root: Path, max_bad: int = 0, side: int = 16) -> UnpairedFolder:
    prepare = ImagePreprocess(side, side, HALVES, HALVES)
    return UnpairedFolder(root, prepare, OpenOptions("unpaired", True, max_bad))


def values(pictures: np.ndarray) -> list[int]:
    """Grey level of each picture."""
    return [round(float(one.mean() + 1) * 127.5) for one in pictures]


@pytest.mark.parametrize("lists", [True, False])
def test_pictures_are_found_by_lists_or_by_folders_and_become_minus_one_to_one(lists: bool, tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path, COUNTS, lists=lists))
    (batch,) = dataset.eval_batches(10)
    assert values(batch["a"]) == [0, 10, 0], "the shorter side begins again"
    assert values(batch["b"]) == [100, 110, 120]
    assert batch["a"].shape == (3, 3, 16, 16)
    assert float(batch["a"].min()) == -1
    assert (dataset.train_size(), dataset.eval_size()) == (3, 3)


def test_a_list_says_which_pictures_count(tmp_path: Path) -> None:
    make_folder(tmp_path, COUNTS, lists=True)
    (tmp_path / "testB.txt").write_text("testB/2.png\n")
    (batch,) = opened(tmp_path).eval_batches(10)
    assert values(batch["b"]) == [120, 120]


def test_an_epoch_shows_the_shorter_side_once_is_repeatable_and_can_start_in_the_middle(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path, COUNTS, lists=False))
    whole = list(dataset.train_batches(1, 0, 4))
    assert sorted(value for batch in whole for value in values(batch["a"])) == [0, 10, 20]
    assert len({value for batch in whole for value in values(batch["b"])}) == 3
    (rest,) = dataset.train_batches(1, 0, 4, start=2)
    assert all(np.array_equal(rest[side], whole[2][side]) for side in ("a", "b"))
    epochs = [batch for epoch in range(8) for batch in dataset.train_batches(1, epoch, 4)]
    pairs = {(values(batch["a"])[0], values(batch["b"])[0]) for batch in epochs}
    assert len(pairs) > 8, "nobody is paired with one other for good"


def test_calibration_shows_training_pictures_of_both_sides(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path, COUNTS, lists=False))
    batches = list(dataset.calibration_batches(2, 20))
    assert [len(batch["a"]) for batch in batches] == [2]
    assert values(batches[0]["b"]) == [100, 140]


def test_training_cuts_from_the_enlarged_picture_and_mirrors_nothing() -> None:
    ramp = np.tile(np.arange(0, 240, 8, dtype=np.uint8)[None, :, None], (30, 1, 3))
    crops = [EnlargedCrop(1.5)(ramp, 20, np.random.default_rng(i)) for i in range(8)]
    assert {crop.shape for crop in crops} == {(20, 20, 3)}
    assert all((np.diff(crop[0, :, 0].astype(int)) >= 0).all() for crop in crops)
    assert len({int(crop[0, 0, 0]) for crop in crops}) > 3


def test_the_digest_changes_with_a_picture_and_with_the_size(tmp_path: Path) -> None:
    before = opened(make_folder(tmp_path, COUNTS, lists=False)).digest()
    assert opened(tmp_path).digest() == before
    assert opened(tmp_path, side=8).digest() != before
    (tmp_path / "testA/1.png").unlink()
    assert opened(tmp_path).digest() != before


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda root: (root / "trainA.txt").write_text("../x.png\n"), "trainA.txt' line 1 leaves the data folder"),
        (lambda root: (root / "trainA.txt").write_text("trainA/9.png\n"), "no usable picture in trainA, first: '"),
        (lambda root: (root / "testB.txt").write_text("\n"), "has no usable picture in testB; put some there"),
        (lambda root: (root / "testB/0.png").write_bytes(b"no"), "1 pictures of"),
    ],
    ids=["leaves", "missing", "empty", "broken"],
)  # fmt: skip
def test_a_bad_folder_is_one_line_that_names_the_place(
    change: Callable[[Path], object], word: str, tmp_path: Path
) -> None:
    change(make_folder(tmp_path, COUNTS, lists=True))
    with pytest.raises(BadData) as fault:
        opened(tmp_path)
    assert word in str(fault.value)
    assert "\n" not in str(fault.value)


def test_broken_pictures_can_be_left_out(tmp_path: Path) -> None:
    make_folder(tmp_path, COUNTS, lists=False)
    (tmp_path / "testB/0.png").write_bytes(b"no")
    with pytest.raises(BadData, match=r"'testB/0.png' \(neither JPEG nor PNG\); allowed 0: mend them or"):
        opened(tmp_path)
    assert opened(tmp_path, max_bad=1).eval_size() == 2


def test_a_folder_of_another_format_is_told_what_this_one_is(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has neither trainA.txt nor trainA/; an unpaired set is trainA, trainB, testA"):
        opened(tmp_path)


def test_the_mini_set_is_crops_of_two_photographs_and_no_test_pixel_is_in_training(tmp_path: Path) -> None:
    from edge_kit.data.mini.compose import photographs

    make_mini(tmp_path, MiniSettings(train=3, evaluation=2, side=32), ignore)
    dataset = opened(tmp_path, side=32)
    assert (dataset.train_size(), dataset.eval_size()) == (3, 2)
    assert (tmp_path / "trainA.txt").read_text().splitlines() == [f"trainA/{i:06d}.jpg" for i in range(3)]
    for train, test in zip(photographs("train"), photographs("val"), strict=True):
        assert train.shape[1] + test.shape[1] == 640, "each split has its own part of the photograph"
