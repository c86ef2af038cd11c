"""The format of Stanford Online Products: what is read, how batches are grouped, what is said of a broken folder."""

from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.images import ImagePreprocess
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.augment import RandomAreaCrop
from edge_kit.data.mini.products import VIEWS, make_mini
from edge_kit.data.sop import GroupedCrop, ProductFolder

CROP = RandomAreaCrop((0.9, 1.0), (1.0, 1.0), 0.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sop")
    make_mini(folder, MiniSettings(train=180, evaluation=30, side=32), lambda *told: None)
    return folder


def opened(folder: Path, augment: object = CROP, max_bad: int = 0) -> ProductFolder:
    return ProductFolder(folder, ImagePreprocess(32, 32), OpenOptions("mini-sop", False, max_bad, augment))


def test_the_lists_are_as_published_and_no_product_is_in_both(made: Path) -> None:
    rows = {}
    for name in ("Ebay_train.txt", "Ebay_test.txt"):
        header, *lines = (made / name).read_text().splitlines()
        assert header == "image_id class_id super_class_id path"
        rows[name] = [line.split(" ") for line in lines]
    train, test = rows.values()
    assert [int(row[0]) for row in (*train, *test)] == list(range(1, 211))
    assert not {row[1] for row in train} & {row[1] for row in test}
    digits = [{Path(row[3]).name.split("_")[0] for row in part} for part in (train, test)]
    assert not digits[0] & digits[1], "a handwriting of the training set is scored"
    assert all(row[3].startswith(f"digit_{int(row[2]) - 1}_final/") and (made / row[3]).is_file() for row in train)


def test_a_product_is_one_handwriting_seen_some_times(made: Path) -> None:
    dataset = opened(made)
    assert dataset.sizes == {"num_classes": 9}
    assert dataset.labels == ()
    assert (dataset.train_size(), dataset.eval_size()) == (180, 30)
    (batch,) = dataset.eval_batches(30)
    assert batch["image"].shape == (30, 3, 32, 32)
    counts = np.unique(batch["label"], return_counts=True)[1]
    assert counts.tolist() == [VIEWS["val"]] * 6
    assert len(np.unique(batch["image"].reshape(30, -1), axis=0)) == 30


def test_labels_to_train_by_count_from_zero_whatever_the_numbers_of_the_classes(made: Path, tmp_path: Path) -> None:
    for name in ("Ebay_train.txt", "Ebay_test.txt"):
        header, *lines = (made / name).read_text().splitlines()
        raised = [f"{i} {10 * int(c)} {s} {made / p}" for i, c, s, p in (line.split() for line in lines)]
        (tmp_path / name).write_text("\n".join([header, *raised]).replace(f"{made}/", ""))
    for kind in made.iterdir():
        if kind.is_dir():
            (tmp_path / kind.name).symlink_to(kind)
    (batch,) = opened(tmp_path).train_batches(180, 0, 0)
    assert sorted(set(batch["label"])) == list(range(9))


@pytest.mark.parametrize("groups", [(2,), (2, 1)], ids=["pairs", "triplets"])
def test_batches_are_made_of_groups_of_different_products(groups: tuple[int, ...], made: Path) -> None:
    dataset = opened(made, GroupedCrop(CROP, groups))
    batches = list(dataset.train_batches(12, 0, 1))
    assert len(batches) == 180 // 12
    for batch in batches:
        whole = groups * (12 // sum(groups))
        starts = np.cumsum((0, *whole[:-1]))
        firsts = [int(batch["label"][start]) for start in starts]
        assert len(set(firsts)) == len(whole)
        assert batch["label"].tolist() == [
            label for label, size in zip(firsts, whole, strict=True) for _ in range(size)
        ]
        pair = batch["image"][:2]
        assert not np.array_equal(pair[0], pair[1]), "two views of a product, not one twice"
    again = list(dataset.train_batches(12, 0, 1, start=3))
    assert np.array_equal(again[0]["image"], batches[3]["image"])
    other = next(dataset.train_batches(12, 1, 1))
    assert not np.array_equal(other["label"], batches[0]["label"])


def test_batches_that_cannot_be_grouped_are_told(made: Path) -> None:
    with pytest.raises(BadData, match="a batch of 13 is not made of groups of 2 pictures"):
        next(opened(made, GroupedCrop(CROP, (2,))).train_batches(13, 0, 0))
    with pytest.raises(BadData, match="has 9 products of 2 pictures and more, and a batch of 30 wants 15"):
        next(opened(made, GroupedCrop(CROP, (2,))).train_batches(30, 0, 0))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("1 1 1", "line 2 is not 'image_id class_id"),
        ("1 bicycle 1 a.JPG", "line 2 is not 'image_id class_id"),
        ("1 1 1 ../a.JPG", "line 2 leaves the data folder"),
        ("1 1 1 /etc/passwd", "line 2 leaves the data folder"),
        ("", "lists no picture"),
        ("1 1 1 missing.JPG", r"1 images listed .*'missing.JPG' \(no such file or directory\)|holds no usable image"),
    ],
)
def test_a_bad_line_is_named(line: str, word: str, made: Path, tmp_path: Path) -> None:
    (tmp_path / "Ebay_train.txt").write_text(f"image_id class_id super_class_id path\n{line}\n")
    (tmp_path / "Ebay_test.txt").write_text("image_id class_id super_class_id path\n9 9 1 x.JPG\n")
    with pytest.raises(BadData, match=word):
        opened(tmp_path)


def test_a_folder_of_another_shape_and_a_product_in_both_lists_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has no Ebay_train.txt; the format of Stanford Online Products is"):
        opened(tmp_path)
    for name in ("Ebay_train.txt", "Ebay_test.txt"):
        (tmp_path / name).write_text("1 7 1 a.JPG\n")
    with pytest.raises(BadData, match="class 7 stands in Ebay_train.txt and in Ebay_test.txt"):
        opened(tmp_path)
