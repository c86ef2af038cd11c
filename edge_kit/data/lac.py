r"""Tagged Chinese sentences as LAC publishes them.

    DIR/train.tsv, test.tsv   header "text_a<TAB>label", then "c1\x02c2...<TAB>t1\x02t2...", a tag (n-B) a character
    DIR/word.dic, tag.dic     "id<TAB>character" and "id<TAB>tag" a line; OOV has the last id, and O too
    DIR/q2b.dic               "from<TAB>to": characters that another one is looked up for

Scores are of test.tsv. Unknown tags count as O, and sentences are cut off at the length that the model takes.

Source: PaddlePaddle/models release/1.6, PaddleNLP/lexical_analysis (data section).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.files import sha256_file
from edge_kit.core.tensors import Tensors
from edge_kit.core.words import CharacterPreprocess, text_fault
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.listed import ListedSamples
from edge_kit.data.mini.newspaper import make_mini

TRAIN, TEST, WORDS, TAGS, REPLACED = "train.tsv", "test.tsv", "word.dic", "tag.dic", "q2b.dic"
HEADER = b"text_a"
BETWEEN = "\x02"
OTHER, UNKNOWN = "O", "OOV"
MOST_ENTRIES = 1_000_000  # of a dictionary
SHOWN = 40  # characters of a faulty line


@dataclass(frozen=True, slots=True)
class Sample:
    """One sentence, and the number of a tag for each character of it."""

    text: str
    tags: tuple[int, ...]


class TaggedFolder(ListedSamples[Sample]):
    """A data set in LAC's format; see `Dataset` for the methods.

    Attributes:
        bad: Why each line left out was left out.
    """

    def __init__(self, root: Path, preprocess: CharacterPreprocess, options: OpenOptions) -> None:
        self.name, self.published = options.name, options.published
        self._files = [root / name for name in (TRAIN, TEST, WORDS, TAGS, REPLACED)]
        for path in self._files:
            if not path.is_file():
                raise BadData(
                    f"data folder {str(root)!r} has no {path.name}; LAC's format is {TRAIN} and {TEST}, characters and "
                    f"tags divided by \\x02, the two by a tab, {WORDS} and {TAGS}, 'id<TAB>name' a line, {REPLACED}"
                )
        self.bad: list[str] = []
        self.labels = tuple(_read_ids(root / TAGS, OTHER))
        characters = _read_ids(root / WORDS, UNKNOWN)[:-1]
        pairs = tuple(_pairs(root / REPLACED))
        self.preprocess = replace(preprocess, vocabulary=tuple(characters), replaced=pairs)
        self.sizes: Mapping[str, int] = {"num_classes": len(self.labels), "vocabulary": len(characters) + 1}
        self._tags = {tag: i for i, tag in enumerate(self.labels)}
        self._train, self._test = (self._read(root / name) for name in (TRAIN, TEST))
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} line(s) in {str(root)!r} cannot be used, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )

    def _read(self, path: Path) -> list[Sample]:
        samples = []
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line.strip() or (number == 1 and line.removeprefix(b"\xef\xbb\xbf").startswith(HEADER)):
                continue
            read = self._parse(line)
            if isinstance(read, Sample):
                samples.append(read)
            else:
                self.bad.append(f"{path.name} line {number} {read}")
        if not samples:
            first = f", first: {self.bad[0]}" if self.bad else ""
            raise BadData(f"{str(path)!r} holds no usable line{first}")
        return samples

    def _parse(self, line: bytes) -> Sample | str:
        """A sample, or what is wrong with the line."""
        try:
            text, _, tags = line.decode().rstrip("\r").partition("\t")
        except UnicodeDecodeError as error:
            return f"is not UTF-8 (byte {error.start})"
        characters, named = text.split(BETWEEN), tags.split(BETWEEN)
        if len(characters) != len(named) or any(len(one) != 1 for one in characters):
            return f"has not a tag for each character: {line.decode()[:SHOWN]!r}"
        whole = "".join(characters)
        fault = text_fault(whole)
        return fault or Sample(whole, tuple(self._tags.get(tag, self._tags[OTHER]) for tag in named))

    def digest(self) -> str:
        digest = hashlib.sha256(repr(self.preprocess.length).encode())
        for path in self._files:
            digest.update(sha256_file(path).encode())
        return digest.hexdigest()

    def _batch(self, samples: Sequence[Sample]) -> Tensors:
        """The inputs, and `label` (N, length) int64, filled up with O."""
        label = np.full((len(samples), self.preprocess.length), self._tags[OTHER], np.int64)
        for row, sample in zip(label, samples, strict=True):
            known = sample.tags[: len(row)]
            row[: len(known)] = known
        return {**self.preprocess([sample.text for sample in samples]), "label": label}


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Both columns of a dictionary; the first may be a blank, and the second too."""
    try:
        lines = path.read_bytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise BadData(f"{str(path)!r} is not UTF-8 (byte {error.start}); write it anew in that encoding") from None
    pairs = []
    for number, line in enumerate(lines, 1):
        one, tab, other = line.rstrip("\r").partition("\t")
        if line and not (tab and one and other):
            raise BadData(f"{str(path)!r} line {number} is not 'one<TAB>other': {line[:SHOWN]!r}")
        if line:
            pairs.append((one, other))
    return pairs


def _read_ids(path: Path, last: str) -> list[str]:
    """Names in the order of their ids, those of ids that are left out empty."""
    names: dict[int, str] = {}
    for number, name in _pairs(path):
        if not number.isascii() or not number.isdigit() or int(number) >= MOST_ENTRIES or int(number) in names:
            raise BadData(
                f"{str(path)!r} gives {name[:SHOWN]!r} the id {number[:SHOWN]!r}; each is a number of its own"
            )
        names[int(number)] = name
    if not names or names[max(names)] != last:
        raise BadData(
            f"{str(path)!r} must give its last id to {last!r}, and gives it to {names.get(max(names, default=0))!r}"
        )
    return [names.get(i, "") for i in range(max(names) + 1)]


FORMATS.add("lac", DataFormat("lac", TaggedFolder, make_mini))
