"""Histories of shoppers as Deep Interest Network publishes those of Amazon Electronics.

    DIR/paddle_train.txt, paddle_test.txt   "items;categories;target;its category;0 or 1" a line, numbers from 0, of the
                                            history divided by blanks, oldest first
    DIR/config.txt                          how many users, items and categories there are, a number a line

Scores are of paddle_test.txt: for every user, the item that he took last and one that he did not.

Source: PaddlePaddle/models release/1.6, PaddleRec/din (data section).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_kit.core.behaviour import Behaviour, BehaviourPreprocess
from edge_kit.core.errors import BadData
from edge_kit.core.files import sha256_file
from edge_kit.core.tensors import Tensors
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.listed import ListedSamples
from edge_kit.data.mini.shoppers import make_mini

TRAIN, TEST, CONFIG = FILES = "paddle_train.txt", "paddle_test.txt", "config.txt"
MOST = 100_000_000  # items or categories
SHOWN = 40  # characters of a faulty line

Sample = tuple[Behaviour, int]
"""A user before an item, and whether he took it."""


class ShopperFolder(ListedSamples[Sample]):
    """A data set in that format; see `Dataset` for the methods.

    Attributes:
        bad: Why each line left out was left out.
    """

    labels: tuple[str, ...] = ()

    def __init__(self, root: Path, preprocess: BehaviourPreprocess, options: OpenOptions) -> None:
        self.name, self.published = options.name, options.published
        self._files = [root / name for name in FILES]
        for path in self._files:
            if not path.is_file():
                raise BadData(
                    f"data folder {str(root)!r} has no {path.name}; the format of DIN is {TRAIN} and {TEST}, "
                    f"'items;categories;target;its category;0 or 1' a line, and {CONFIG}, how many of each there are"
                )
        self.bad: list[str] = []
        items, categories = _read_config(root / CONFIG)
        self.sizes: Mapping[str, int] = {"items": items, "categories": categories}
        self.preprocess = replace(preprocess, known=(items, categories))
        self._train, self._test = (self._read(root / name) for name in (TRAIN, TEST))
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} line(s) in {str(root)!r} cannot be used, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )

    def _read(self, path: Path) -> list[Sample]:
        samples = []
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            read = self._parse(line)
            if isinstance(read, str):
                self.bad.append(f"{path.name} line {number} {read}")
            else:
                samples.append(read)
        if not samples:
            first = f", first: {self.bad[0]}" if self.bad else ""
            raise BadData(f"{str(path)!r} holds no usable line{first}")
        return samples

    def _parse(self, line: bytes) -> Sample | str:
        """A sample, or what is wrong with the line."""
        try:
            items, categories, target, kind, label = line.decode("ascii").split(";")
            history = [tuple(int(one) for one in part.split()) for part in (items, categories)]
            behaviour = Behaviour(history[0], history[1], int(target), int(kind))
            taken = {"0": 0, "1": 1}[label.strip()]
        except (ValueError, KeyError):
            return f"is not 'items;categories;target;its category;0 or 1': {line.decode(errors='replace')[:SHOWN]!r}"
        return self.preprocess.fault(behaviour) or (behaviour, taken)

    def digest(self) -> str:
        digest = hashlib.sha256(repr(self.preprocess.length).encode())
        for path in self._files:
            digest.update(sha256_file(path).encode())
        return digest.hexdigest()

    def _batch(self, samples: Sequence[Sample]) -> Tensors:
        label = np.array([taken for _, taken in samples], np.int64)
        return {**self.preprocess([behaviour for behaviour, _ in samples]), "label": label}


def _read_config(path: Path) -> tuple[int, int]:
    """How many items and categories there are."""
    lines = path.read_bytes().split()
    if len(lines) != 3 or not all(one.isdigit() and 0 < int(one) <= MOST for one in lines):
        raise BadData(
            f"{str(path)!r} must hold how many users, items and categories there are, three numbers from 1 to {MOST:,}"
        )
    return int(lines[1]), int(lines[2])


FORMATS.add("amazon", DataFormat("amazon", ShopperFolder, make_mini))
