"""The format of Deep Interest Network: what is read, what the mini set is, and what is said of a broken folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.behaviour import Behaviour, BehaviourPreprocess
from edge_kit.core.errors import BadData
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.amazon import ShopperFolder
from edge_kit.data.mini.shoppers import CATEGORIES, EACH, ITEMS, PER_CATEGORY, make_mini


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def make_folder(root: Path) -> Path:
    (root / "paddle_train.txt").write_text("4 5 6;0 1 1;7;1;1\n4;0;5;1;0\n")
    (root / "paddle_test.txt").write_text("1 2 3 4;0 0 1 1;9;2;1\n")
    (root / "config.txt").write_text("2\n10\n3\n")
    return root


def opened(root: Path, max_bad: int = 0, length: int = 3) -> ShopperFolder:
    return ShopperFolder(root, BehaviourPreprocess(length), OpenOptions("amazon", True, max_bad))


def test_the_latest_items_are_kept_and_shorter_histories_filled_up(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    assert dataset.sizes == {"items": 10, "categories": 3}
    (test,) = dataset.eval_batches(5)
    assert test["items"].tolist() == [[2, 3, 4]]
    assert test["categories"].tolist() == [[0, 1, 1]]
    assert [test[name].tolist() for name in ("target", "target_category", "label")] == [[9], [2], [1]]
    (train,) = dataset.calibration_batches(5, 5)
    assert train["items"].tolist() == [[4, 5, 6], [4, 0, 0]]
    assert train["lengths"].tolist() == [3, 1]


def test_the_bundles_preprocessing_reads_back_as_it_was(tmp_path: Path) -> None:
    preprocess = opened(make_folder(tmp_path)).preprocess
    assert BehaviourPreprocess.from_dict(preprocess.as_dict()) == preprocess
    with pytest.raises(BadData, match="sample 0 names item 10; known are 0 to 9"):
        preprocess([Behaviour((1,), (0,), 10, 0)])


def spoil(name: str, content: str | bytes) -> Callable[[Path], None]:
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda root: (root / name).write_bytes(raw) and None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (spoil("paddle_train.txt", ""), "holds no usable line"),
        (spoil("paddle_test.txt", "1 2;0;9;2;1\n"), "paddle_test.txt line 1 holds 2 items and 1 categories"),
        (spoil("paddle_test.txt", ";;9;2;1\n"), "line 1 holds 0 items"),
        (spoil("paddle_test.txt", "1;0;9;2;2\n"), "line 1 is not 'items;categories;target;its category;0 or 1'"),
        (spoil("paddle_test.txt", "1;0;9;2\n"), "line 1 is not"),
        (spoil("paddle_test.txt", "一;0;9;2;1\n"), "line 1 is not"),
        (spoil("paddle_test.txt", "1;3;9;2;1\n"), "line 1 names category 3; known are 0 to 2"),
        (spoil("paddle_test.txt", "-1;0;9;2;1\n"), "line 1 names item"),
        (spoil("config.txt", "2\n10\n"), "must hold how many users, items and categories there are"),
        (spoil("config.txt", "2 10 0"), "must hold how many"),
        (spoil("config.txt", b"\xff 1 2"), "must hold how many"),
        (lambda root: (root / "config.txt").unlink(), "has no config.txt; the format of DIN is"),
    ],
)
def test_a_bad_folder_is_one_line_that_names_the_place(
    change: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    change(make_folder(tmp_path))
    with pytest.raises(BadData) as fault:
        opened(tmp_path)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_bad_lines_are_counted_and_can_be_left_out(tmp_path: Path) -> None:
    with (make_folder(tmp_path) / "paddle_train.txt").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(BadData, match=r"1 line\(s\) .* allowed 0: mend them or pass --max-bad 1"):
        opened(tmp_path)
    assert opened(tmp_path, max_bad=1).train_size() == 2


def test_what_a_shopper_of_the_mini_set_leaves_is_told_from_his_own_items_of_that_category(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=600, evaluation=600), ignore)
    dataset = opened(tmp_path, length=20)
    assert dataset.sizes == {"items": ITEMS, "categories": CATEGORIES}
    (batch,) = dataset.eval_batches(600)
    assert batch["label"].mean() == 0.5
    real = np.arange(20) < batch["lengths"][:, None]
    same_kind = real & (batch["categories"] == batch["target_category"][:, None])
    style = (batch["items"] % PER_CATEGORY // EACH) == (batch["target"] % PER_CATEGORY // EACH)[:, None]
    elsewhere = real & ~same_kind
    asked = same_kind.any(axis=1) & elsewhere.any(axis=1)
    taken = batch["label"] == 1
    means = [(style & where).sum(axis=1) / np.maximum(where.sum(axis=1), 1) for where in (same_kind, elsewhere)]
    assert means[0][asked & taken].mean() - means[0][asked & ~taken].mean() > 0.7, "in the category of the target"
    assert abs(means[1][asked & taken].mean() - means[1][asked & ~taken].mean()) < 0.1, "in others styles say nothing"
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "no real shoppers" in card


def test_a_longer_mini_set_is_the_shorter_one_and_more(tmp_path: Path) -> None:
    for name, train in (("short", 40), ("long", 90)):
        make_mini(tmp_path / name, MiniSettings(train=train, evaluation=5), ignore)
    short, long = ((tmp_path / name / "paddle_train.txt").read_text() for name in ("short", "long"))
    assert long.startswith(short)
    assert len(long) > len(short)
