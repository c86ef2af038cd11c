"""Text lines on disk: what is read, what the mini set is, and what is said of a broken folder."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.lines import LinePreprocess
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.mini.compose import EVALUATION, compose_line
from edge_kit.data.mini.digits import load_digits
from edge_kit.data.mini.lines import make_mini
from edge_kit.data.ocr_lines import LineFolder


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def make_folder(root: Path) -> Path:
    for split, lines in (("train", ["40 20 a.jpg 80,84,68"]), ("test", ["40 20 a b.jpg 15,16", "40 20 c.png 7"])):
        (root / f"{split}_images").mkdir(exist_ok=True)
        for line in lines:
            name = line.split(" ", 2)[2].rpartition(" ")[0]
            cv2.imwrite(str(root / f"{split}_images" / name), np.full((20, 40, 3), 200, np.uint8))
        (root / f"{split}.list").write_text("".join(f"{line}\n" for line in lines))
    return root


def opened(root: Path, max_bad: int = 0, width: int = 64) -> LineFolder:
    return LineFolder(root, LinePreprocess(width), OpenOptions("lines", False, max_bad))


def test_lines_become_pictures_of_one_width_and_ids_of_one_length(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    (batch,) = dataset.eval_batches(10)
    assert batch["image"].shape == (2, 1, 48, 64)
    np.testing.assert_allclose(batch["image"][:, :, :, :40], 200 - 127.5, atol=1.0)
    assert not batch["image"][:, :, :, 40:].any()
    assert batch["label"].tolist() == [[15, 16], [7, 0]]
    assert batch["label"].dtype == np.int32
    assert batch["label_length"].tolist() == [2, 1]
    (batch,) = dataset.calibration_batches(5, 10)
    assert batch["label"].tolist() == [[80, 84, 68]]


def test_ids_are_printable_ascii_in_lower_case_as_the_published_example_has_them(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    assert dataset.sizes == {"num_classes": 95}
    ids = [80, 84, 68, 82, 83, 72, 78, 77, 68, 67]
    assert "".join(dataset.labels[i] for i in ids) == "questioned"


def test_a_dictionary_names_the_ids(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "dict.txt").write_text("".join(f"字{i}\n" for i in range(90)), encoding="utf-8")
    assert opened(tmp_path).labels[15] == "字15"
    (tmp_path / "dict.txt").write_text("a\nb\n")
    with pytest.raises(BadData, match=r"train.list line 1 has id 84; there are 2, from 0"):
        opened(tmp_path)


def spoil(name: str, content: bytes) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / name).write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (spoil("train.list", b""), "train.list' holds no usable line; write 'width height file ids' a line"),
        (spoil("test.list", b"40 20 c.png\n"), "test.list line 1 is not 'width height file ids': '40 20 c.png'"),
        (spoil("test.list", b"40 20 c.png 1,\n"), "test.list line 1 is not"),
        (spoil("test.list", b"40 20 c.png 1,-2\n"), "test.list line 1 is not"),
        (spoil("test.list", b"x 20 c.png 1\n"), "test.list line 1 is not"),
        (spoil("test.list", b"40 20 c.png 95\n"), "test.list line 1 has id 95; there are 95, from 0"),
        (spoil("test.list", b"40 20 c.png 99999999999999\n"), "test.list line 1 is not"),
        (spoil("test.list", b"40 20 ../train_images/a.jpg 1\n"), "test.list line 1 leaves the data folder"),
        (spoil("test.list", b"40 20 /etc/passwd 1\n"), "test.list line 1 leaves the data folder"),
        (spoil("test.list", b"40 20 c.png 1,1,1,1,1\n"), "needs 9 steps for its 5 characters, 64 pixels give 8"),
        (spoil("test.list", b"40 20 d.png 1\n"), "test.list line 1 'd.png' (no such file or directory)"),
        (spoil("test_images/c.png", b"\x89PNG"), "test.list line 2 'c.png' (truncated)"),
        (spoil("test.list", b"\xff\xfe\n"), "test.list line 1 is not"),
        (spoil("dict.txt", "字".encode("gbk")), "dict.txt' is not UTF-8"),
        (spoil("dict.txt", b""), "dict.txt' holds 0 characters"),
        (lambda root: (root / "test.list").unlink(), "has no test.list; text lines are train.list and test.list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
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


def test_bad_lines_are_counted_and_can_be_left_out(tmp_path: Path) -> None:
    make_folder(tmp_path)
    with (tmp_path / "test.list").open("a") as file:
        file.write("40 20 gone.png 1\n40 20 c.png x\n")
    with pytest.raises(BadData, match=r"2 line\(s\) .* allowed 0: mend them or pass --max-bad 2"):
        opened(tmp_path)
    assert opened(tmp_path, max_bad=2).eval_size() == 2


def test_a_picture_that_cannot_be_decoded_is_one_line(tmp_path: Path) -> None:
    make_folder(tmp_path)
    (tmp_path / "test_images" / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50 + b"IEND\xaeB`\x82")
    with pytest.raises(BadData, match="cannot be decoded; mend it or take it off the list"):
        list(opened(tmp_path).eval_batches(5))


def test_the_digest_changes_with_a_label_and_with_the_width(tmp_path: Path) -> None:
    before = opened(make_folder(tmp_path)).digest()
    assert opened(tmp_path).digest() == before
    assert opened(tmp_path, width=72).digest() != before
    (tmp_path / "test.list").write_text("40 20 c.png 8\n")
    assert opened(tmp_path).digest() != before


def test_the_mini_set_is_read_back_shuffled_and_can_start_in_the_middle(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=40, evaluation=6, side=32), ignore)
    dataset = opened(tmp_path, width=104)
    assert (dataset.train_size(), dataset.eval_size()) == (40, 6)
    whole = list(dataset.train_batches(8, 0, 1))
    (rest,) = dataset.train_batches(8, 0, 1, start=4)
    np.testing.assert_array_equal(rest["image"], whole[4]["image"])
    assert not np.array_equal(next(iter(dataset.train_batches(8, 1, 1)))["image"], whole[0]["image"])
    seen = {dataset.labels[i] for batch in whole for i in batch["label"].ravel() if i}
    assert seen <= set("0123456789") and len(seen) == 10


def test_mini_lines_are_of_many_widths_all_of_which_fit(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=60, evaluation=1, side=32), ignore)
    sizes = [tuple(map(int, line.split()[:2])) for line in (tmp_path / "train.list").read_text().splitlines()]
    picture = cv2.imread(str(tmp_path / "train_images" / "000000.jpg"))
    assert picture.shape[:2] == sizes[0][::-1]
    assert len({width for width, _ in sizes}) > 20
    assert max(width for width, _ in sizes) <= 104


def test_a_longer_mini_set_is_the_shorter_one_and_more(tmp_path: Path) -> None:
    for name, train in (("short", 3), ("long", 5)):
        make_mini(tmp_path / name, MiniSettings(train=train, evaluation=2, side=32), ignore)
    short, long = ((tmp_path / name / "train.list").read_text() for name in ("short", "long"))
    assert long.startswith(short) and len(long) > len(short)
    assert (tmp_path / "short/train_images/000002.jpg").read_bytes() == (
        tmp_path / "long/train_images/000002.jpg"
    ).read_bytes()


def test_a_composed_line_shows_its_digits_from_left_to_right() -> None:
    """Of ink that is told from its paper, more lies where the blacker digit was put."""
    digits = load_digits("val")
    ink = digits.images.sum(axis=(1, 2))
    light, heavy = int(ink.argmin()), int(ink.argmax())
    for chosen in ([light, heavy], [heavy, light]):
        picture = compose_line(digits, chosen, "val", 32, EVALUATION, np.random.default_rng(3)).astype(float)
        shown = np.abs(picture - np.median(picture, axis=(0, 1))).max(axis=2) > 60
        left, right = np.array_split(shown, 2, axis=1)
        assert bool(left.sum() > right.sum()) is (chosen[0] == heavy)
