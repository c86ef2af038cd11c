"""ImageNet's list format: what is read, and what is said of a broken folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.images import ImagePreprocess
from edge_kit.data import OpenOptions
from edge_kit.data.imagenet import ImageNetFolder

PREPROCESS = ImagePreprocess(resize_short=40, crop=32)


def make_folder(root: Path, train: int = 6, val: int = 5) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        (root / split).mkdir(parents=True)
        lines = []
        for i in range(count):
            cv2.imwrite(str(root / split / f"{i}.jpeg"), rng.integers(0, 256, (48, 64, 3)).astype(np.uint8))
            lines.append(f"{split}/{i}.jpeg {i % 3}\n")
        (root / f"{split}_list.txt").write_text("".join(lines))
    return root


def opened(root: Path, max_bad: int = 0) -> ImageNetFolder:
    return ImageNetFolder(root, PREPROCESS, OpenOptions("imagenet-1k", True, max_bad))


def test_evaluation_resizes_the_short_side_and_cuts_the_centre(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    image = cv2.imread(str(root / "val/0.jpeg"))
    resized = cv2.resize(image, (53, 40), interpolation=cv2.INTER_LINEAR)  # 48x64 -> 40x53.3
    centre = resized[4:36, 10:42, ::-1].astype(np.float64) / 255
    expected = (centre - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    got = next(iter(opened(root).eval_batches(5)))
    np.testing.assert_allclose(got["image"][0], expected.transpose(2, 0, 1), atol=1e-5)
    assert got["label"].tolist() == [0, 1, 2, 0, 1]


def test_an_epoch_is_shuffled_repeatable_and_can_start_in_the_middle(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path, train=12))
    whole = list(dataset.train_batches(4, 0, 1))
    assert len(whole) == 3
    rest = list(dataset.train_batches(4, 0, 1, start=2))
    assert np.array_equal(rest[0]["image"], whole[2]["image"])
    other = next(iter(dataset.train_batches(4, 1, 1)))
    assert not np.array_equal(other["image"], whole[0]["image"])


def test_labels_come_from_the_readable_list(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "readable_label.txt").write_text("0 tench, Tinca tinca\n2 great white shark\n")
    assert opened(root).labels == ("tench, Tinca tinca", "1", "great white shark")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda p: p.unlink(), "no such file or directory"),
        (lambda p: p.write_bytes(b""), "empty"),
        (cut_short, "truncated"),
        (lambda p: p.write_text("<html>not found</html>"), "neither JPEG nor PNG"),
    ],
    ids=["missing", "empty", "truncated", "not an image"],
)
def test_a_bad_image_is_named_and_counted_and_can_be_left_out(spoil, word: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    spoil(root / "val/2.jpeg")
    with pytest.raises(BadData, match=rf"1 images listed .*'val/2.jpeg' \({word}\); allowed 0.*--max-bad 1"):
        opened(root)
    dataset = opened(root, max_bad=1)
    assert dataset.eval_size() == 4


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("val/0.jpeg", "line 1 is not"),
        ("val/0.jpeg tench", "line 1 is not"),
        ("val/0.jpeg -1", "line 1 is not"),
        ("../../etc/passwd 0", "leaves the data folder"),
        ("/etc/passwd 0", "leaves the data folder"),
    ],
)
def test_a_bad_line_is_named(line: str, word: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "val_list.txt").write_text(line + "\n")
    with pytest.raises(BadData, match=word):
        opened(root)


def test_a_folder_of_another_shape_is_told_what_the_format_is(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has no train_list.txt; ImageNet's list format is"):
        opened(tmp_path)


def test_the_digest_changes_with_a_file_and_with_the_preprocessing(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    before = opened(root).digest()
    assert opened(root).digest() == before
    other = ImageNetFolder(root, ImagePreprocess(48, 32), OpenOptions("imagenet-1k", True))
    assert other.digest() != before
    (root / "val/0.jpeg").write_bytes((root / "val/1.jpeg").read_bytes())
    assert opened(root).digest() != before
