"""ImageNet in a folder a class: which classes there are, in which order, and what is said of a broken folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.images import ImagePreprocess
from edge_kit.data import OpenOptions
from edge_kit.data.imagenet import ImageNetFolder
from tests.data.test_imagenet import make_folder


def make_classes(root: Path, *names: str, pictures: int = 2) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(pictures):
            grey = np.full((40, 40, 3), 10 * len(name) + i, np.uint8)
            cv2.imwrite(str(root / name / f"{i}.JPEG"), grey)
    return root


def opened(root: Path, max_bad: int = 0) -> ImageNetFolder:
    return ImageNetFolder(root, ImagePreprocess(40, 32), OpenOptions("imagenet-1k", True, max_bad))


def test_classes_are_numbered_by_sorted_names_in_both_splits(tmp_path: Path) -> None:
    make_classes(tmp_path / "train", "zebra", "ant", "10", "9")
    make_classes(tmp_path / "val", "zebra", "9")
    dataset = opened(tmp_path)
    assert dataset.labels == ("10", "9", "ant", "zebra")  # as text: 10 before 9
    assert dataset.sizes == {"num_classes": 4}
    [batch] = dataset.eval_batches(10)
    assert batch["label"].tolist() == [1, 1, 3, 3]
    assert (dataset.train_size(), dataset.eval_size()) == (8, 4)


def test_a_folder_without_splits_is_scored_whole(tmp_path: Path) -> None:
    dataset = opened(make_classes(tmp_path, "b", "a"))
    assert (dataset.train_size(), dataset.eval_size(), dataset.labels) == (0, 4, ("a", "b"))
    assert sum(len(batch["label"]) for batch in dataset.calibration_batches(3, 2)) == 3


@pytest.mark.parametrize("name", ["LOC_synset_mapping.txt", "synset_words.txt"])
def test_a_list_of_synsets_gives_a_part_of_them_its_numbers(name: str, tmp_path: Path) -> None:
    make_classes(tmp_path, "n00000003", "n00000001")
    (tmp_path / name).write_text("n00000001 tench, Tinca tinca\nn00000002 goldfish\nn00000003 great white shark\n")
    dataset = opened(tmp_path)
    assert dataset.labels == ("tench, Tinca tinca", "goldfish", "great white shark")
    assert next(iter(dataset.eval_batches(10)))["label"].tolist() == [0, 0, 2, 2]
    assert name in dataset.order


def test_lists_count_before_folders(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    make_classes(root / "train", "a_class")
    assert opened(root).eval_size() == 5
    assert opened(root).order == "numbers of train_list.txt and val_list.txt"


def test_a_broken_picture_is_counted(tmp_path: Path) -> None:
    root = make_classes(tmp_path, "a", "b")
    (root / "b/1.JPEG").write_bytes(b"")
    with pytest.raises(BadData, match=r"1 images .*'b/1.JPEG' \(empty\).*--max-bad 1"):
        opened(root)
    assert opened(root, 1).eval_size() == 3


def only_train(root: Path) -> None:
    make_classes(root / "train", "a")


def only_val(root: Path) -> None:
    make_classes(root / "val", "a")


def unknown_class(root: Path) -> None:
    make_classes(root / "train", "a")
    make_classes(root / "val", "a", "b")


def empty_class(root: Path) -> None:
    make_classes(root / "train", "a", "c")
    make_classes(root / "val", "a")
    (root / "train/b").mkdir()


def unlisted_class(root: Path) -> None:
    make_classes(root, "n00000001", "n00000009")
    (root / "synset_words.txt").write_text("n00000001 tench\n")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (only_train, "has class folders in train/ and no val/"),
        (only_val, "has class folders in val/ and no train/; add it, or pass '.*val' to score all of it"),
        (unknown_class, "class folder '.*val/b' is none of the 1 classes"),
        (empty_class, "class folder '.*train/b' holds no picture"),
        (unlisted_class, "class folder '.*n00000009' is none of the 1 classes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_folders_that_would_shift_the_classes_are_refused(make, said: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(BadData, match=said):
        opened(tmp_path)
