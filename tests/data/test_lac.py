"""LAC's format: what is read, what the mini set is, and what is said of a broken folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.core.words import CharacterPreprocess
from edge_kit.data import MiniSettings, OpenOptions
from edge_kit.data.lac import TaggedFolder
from edge_kit.data.mini.newspaper import TYPES, make_mini, replaced


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def line(text: str, tags: str) -> str:
    return "\x02".join(text) + "\t" + "\x02".join(tags.split()) + "\n"


def make_folder(root: Path) -> Path:
    (root / "train.tsv").write_text("text_a\tlabel\n" + line("我爱ＡB", "r-B v-B n-B n-I"), encoding="utf-8")
    (root / "test.tsv").write_text("text_a\tlabel\n" + line("爱你, 我", "v-B x-B O O r-B"), encoding="utf-8")
    (root / "word.dic").write_text("0\t我\n1\t爱\n2\ta\n3\t,\n5\tOOV\n", encoding="utf-8")
    (root / "tag.dic").write_text("0\tr-B\n1\tr-I\n2\tv-B\n3\tv-I\n4\tn-B\n5\tn-I\n6\tO\n", encoding="utf-8")
    (root / "q2b.dic").write_text("Ａ\ta\n，\t,\n\u3000\t \n", encoding="utf-8")
    return root


def opened(root: Path, max_bad: int = 0, length: int = 4) -> TaggedFolder:
    return TaggedFolder(root, CharacterPreprocess(length), OpenOptions("lac", True, max_bad))


def test_characters_are_replaced_and_looked_up_tags_too_and_sentences_are_cut(tmp_path: Path) -> None:
    dataset = opened(make_folder(tmp_path))
    assert dataset.sizes == {"num_classes": 7, "vocabulary": 6}
    (train,) = dataset.calibration_batches(9, 9)
    assert train["ids"].tolist() == [[0, 1, 2, 5]]
    assert train["label"].tolist() == [[0, 2, 4, 5]]
    (test,) = dataset.eval_batches(9)
    assert test["ids"].tolist() == [[1, 5, 3, 5]]
    assert test["label"].tolist() == [[2, 6, 6, 6]], "what tag.dic does not know is O"
    assert test["lengths"].tolist() == [4]


def test_what_fills_up_is_tagged_o(tmp_path: Path) -> None:
    (train,) = opened(make_folder(tmp_path), length=6).calibration_batches(9, 9)
    assert train["lengths"].tolist() == [4]
    assert train["label"].tolist() == [[0, 2, 4, 5, 6, 6]]


def test_the_bundles_preprocessing_reads_back_as_it_was(tmp_path: Path) -> None:
    preprocess = opened(make_folder(tmp_path)).preprocess
    again = CharacterPreprocess.from_dict(preprocess.as_dict())
    assert again == preprocess
    assert again(["Ａ，爱"])["ids"].tolist() == [[2, 3, 1, 0]]


def test_the_digest_changes_with_every_file(tmp_path: Path) -> None:
    seen = {opened(make_folder(tmp_path)).digest()}
    for name in ("train.tsv", "test.tsv", "word.dic", "q2b.dic"):
        path = make_folder(tmp_path) / name
        path.write_bytes(path.read_bytes().replace("爱".encode(), "看".encode()).replace("，".encode(), "；".encode()))
        seen.add(opened(tmp_path).digest())
    assert len(seen) == 5


def spoil(name: str, content: str | bytes) -> Callable[[Path], None]:
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda root: (root / name).write_bytes(raw) and None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (spoil("train.tsv", ""), "holds no usable line"),
        (spoil("test.tsv", line("我爱", "r-B")), "test.tsv line 1 has not a tag for each character"),
        (spoil("test.tsv", "我爱\tr-B\x02v-B\n"), "test.tsv line 1 has not a tag for each character"),
        (spoil("test.tsv", line("我", "r-B").encode("gbk")), "test.tsv line 1 is not UTF-8"),
        (spoil("test.tsv", line(" ", "O")), "test.tsv line 1 holds no word"),
        (spoil("word.dic", "0\t我\n1\t爱\n"), "must give its last id to 'OOV', and gives it to '爱'"),
        (spoil("word.dic", ""), "must give its last id to 'OOV'"),
        (spoil("word.dic", "0\t我\n0\tOOV\n"), "gives 'OOV' the id '0'"),
        (spoil("word.dic", "0\t我\n9999999999\tOOV\n"), "gives 'OOV' the id"),
        (spoil("tag.dic", "O\t0\n"), "gives '0' the id 'O'"),
        (spoil("q2b.dic", "Ａa\n"), "q2b.dic' line 1 is not 'one<TAB>other'"),
        (spoil("q2b.dic", "Ａ\ta\n".encode("gbk")), "is not UTF-8"),
        (lambda root: (root / "q2b.dic").unlink(), "has no q2b.dic; LAC's format is"),
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
    with (make_folder(tmp_path) / "train.tsv").open("a", encoding="utf-8") as file:
        file.write(line("我爱", "r-B"))
    with pytest.raises(BadData, match=r"1 line\(s\) .* allowed 0: mend them or pass --max-bad 1"):
        opened(tmp_path)
    assert opened(tmp_path, max_bad=1).train_size() == 1


def test_the_mini_set_is_real_text_and_train_shares_no_sentence_with_test(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=400, evaluation=300), ignore)
    dataset = opened(tmp_path, length=64)
    assert dataset.sizes == {"num_classes": 57, "vocabulary": 20_941}
    assert (dataset.train_size(), dataset.eval_size()) == (400, 300)
    train, test = (
        (tmp_path / f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1:] for name in ("train", "test")
    )
    assert not {one.split("\t")[0] for one in train} & {one.split("\t")[0] for one in test}
    (batch,) = dataset.eval_batches(300)
    real = np.arange(64) < batch["lengths"][:, None]
    assert (batch["ids"][real] == 20_940).mean() < 0.01, "nearly every character is in LAC's dictionary"
    assert (batch["label"][real] == 56).mean() == 0, "people tagged every word"
    assert "PKU corpus" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_every_type_is_one_of_lacs(tmp_path: Path) -> None:
    make_mini(tmp_path, MiniSettings(train=4, evaluation=4), ignore)
    tags = (tmp_path / "tag.dic").read_text(encoding="utf-8")
    assert all(f"\t{kind}-B\n" in tags for kind in TYPES.values())


def test_wide_marks_are_looked_up_as_narrow_ones_and_capitals_as_small_letters() -> None:
    pairs = dict(replaced())
    assert {one: pairs[one] for one in "，。Ｚ５Q\u3000（"} == {
        "，": ",", "。": ".", "Ｚ": "z", "５": "5", "Q": "q", "\u3000": " ", "（": "(",
    }  # fmt: skip


def test_a_longer_mini_set_is_the_shorter_one_and_more(tmp_path: Path) -> None:
    for name, train in (("short", 20), ("long", 30)):
        make_mini(tmp_path / name, MiniSettings(train=train, evaluation=5), ignore)
    short, long = ((tmp_path / name / "train.tsv").read_text(encoding="utf-8") for name in ("short", "long"))
    assert long.startswith(short)
    assert len(long) > len(short)
