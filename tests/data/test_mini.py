"""The mini set: real, in the published format, and with nothing shared between train and val."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_kit.core.images import ImagePreprocess
from edge_kit.data import FORMATS, MiniSettings, OpenOptions
from edge_kit.data.mini.digits import load_digits

SMALL = MiniSettings(train=40, evaluation=30)


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_train_and_val_share_no_digit() -> None:
    train, val = load_digits("train"), load_digits("val")
    assert not set(train.indices) & set(val.indices)
    assert len(train.indices) + len(val.indices) == 1797
    distinct = {image.tobytes() for image in train.images} & {image.tobytes() for image in val.images}
    assert not distinct, "the same pixels stand in both"
    assert set(val.labels) == set(range(10))


@pytest.mark.parametrize("form", [form for form in FORMATS if form.make_mini], ids=lambda form: form.name)
def test_making_it_twice_gives_the_same_bytes(form, tmp_path: Path) -> None:
    for name in ("first", "second"):
        form.make_mini(tmp_path / name, SMALL, ignore)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_a_longer_set_is_the_shorter_one_and_more(tmp_path: Path) -> None:
    form = FORMATS.get("imagenet")
    form.make_mini(tmp_path / "short", SMALL, ignore)
    form.make_mini(tmp_path / "long", MiniSettings(train=60, evaluation=30), ignore)
    short, long = contents(tmp_path / "short"), contents(tmp_path / "long")
    assert all(long[name] == value for name, value in short.items() if name.endswith(".jpeg"))


def test_the_reader_of_the_published_format_reads_it(tmp_path: Path) -> None:
    form = FORMATS.get("imagenet")
    form.make_mini(tmp_path, SMALL, ignore)
    dataset = form.open(tmp_path, ImagePreprocess(64, 64), OpenOptions("mini-imagenet", False))
    assert dataset.sizes == {"num_classes": 10}
    assert dataset.labels[3] == "digit 3"
    batches = list(dataset.eval_batches(16))
    assert [len(batch["label"]) for batch in batches] == [16, 14]
    assert batches[0]["image"].shape == (16, 3, 64, 64)
    expected = load_digits("val").labels[:30]
    assert np.array_equal(np.concatenate([batch["label"] for batch in batches]), expected)


def test_ink_stands_out_from_the_photograph(tmp_path: Path) -> None:
    """A picture whose digit cannot be seen would put a ceiling on every metric."""
    from edge_kit.data.mini.compose import EVALUATION, compose

    digits = load_digits("val")
    for i in range(40):
        rng = np.random.default_rng([7, i])
        picture = compose(digits, i, "val", 64, EVALUATION, rng).astype(float).mean(axis=2)
        assert picture.max() - picture.min() >= EVALUATION.contrast * 0.6


def test_pictures_may_be_larger_than_the_photographs_they_are_cut_from(tmp_path: Path) -> None:
    """AlexNet and VGG take 224 pixels; the part of a photograph that is held out is 192 wide."""
    FORMATS.get("imagenet").make_mini(tmp_path, MiniSettings(train=4, evaluation=4, side=224), lambda *told: None)
    for path in sorted(tmp_path.rglob("*.jpeg")):
        image = cv2.imread(str(path))
        assert image.shape == (224, 224, 3)
        assert image.std() > 10
