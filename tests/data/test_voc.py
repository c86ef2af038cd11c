"""VOC's two layouts: what is read, what the mini set is, and what is said of a broken folder."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.images import SquarePreprocess
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.augment_scenes import SceneAugment
from edge_kit.data.mini.voc import make_mini
from edge_kit.data.scenes import SceneFolder
from edge_kit.data.voc import open_folder

DOG = "<object><name>dog</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>\
<ymax>{}</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def annotation(*objects: str) -> str:
    return f"<annotation><filename>x</filename><owner><name>cat</name></owner>{''.join(objects)}</annotation>"


def write(root: Path, name: str, text: str) -> None:
    cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), np.full((40, 80, 3), 90, np.uint8))
    (root / "Annotations" / f"{name}.xml").write_text(text)


def make_folder(root: Path) -> Path:
    """As the challenge lays it out: two dogs, one of them difficult, then one."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    write(root, "a", annotation(DOG.format(0, 8, 4, 40, 20), DOG.format(1, 40, 20, 80, 40)))
    write(root, "b", annotation(DOG.format(0, 0, 0, 20, 10)))
    for name, stems in (("trainval", "b\n"), ("test", "a\nb\n")):
        (root / "ImageSets/Main" / f"{name}.txt").write_text(stems)
    return root


def opened(root: Path, max_bad: int = 0, augment: SceneAugment | None = None) -> SceneFolder:
    return open_folder(root, SquarePreprocess(16), OpenOptions("voc", True, max_bad, augment))


