"""ChnSentiCorp as Senta publishes it.

    DIR/train.tsv, dev.tsv, test.tsv   header "text_a<TAB>label", then "words divided by spaces<TAB>0 or 1"
    DIR/word_dict.txt                  one word a line, its id the line's number from 0

Accuracy is of test.tsv; dev.tsv is not read. 0 is negative and 1 positive.

Source: PaddlePaddle/models release/1.6, PaddleNLP/sentiment_classification (data section).
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
from edge_kit.core.words import WordPreprocess, text_fault
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.listed import ListedSamples
from edge_kit.data.mini.reviews import make_mini

TRAIN, TEST, WORDS = "train.tsv", "test.tsv", "word_dict.txt"
HEADER = "text_a"
LABELS = ("negative", "positive")
MOST_WORDS = 5_000_000
SHOWN = 40  # characters of a faulty line


@dataclass(frozen=True, slots=True)
class Sample:
    """One line."""

    text: str
    label: int


class SentimentFolder(ListedSamples[Sample]):
    """A data set in ChnSentiCorp's format; see `Dataset` for the methods.

    Attributes:
        bad: Why each line left out was left out.
    """

    labels: tuple[str, ...] = LABELS

    def __init__(self, root: Path, preprocess: WordPreprocess, options: OpenOptions) -> None:
        self.name, self.published = options.name, options.published
        for name in (TRAIN, TEST, WORDS):
            if not (root / name).is_file():
                raise BadData(
                    f"data folder {str(root)!r} has no {name}; ChnSentiCorp's format is {TRAIN} and {TEST}, "
                    f"'text_a<TAB>label' a line, and {WORDS}, one word a line"
                )
        self.bad: list[str] = []
        self._files = [root / name for name in (TRAIN, TEST, WORDS)]
        self.preprocess = replace(preprocess, vocabulary=_read_words(root / WORDS))
        self._train, self._test = (self._read(root / name) for name in (TRAIN, TEST))
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} line(s) in {str(root)!r} cannot be used, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )
        self.sizes: Mapping[str, int] = {
            "num_classes": len(LABELS),
            "vocabulary": len(self.preprocess.vocabulary) + 1,  # and all other words
        }

    def _read(self, path: Path) -> list[Sample]:
        samples = []
        lines = path.read_bytes().splitlines()
        if not lines:
            raise BadData(f"{str(path)!r} is empty; its first line is '{HEADER}<TAB>label'")
        for number, line in enumerate(lines, 1):
            if not line.strip() or (number == 1 and line.removeprefix(b"\xef\xbb\xbf").startswith(HEADER.encode())):
                continue
            read = _parse(line)
            if isinstance(read, Sample):
                samples.append(read)
            else:
                self.bad.append(f"{path.name} line {number} {read}")
        if not samples:
            first = f", first: {self.bad[0]}" if self.bad else ""
            raise BadData(f"{str(path)!r} holds no usable line{first}")
        return samples

    def digest(self) -> str:
        digest = hashlib.sha256(repr(self.preprocess.length).encode())
        for path in self._files:
            digest.update(sha256_file(path).encode())
        return digest.hexdigest()

    def _batch(self, samples: Sequence[Sample]) -> Tensors:
        labels = np.array([sample.label for sample in samples], np.int64)
        return {**self.preprocess([sample.text for sample in samples]), "label": labels}


def _parse(line: bytes) -> Sample | str:
    """A sample, or what is wrong with the line."""
    try:
        text, _, label = line.decode().rstrip("\r\n").rpartition("\t")
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start})"
    fault = text_fault(text)
    if fault and text:
        return fault
    if not text or label.strip() not in ("0", "1"):
        return f"is not 'text<TAB>0 or 1': {line.decode()[:SHOWN]!r}"
    return Sample(text, int(label))


def _read_words(path: Path) -> tuple[str, ...]:
    try:
        words = tuple(path.read_bytes().decode().splitlines())
    except UnicodeDecodeError as error:
        raise BadData(f"{str(path)!r} is not UTF-8 (byte {error.start}); write it anew in that encoding") from None
    if not 0 < len(words) <= MOST_WORDS:
        raise BadData(f"{str(path)!r} holds {len(words):,} words; it holds one a line, at most {MOST_WORDS:,}")
    return words


FORMATS.add("chnsenticorp", DataFormat("chnsenticorp", SentimentFolder, make_mini))
