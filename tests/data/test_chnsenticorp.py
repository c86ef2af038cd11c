"""ChnSentiCorp's format: what is read, what the mini set is, and what is said of a broken folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.words import MOST_CHARACTERS, WordPreprocess
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.chnsenticorp import SentimentFolder
from edge_kit.data.mini.reviews import PATTERNS, RARE, THINGS, make_mini, vocabulary


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def make_folder(root: Path) -> Path:
    (root / "train.tsv").write_text("text_a\tlabel\n房间 很 好\t1\n房间 不 好\t0\n很 好\t1\n", encoding="utf-8")
    (root / "test.tsv").write_text("text_a\tlabel\n早餐 很 好\t1\n房间 很 很 很 好\t1\n", encoding="utf-8")
    (root / "word_dict.txt").write_text("不\n好\n很\n房间\n", encoding="utf-8")
    return root


def opened(root: Path, max_bad: int = 0, length: int = 4) -> SentimentFolder:
    return SentimentFolder(root, WordPreprocess(length), OpenOptions("chnsenticorp", True, max_bad))


def test_words_become_line_numbers_unknown_ones_the_next_and_long_texts_are_cut(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    assert dataset.sizes == {"num_classes": 2, "vocabulary": 5}
    assert dataset.labels == ("negative", "positive")
    (batch,) = dataset.eval_batches(10)
    assert batch["ids"].tolist() == [[4, 2, 1, 0], [3, 2, 2, 2]]
    assert batch["ids"].dtype == batch["lengths"].dtype == np.int64
    assert batch["lengths"].tolist() == [3, 4]
    assert batch["label"].tolist() == [1, 1]


def test_the_bundles_preprocessing_reads_back_as_it_was(tmp_path: Path) -> None:
    preprocess = opened(make_folder(tmp_path)).preprocess
    again = WordPreprocess.from_dict(preprocess.as_dict())
    assert again == preprocess
    assert again(["不 好"])["ids"].tolist() == [[0, 1, 0, 0]]


def test_an_epoch_is_shuffled_repeatable_and_can_start_in_the_middle(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=40, evaluation=4), ignore)
    dataset = opened(tmp_path, length=32)
    whole = list(dataset.train_batches(8, 0, 1))
    assert len(whole) == 5
    (rest,) = dataset.train_batches(8, 0, 1, start=4)
    assert np.array_equal(rest["ids"], whole[4]["ids"])
    assert not np.array_equal(next(iter(dataset.train_batches(8, 1, 1)))["ids"], whole[0]["ids"])


def test_the_digest_changes_with_a_text_and_with_the_length(tmp_path: Path) -> None:
    before = opened(make_folder(tmp_path)).digest()
    assert opened(tmp_path).digest() == before
    assert opened(tmp_path, length=5).digest() != before
    (tmp_path / "test.tsv").write_text("房间 不 好\t0\n", encoding="utf-8")
    assert opened(tmp_path).digest() != before


def spoil(name: str, content: bytes) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / name).write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (spoil("train.tsv", b""), "is empty; its first line is"),
        (spoil("train.tsv", b"text_a\tlabel\n"), "holds no usable line"),
        (spoil("test.tsv", "房间 好\t2\n".encode()), "test.tsv line 1 is not 'text<TAB>0 or 1'"),
        (spoil("test.tsv", "房间 好\tpositive\n".encode()), "test.tsv line 1 is not"),
        (spoil("test.tsv", "房间 好\n".encode()), "test.tsv line 1 is not"),
        (spoil("test.tsv", "房间 好\t1\n".encode("gbk")), "test.tsv line 1 is not UTF-8"),
        (
            spoil("test.tsv", "好\t1\n ".encode() + "好".encode() * 100_000 + b"\t0\n"),
            "line 2 holds 100,001 characters",
        ),
        (spoil("test.tsv", b"  \t1\n"), "test.tsv line 1 holds no word"),
        (spoil("word_dict.txt", b""), "holds 0 words"),
        (spoil("word_dict.txt", "房间\n".encode("gbk")), "word_dict.txt' is not UTF-8"),
        (lambda root: (root / "word_dict.txt").unlink(), "has no word_dict.txt; ChnSentiCorp's format is"),
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
    with (tmp_path / "train.tsv").open("ab") as file:
        file.write("房间\t7\n".encode() + "房间 好\t1\n".encode("gbk"))
    with pytest.raises(BadData, match=r"2 line\(s\) .* allowed 0: mend them or pass --max-bad 2"):
        opened(tmp_path)
    assert opened(tmp_path, max_bad=2).train_size() == 3


def test_a_folder_of_pictures_is_told_what_the_format_is(tmp_path: Path) -> None:
    for name in ("JPEGImages", "Annotations", "ImageSets"):
        (tmp_path / name).mkdir()
    with pytest.raises(BadData, match=r"has no train.tsv; ChnSentiCorp's format is train.tsv and test.tsv"):
        opened(tmp_path)


@pytest.mark.parametrize("text", ["", "  ", "好" * (MOST_CHARACTERS + 1)])
def test_a_text_that_is_none_is_refused_on_the_board_too(text: str) -> None:
    with pytest.raises(BadData, match="text 1 holds"):
        WordPreprocess(4, ("好",))(["好", text])


def test_mini_test_reviews_share_neither_things_nor_patterns_with_training(tmp_path: Path) -> None:
    assert not set(PATTERNS["train"]) & set(PATTERNS["test"])
    make_mini(tmp_path, MiniSettings(train=600, evaluation=400), ignore)
    train, test = ((tmp_path / f"{split}.tsv").read_text(encoding="utf-8") for split in ("train", "test"))
    words = {split: set(text.split()) for split, text in (("train", train), ("test", test))}
    assert set(THINGS["train"]) <= words["train"]
    assert not set(THINGS["train"]) & words["test"]
    assert not set(THINGS["test"]) & (words["train"] | set(vocabulary()))
    assert set(RARE) <= words["train"], "without, the id of unknown words would never be trained"
    assert not set(RARE) & set(vocabulary())
    texts = [set(text.splitlines()[1:]) for text in (train, test)]
    assert len(texts[0] & texts[1]) <= 0.02 * len(texts[1]), "verdicts alone may stand in both"


def test_the_mini_set_says_in_its_folder_that_it_is_generated(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=4, evaluation=2, seed=9), ignore)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "not real reviews" in card
    assert "seed 9" in card


def test_mini_reviews_cannot_be_told_by_counting_words(tmp_path: Path) -> None:
    """Praise before a 'but', and negations: words of praise and blame must stand in reviews of both kinds."""
    make_mini(tmp_path, MiniSettings(train=2000, evaluation=4), ignore)
    lines = (tmp_path / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    praised = [line.endswith("\t1") for line in lines if "干净" in line]
    assert 0.15 < 1 - sum(praised) / len(praised) < 0.5
    assert sum(line.endswith("\t1") for line in lines) == 1000


def test_a_longer_mini_set_is_the_shorter_one_and_more(tmp_path: Path) -> None:
    for name, train in (("short", 20), ("long", 30)):
        make_mini(tmp_path / name, MiniSettings(train=train, evaluation=5), ignore)
    short, long = ((tmp_path / name / "train.tsv").read_text(encoding="utf-8") for name in ("short", "long"))
    assert long.startswith(short)
    assert len(long) > len(short)