def test_boxes_become_shares_of_the_sides_and_difficult_ones_are_marked(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    assert (dataset.train_size(), dataset.eval_size()) == (1, 2)
    assert dataset.sizes == {"num_classes": 20}
    (batch,) = dataset.eval_batches(8)
    assert batch["image"].shape == (2, 3, 16, 16)
    np.testing.assert_allclose(batch["boxes"][0], [[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    np.testing.assert_allclose(batch["boxes"][1], [[0, 0, 0.25, 0.25], [0, 0, 0, 0]])
    assert batch["label"].tolist() == [[11, 11], [11, 0]]
    assert dataset.labels[11] == "dog"
    assert batch["ignored"].tolist() == [[False, True], [False, False]]
    assert batch["weight"].tolist() == [[1, 1], [1, 0]], "0 fills up"
    assert batch["size"].tolist() == [[40, 80], [40, 80]]


def test_the_lists_of_paddlecv_are_read_with_labels_of_their_own(tmp_path: Path) -> None:
    make_folder(tmp_path)
    for name in ("trainval.txt", "test.txt"):
        (tmp_path / name).write_text("JPEGImages/b.jpg Annotations/b.xml\n")
    (tmp_path / "label_list").write_text("background\ncat\ndog\n")
    dataset = opened(tmp_path)
    assert dataset.eval_size() == 1
    assert dataset.labels == ("cat", "dog")
    assert next(iter(dataset.eval_batches(1)))["label"].tolist() == [[1]]


def test_a_picture_that_says_it_was_turned_is_read_as_it_is_stored(tmp_path: Path) -> None:
    make_folder(tmp_path)
    path = tmp_path / "JPEGImages/a.jpg"
    stored = path.read_bytes()
    # EXIF, big endian, one entry: orientation 6, a quarter turn
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(stored[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + stored[2:])
    assert cv2.imread(str(path)).shape == (80, 40, 3), "OpenCV turns it"
    assert next(iter(opened(tmp_path).eval_batches(1)))["size"].tolist() == [[40, 80]]


def spoil(name: str, content: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / name).write_text(content)

    return write


BOMB = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;&b;">]><annotation>&d;</annotation>'


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (spoil("Annotations/a.xml", BOMB), "'Annotations/a.xml' declares a document type"),
        (spoil("Annotations/a.xml", "<annotation>"), "'Annotations/a.xml' is no XML: no element found"),
        (spoil("Annotations/a.xml", "<a>" * 1_000_000), "is larger than"),
        (spoil("Annotations/a.xml", annotation(DOG.format(0, 9, 9, 9, 20))), "holds an empty box or one outside"),
        (spoil("Annotations/a.xml", annotation(DOG.format(0, "x", 9, 9, 20))), "holds a box that is no four numbers"),
        (spoil("Annotations/a.xml", annotation(DOG.format(0, "nan", 9, 9, 20))), "holds an empty box or one outside"),
        (spoil("Annotations/a.xml", annotation("<object><name>dog</name></object>")), "without bndbox/xmin"),
        (spoil("Annotations/a.xml", annotation(DOG.format(0, 1, 1, 9, 9).replace("dog", "dgo"))), "a class 'dgo'"),
        (lambda root: (root / "Annotations/a.xml").unlink(), "'Annotations/a.xml' (no such file or directory)"),
        (spoil("JPEGImages/a.jpg", "GIF"), "'JPEGImages/a.jpg' (neither JPEG nor PNG)"),
        (spoil("ImageSets/Main/test.txt", "../../a\n"), "line 1 leaves the data folder"),
        (spoil("ImageSets/Main/test.txt", "\n"), "holds no usable picture for evaluation"),
        (spoil("label_list", "dog\n"), "must name 'background' and then each class once"),
        (lambda root: (root / "ImageSets/Main/test.txt").unlink(), "has neither trainval.txt and test.txt"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_bad_folder_is_one_line_that_names_the_place(
    change: Callable[[Path], None], word: str, tmp_path: Path
) -> None:
    change(make_folder(tmp_path))
    with pytest.raises(BadData) as fault:
        opened(tmp_path)
    assert word in str(fault.value)
    assert "\n" not in str(fault.value)
    assert len(str(fault.value)) < 500


def test_bad_samples_are_counted_and_can_be_left_out(tmp_path: Path) -> None:
    spoil("Annotations/a.xml", "")(make_folder(tmp_path))
    with pytest.raises(BadData, match=r"1 samples of .* allowed 0: mend them or pass --max-bad 1"):
        opened(tmp_path)
    assert opened(tmp_path, max_bad=1).eval_size() == 1


def test_the_digest_changes_with_a_box(tmp_path: Path) -> None:
    before = opened(make_folder(tmp_path)).digest()
    assert opened(tmp_path).digest() == before
    write(tmp_path, "b", annotation(DOG.format(0, 0, 0, 21, 10)))
    assert opened(tmp_path).digest() != before


def test_mini_pictures_have_boxes_around_their_ink_and_the_longer_set_is_the_shorter_and_more(tmp_path: Path) -> None:
    make_mini(tmp_path / "short", MiniSettings(train=6, evaluation=6, side=96), ignore)
    make_mini(tmp_path / "long", MiniSettings(train=9, evaluation=6, side=96), ignore)
    for path in (tmp_path / "short").rglob("train_*"):
        assert path.read_bytes() == (tmp_path / "long" / path.relative_to(tmp_path / "short")).read_bytes()
    dataset = opened(tmp_path / "short")
    assert dataset.labels[:2] == ("zero", "one")
    (batch,) = dataset.eval_batches(6)
    assert {96} < set(batch["size"].ravel().tolist()), "of varied aspect"
    sides = (batch["boxes"][..., 2:] - batch["boxes"][..., :2])[batch["weight"] > 0]
    assert sides.min() > 0.1 and sides.max() < 0.95
    for i in range(6):
        picture = cv2.imread(str(tmp_path / f"short/VOCdevkit/MINI/JPEGImages/val_{i:06d}.jpg"))
        height, width = picture.shape[:2]
        edges = np.abs(cv2.Laplacian(picture, cv2.CV_32F, ksize=3)).max(axis=2)
        inside = np.zeros((height, width), bool)
        for box in batch["boxes"][i][batch["weight"][i] > 0]:
            x1, y1, x2, y2 = (box * [width, height, width, height]).round().astype(int)
            assert edges[y1:y2, x1:x2].mean() > 2 * np.median(edges), "ink has edges"
            inside[max(y1 - 4, 0) : y2 + 4, max(x1 - 4, 0) : x2 + 4] = True
        assert edges[~inside].mean() < 0.5 * edges[inside].mean(), "and blurred photographs have none"


def test_an_epoch_is_repeatable_can_start_in_the_middle_and_mixes_only_as_long_as_asked(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=6, evaluation=1, side=48), ignore)
    augment = SceneAugment(mixup_epochs=1, sides=(16, 32))
    dataset = opened(tmp_path, augment=augment)
    whole = list(dataset.train_batches(2, 0, 1))
    (rest,) = dataset.train_batches(2, 0, 1, start=2)
    for name, value in rest.items():
        np.testing.assert_array_equal(value, whole[2][name])
    assert {batch["image"].shape[2] for epoch in range(4) for batch in dataset.train_batches(2, epoch, 1)} == {16, 32}
    assert any(((batch["weight"] > 0) & (batch["weight"] < 1)).any() for batch in whole)
    later = [batch["weight"] for batch in dataset.train_batches(2, 1, 1)]
    assert all(set(np.unique(weight)) <= {0, 1} for weight in later)
