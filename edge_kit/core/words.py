"""How a text becomes a network's input; kept in the bundle with its vocabulary, so that a board needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array

MOST_CHARACTERS = 20_000  # of one text: whatever is longer is a file without line ends, or no text
IDS, LENGTHS = "ids", "lengths"  # inputs of a graph that takes words


@dataclass(frozen=True)
class _Lookup:
    """Looks units of a text up and fills up to one length.

    Attributes:
        length: Units that the graph takes; later ones are cut off.
        vocabulary: Units in the order of their ids, empty before a data set gave its own; the id behind the last is
            of all others.
    """

    KIND: ClassVar[str]

    length: int
    vocabulary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length}")

    def units(self, text: str) -> Sequence[str]:
        """What is looked up of a text."""
        raise NotImplementedError

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {unit: i for i, unit in enumerate(self.vocabulary)}

    def __call__(self, texts: Sequence[str]) -> dict[str, Array]:
        """Prepare one batch.

        Returns:
            `ids` (N, length) int64, filled up with 0, and `lengths` (N,) int64, which tell where that begins.

        Raises:
            BadData: A text holds no word, or is far too long.
        """
        ids, lengths = np.zeros((len(texts), self.length), np.int64), np.zeros(len(texts), np.int64)
        for i, text in enumerate(texts):
            fault = text_fault(text)
            if fault:
                raise BadData(f"text {i} {fault}")
            found = [self._ids.get(word, len(self.vocabulary)) for word in self.units(text)[: self.length]]
            ids[i, : len(found)], lengths[i] = found, len(found)
        return {IDS: ids, LENGTHS: lengths}

    def text(self, ids: Array, length: int) -> str:
        """The words that a graph was given, one it does not know as `?`; what was cut off stays so."""
        return " ".join(self.vocabulary[i] if i < len(self.vocabulary) else "?" for i in ids[:length])

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "length": self.length, "vocabulary": list(self.vocabulary)}


@dataclass(frozen=True)
class WordPreprocess(_Lookup):
    """Looks words up; they are divided by spaces, by whatever segmenter was trained with."""

    KIND: ClassVar[str] = "words"

    def units(self, text: str) -> Sequence[str]:
        """Its words."""
        return text.split()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> WordPreprocess:
        """Read back what `as_dict` wrote."""
        return cls(int(document["length"]), tuple(str(word) for word in document["vocabulary"]))


@dataclass(frozen=True)
class CharacterPreprocess(_Lookup):
    """Looks characters up.

    Attributes:
        replaced: Characters that another one is looked up for, such as a narrow comma for a wide one.
    """

    KIND: ClassVar[str] = "characters"

    replaced: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _table(self) -> dict[int, str]:
        return str.maketrans(dict(self.replaced))

    def units(self, text: str) -> Sequence[str]:
        """Its characters, as many as it has."""
        return text.translate(self._table)

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {**super().as_dict(), "replaced": [list(pair) for pair in self.replaced]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CharacterPreprocess:
        """Read back what `as_dict` wrote."""
        words = WordPreprocess.from_dict(document)
        pairs = tuple((str(one), str(other)) for one, other in document["replaced"])
        return cls(words.length, words.vocabulary, pairs)


def text_fault(text: str) -> str | None:
    """What is wrong with a text, as a verb and its object; None where nothing is."""
    if len(text) > MOST_CHARACTERS:
        return f"holds {len(text):,} characters, more than {MOST_CHARACTERS:,}: cut it into sentences"
    return None if text.split() else "holds no word"
