"""Pictures of one line of text, as ocr_recognition publishes them.

    DIR/train.list, test.list            "width height file ids" a line, ids divided by commas
    DIR/train_images/, test_images/      the files
    DIR/dict.txt                         optional, one character a line, its id the line's number from 0

Error rates are of test.list. Without a dictionary there are 95 ids, those of printable ASCII from '!': the published
set ships none, and its one example reads so in lower case.

Published training sorts lines by width and squeezes those of a batch to the first one's; here all are filled up to the
width of the network's input, in training too.

Source: PaddlePaddle/models release/1.6, PaddleCV/ocr_recognition (data section).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.lines import IMAGE, LinePreprocess
from edge_kit.core.tensors import Tensors
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.imagenet import picture_fault
from edge_kit.data.listed import ListedSamples
from edge_kit.data.mini.lines import make_mini

SPLITS = ("train", "test")
DICTIONARY = "dict.txt"
FORM = "'width height file ids' a line, ids divided by commas"
PRINTABLE = (*(chr(code) for code in range(ord("!"), ord("~") + 1)), " ")  # 94, and an id that nothing tells of
PIXELS_A_STEP = 8  # of the width, for one answer of the network
MOST_CHARACTERS = 100_000
SHOWN = 40  # characters of a faulty line


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a list."""

    path: Path
    ids: tuple[int, ...]


class LineFolder(ListedSamples[Sample]):
    """A data set of text lines; see `Dataset` for the methods.

    A batch holds `image` (N, 1, H, W) float32, `label` (N, L) int32 filled up with 0, and `label_length` (N,) int64.

    Attributes:
        bad: Why each line left out was left out.
    """

    def __init__(self, root: Path, preprocess: LinePreprocess, options: OpenOptions) -> None:
        self.name, self.published, self.preprocess = options.name, options.published, preprocess
        for split in SPLITS:
            if not (root / f"{split}.list").is_file():
                raise BadData(
                    f"data folder {str(root)!r} has no {split}.list; text lines are train.list and test.list, {FORM}, "
                    "and the files in train_images and test_images"
                )
        self.labels = _read_dictionary(root / DICTIONARY)
        self.sizes: Mapping[str, int] = {"num_classes": len(self.labels)}
        self.bad: list[str] = []
        self._train, self._test = (self._read(root, split) for split in SPLITS)
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} line(s) in {str(root)!r} cannot be used, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )

    def _read(self, root: Path, split: str) -> list[Sample]:
        samples = []
        for number, line in enumerate((root / f"{split}.list").read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            read = self._parse(root / f"{split}_images", line)
            if isinstance(read, Sample):
                samples.append(read)
            else:
                self.bad.append(f"{split}.list line {number} {read}")
        if not samples:
            first = f", first: {self.bad[0]}" if self.bad else f"; write {FORM} into it"
            raise BadData(f"{str(root / f'{split}.list')!r} holds no usable line{first}")
        return samples

    def _parse(self, folder: Path, line: bytes) -> Sample | str:
        """A sample, or what is wrong with the line."""
        text = line.decode(errors="replace").strip()
        before, _, told = text.rpartition(" ")
        size, name = before.split(" ", 2)[:2], before.split(" ", 2)[2:]
        numbers = [*size, *told.split(",")]
        if not name or not all(one.isascii() and one.isdigit() and len(one) < 10 for one in numbers):
            return f"is not 'width height file ids': {text[:SHOWN]!r}"
        ids = tuple(int(one) for one in told.split(","))
        if max(ids) >= len(self.labels):
            return f"has id {max(ids)}; there are {len(self.labels)}, from 0"
        steps, needed = self.preprocess.width // PIXELS_A_STEP, len(ids) + sum(map(int.__eq__, ids, ids[1:]))
        if needed > steps:
            return f"needs {needed} steps for its {len(ids)} characters, {self.preprocess.width} pixels give {steps}"
        if Path(name[0]).is_absolute() or ".." in Path(name[0]).parts:
            return f"leaves the data folder: {name[0][:SHOWN]!r}"
        fault = picture_fault(folder / name[0])
        return f"{name[0][:SHOWN]!r} ({fault})" if fault else Sample(folder / name[0], ids)

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self.labels)).encode())
        for sample in (*self._train, *self._test):
            state = sample.path.stat()
            digest.update(f"{sample.path.name} {sample.ids} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _batch(self, samples: Sequence[Sample]) -> Tensors:
        lengths = np.array([len(sample.ids) for sample in samples], np.int64)
        labels = np.zeros((len(samples), int(lengths.max())), np.int32)
        for row, sample in zip(labels, samples, strict=True):
            row[: len(sample.ids)] = sample.ids
        pictures = np.stack([self.preprocess(_decode(sample.path)) for sample in samples])
        return {IMAGE: pictures, "label": labels, "label_length": lengths}


def _decode(path: Path) -> Image:
    image: Image | None = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise BadData(f"image {str(path)!r} cannot be decoded; mend it or take it off the list")
    return image


def _read_dictionary(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return PRINTABLE
    try:
        characters = tuple(path.read_bytes().decode().splitlines())
    except UnicodeDecodeError as error:
        raise BadData(f"{str(path)!r} is not UTF-8 (byte {error.start}); write it anew in that encoding") from None
    if not 0 < len(characters) <= MOST_CHARACTERS:
        raise BadData(
            f"{str(path)!r} holds {len(characters):,} characters; it holds one a line, at most {MOST_CHARACTERS:,}"
        )
    return characters


FORMATS.add("ocr_lines", DataFormat("ocr_lines", LineFolder, make_mini))
