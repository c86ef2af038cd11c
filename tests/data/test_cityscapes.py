"""Cityscapes' format: what is read, what the mini set is, and what is said of a broken folder."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.scenes import ScenePreprocess, grow
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.augment import SceneCrop
from edge_kit.data.cityscapes import CLASSES, SceneFolder
from edge_kit.data.mini.masks import make_mini

NAMES = tuple(CLASSES.values())
PICTURE, LABELS = "leftImg8bit/{}/bonn/bonn_{}_leftImg8bit.png", "gtFine/{}/bonn/bonn_{}_gtFine_{}.png"


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", values)[1].tobytes())


def make_folder(root: Path, kind: str = "labelTrainIds", labels: np.ndarray | None = None) -> Path:
    """One picture of 4 x 6 a split, blue 10, green 20, red 30."""
    labels = np.tile(np.array([0, 1, 2, 18, 255, 255], np.uint8), (4, 1)) if labels is None else labels
    for split in ("train", "val"):
        write(root / PICTURE.format(split, "0"), np.full((4, 6, 3), (10, 20, 30), np.uint8))
        write(root / LABELS.format(split, "0", kind), labels)
    return root


def opened(root: Path, height: int = 4, width: int = 6, max_bad: int = 0, augment: object = None) -> SceneFolder:
    return SceneFolder(root, ScenePreprocess(height, width), OpenOptions("cityscapes", True, max_bad, augment))


def test_pictures_are_bgr_without_the_published_mean_and_labels_are_as_stored(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    (batch,) = dataset.eval_batches(8)
    assert batch["image"].shape == (1, 3, 4, 6)
    assert batch["image"][0, :, 1, 2] == pytest.approx([10 - 103.939, 20 - 116.779, 30 - 123.68])
    assert batch["label"][0, 3].tolist() == [0, 1, 2, 18, 255, 255]
    assert dataset.labels == NAMES
    assert dataset.sizes == {"num_classes": 19}


def test_the_34_numbers_of_the_download_become_19_classes(tmp_path: Path) -> None:
    """From cityscapesScripts: 7 is road, 11 building, 26 car, 33 bicycle; 0, 9 and 29 are not scored."""
    stored = np.tile(np.array([7, 11, 26, 33, 9, 29], np.uint8), (4, 1))
    (batch,) = opened(make_folder(tmp_path, "labelIds", stored)).eval_batches(8)
    assert batch["label"][0, 0].tolist() == [0, 2, 13, 18, 255, 255]
    assert [NAMES[i] for i in (0, 2, 13, 18)] == ["road", "building", "car", "bicycle"]


def test_where_both_are_there_the_classes_are_read(tmp_path: Path) -> None:
    make_folder(tmp_path)
    for split in ("train", "val"):
        write(tmp_path / LABELS.format(split, "0", "labelIds"), np.zeros((4, 6), np.uint8))
    (batch,) = opened(tmp_path).eval_batches(8)
    assert batch["label"][0, 0, 3] == 18


def test_lists_choose_what_is_read(tmp_path: Path) -> None:
    make_folder(tmp_path)
    for number in ("1", "2"):
        write(tmp_path / PICTURE.format("val", number), np.zeros((4, 6, 3), np.uint8))
        write(tmp_path / LABELS.format("val", number, "labelTrainIds"), np.full((4, 6), 5, np.uint8))
    assert opened(tmp_path).eval_size() == 3
    line = f"{PICTURE.format('val', '2')} {LABELS.format('val', '2', 'labelTrainIds')}\n"
    (tmp_path / "val.list").write_text(f"{line}\n{line}")
    dataset = opened(tmp_path)
    assert (dataset.train_size(), dataset.eval_size()) == (1, 2)
    assert {int(batch["label"][0, 0, 0]) for batch in dataset.eval_batches(1)} == {5}


def test_a_picture_of_another_size_is_stretched_with_its_labels(tmp_path: Path) -> None:
    (batch,) = opened(make_folder(tmp_path), height=8, width=12).eval_batches(8)
    assert batch["image"].shape == (1, 3, 8, 12)
    assert batch["label"][0, 0].tolist() == [0, 0, 1, 1, 2, 2, 18, 18, 255, 255, 255, 255]


def test_batches_of_published_pictures_hold_two(tmp_path: Path) -> None:
    make_folder(tmp_path)
    lines = f"{PICTURE.format('val', '0')} {LABELS.format('val', '0', 'labelTrainIds')}\n" * 3
    (tmp_path / "val.list").write_text(lines)
    assert [len(batch["label"]) for batch in opened(tmp_path, 1024, 2048).eval_batches(50)] == [2, 1]


def test_training_crops_are_repeatable_and_padded_with_nothing_to_learn(tmp_path: Path) -> None:
    crop = SceneCrop(8, 8, scale=(1.0, 1.0), flip=1.0)
    dataset = opened(make_folder(tmp_path), augment=crop)
    (first,), (again,) = dataset.train_batches(1, 0, 7), dataset.train_batches(1, 0, 7)
    assert np.array_equal(first["image"], again["image"])
    assert first["image"].shape == (1, 3, 8, 8)
    assert first["label"][0, 0].tolist() == [255, 255, 18, 2, 1, 0, 255, 255], "mirrored, then two columns of padding"
    assert (first["label"][0, 4:] == 255).all()
    assert (first["image"][0, :, 4:] == 0).all() and (first["image"][0, :, :, 6:] == 0).all()
    assert (first["image"][0, :, :4, :6] != 0).all()


def test_a_crop_moves_picture_and_labels_alike() -> None:
    """A picture that says what its label is, at every scale and place."""
    labels = np.repeat(np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4), 8, 0), 8, 1)
    image = np.repeat(labels[..., None].astype(np.float32), 3, 2)
    crop = SceneCrop(20, 20, scale=(0.7, 2.0))
    agreeing = []
    for seed in range(20):
        part, found = crop(image, labels, np.random.default_rng(seed))
        known = found != 255
        agreeing.append(float((np.abs(part[..., 0] - found)[known] < 0.75).mean()))
    assert min(agreeing) > 0.6 and np.mean(agreeing) > 0.75, "all but the blocks' edges"


def spoil(name: str, content: bytes | np.ndarray) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        if isinstance(content, bytes):
            (root / name).write_bytes(content)
        else:
            write(root / name, content)

    return change


TRUE_LABELS = LABELS.format("val", "0", "labelTrainIds")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            spoil(TRUE_LABELS, b""),
            "holds no usable sample, first: 'gtFine/val/bonn/bonn_0_gtFine_labelTrainIds.png' (empty)",
        ),
        (spoil(TRUE_LABELS, b"\x89PNG"), "(truncated)"),
        (lambda root: (root / TRUE_LABELS).unlink(), "(no such file or directory)"),
        (lambda root: (root / PICTURE.format("val", "0")).unlink(), "has no val picture; Cityscapes' layout is"),
        (spoil(TRUE_LABELS, np.full((4, 6), 19, np.uint8)), "hold 19, and there are 19 classes; 255 is for"),
        (spoil(TRUE_LABELS, np.zeros((5, 6), np.uint8)), "are (5, 6) uint8 and the picture (4, 6)"),
        (spoil(TRUE_LABELS, np.zeros((4, 6), np.uint16)), "are (4, 6) uint16"),
        (spoil(TRUE_LABELS, np.zeros((4, 6, 3), np.uint8)), "are (4, 6, 3) uint8"),
        (spoil("val.list", b"a.png\n"), "line 1 is not 'picture.png label.png': 'a.png'"),
        (spoil("val.list", b"a.png ../b.png\n"), "line 1 leaves the data folder: '../b.png'"),
        (spoil("val.list", b""), "has no val picture"),
        (spoil("labels.txt", b"road\n"), "names 1 classes; it holds 2 to 255 names"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_folder_is_one_line_that_names_the_place(
    change: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    change(make_folder(tmp_path))
    with pytest.raises(BadData) as fault:
        list(opened(tmp_path).eval_batches(8))
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
    assert len(str(fault.value)) < 500


def test_broken_files_are_counted_and_can_be_left_out(tmp_path: Path) -> None:
    make_folder(tmp_path)
    write(tmp_path / PICTURE.format("train", "1"), np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(BadData, match=r"1 files of .* missing or broken, first: 'gtFine.*; allowed 0: mend them or"):
        opened(tmp_path)
    dataset = opened(tmp_path, max_bad=1)
    assert dataset.train_size() == 1
    assert dataset.bad == ["'gtFine/train/bonn/bonn_1_gtFine_labelTrainIds.png' (no such file or directory)"]


def test_numbers_beyond_the_download_are_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, "labelIds", np.full((4, 6), 40, np.uint8))
    with pytest.raises(BadData, match="hold 40; Cityscapes numbers its labels 0 to 33"):
        list(opened(tmp_path).eval_batches(8))


def test_the_digest_changes_with_labels_and_with_the_size(tmp_path: Path) -> None:
    before = opened(make_folder(tmp_path)).digest()
    assert opened(tmp_path).digest() == before
    assert opened(tmp_path, height=8).digest() != before
    (tmp_path / "labels.txt").write_text("a\nb\n")
    assert opened(tmp_path).digest() != before


def test_the_bundles_preprocessing_reads_back_as_it_was_and_refuses_what_is_no_picture() -> None:
    preprocess = ScenePreprocess(4, 6, (1.0, 2.0, 3.0))
    assert ScenePreprocess.from_dict(preprocess.as_dict()) == preprocess
    with pytest.raises(BadData, match=r"must be \(H, W, 3\) uint8 and not empty, got \(4, 6\)"):
        preprocess(np.zeros((4, 6), np.uint8))


def test_growing_keeps_corners_and_draws_straight_lines() -> None:
    grown = grow(np.array([[[0.0, 2.0], [4.0, 6.0]]]), 3, 5)
    assert grown[0] == pytest.approx(np.array([[0, 0.5, 1, 1.5, 2], [2, 2.5, 3, 3.5, 4], [4, 4.5, 5, 5.5, 6]]))
    assert grow(np.array([[7.0]]), 2, 3).tolist() == [[7.0] * 3] * 2


def test_mini_labels_lie_where_the_ink_lies(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=6, evaluation=5, side=64), ignore)
    dataset = SceneFolder(tmp_path, ScenePreprocess(64, 128), OpenOptions("mini-cityscapes", False))
    assert dataset.labels == ("ink", "temple", "flower")
    (batch,) = dataset.eval_batches(8)
    kinds = [set(np.unique(labels)) for labels in batch["label"]]
    assert all({0, 255} < kind < {0, 1, 2, 255} or kind == {0, 1, 2, 255} for kind in kinds)
    assert set.union(*kinds) == {0, 1, 2, 255}
    for image, labels in zip(batch["image"], batch["label"], strict=True):
        for half in (np.s_[:, :64], np.s_[:, 64:]):
            grey, part = image.mean(axis=0)[half], labels[half]
            inked = part == 0
            assert 0.05 < inked.mean() < 0.6
            assert grey[inked].std() < 0.5 * abs(grey[inked].mean() - grey[(part == 1) | (part == 2)].mean()), (
                "ink has one colour"
            )
    assert "No sample of Cityscapes" in (tmp_path / "README.md").read_text()


def test_a_longer_mini_set_is_the_shorter_one_and_more(tmp_path: Path) -> None:
    for name, train in (("short", 3), ("long", 5)):
        make_mini(tmp_path / name, MiniSettings(train=train, evaluation=2, side=32), ignore)
    for path in (tmp_path / "short").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "long" / path.relative_to(tmp_path / "short")).read_bytes()
