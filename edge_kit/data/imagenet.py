"""ImageNet's published list format; folders without the lists are read as `class_folders`.

    DIR/train_list.txt   one sample a line, "train/n01440764/x.jpeg 0"
    DIR/val_list.txt     likewise
    DIR/readable_label.txt   optional, "0 tench, Tinca tinca"

Source: PaddlePaddle/models release/1.6, PaddleCV/image_classification (data set section).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.images import CropPreprocess, Image
from edge_kit.core.tensors import Array, Tensors
from edge_kit.data.augment import RandomAreaCrop
from edge_kit.data.class_folders import find_class_folders
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions, evenly_spread, shuffled
from edge_kit.data.mini.imagenet import make_mini

TRAIN_LIST, EVAL_LIST, LABELS = "train_list.txt", "val_list.txt", "readable_label.txt"
SIGNATURES = {
    b"\xff\xd8\xff": b"\xff\xd9",
    b"\x89PNG": b"IEND\xaeB`\x82",
}  # start of a file -> its end
TAIL = 64  # bytes looked at for the end: some writers pad a file


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a list."""

    path: Path
    label: int


class LabelledPictures:
    """Listed pictures, each of one class; see `Dataset` for the methods. A format lists them.

    A set without a training split is scored whole; what finds ranges or holds an export to Paddle then sees some of
    the samples that are scored.

    Attributes:
        bad: Why each sample left out was left out, one line each.
    """

    labels: tuple[str, ...]
    sizes: Mapping[str, int]

    def __init__(
        self, root: Path, listed: tuple[list[Sample], list[Sample]], preprocess: CropPreprocess, options: OpenOptions
    ) -> None:
        self.name, self.published = options.name, options.published
        self.preprocess = preprocess
        self.augment: Any = options.augment or RandomAreaCrop()
        self.bad: list[str] = []
        self._train, self._eval = (self._usable(root, part) for part in listed)
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} images listed in {str(root)!r} are missing or broken, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend the lists or pass --max-bad {len(self.bad)}"
            )

    def _usable(self, root: Path, listed: list[Sample]) -> list[Sample]:
        samples = []
        for sample in listed:
            fault = picture_fault(sample.path)
            if fault:
                self.bad.append(f"{str(sample.path.relative_to(root))!r} ({fault})")
            else:
                samples.append(sample)
        if listed and not samples:
            raise BadData(f"{str(root)!r} holds no usable image, first: {self.bad[0]}")
        return samples

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self.augment)).encode())
        for sample in (*self._train, *self._eval):
            state = sample.path.stat()
            digest.update(f"{sample.path.name} {sample.label} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def train_size(self) -> int:
        return len(self._train)

    def eval_size(self) -> int:
        return len(self._eval)

    def train_order(self, batch: int, epoch: int, seed: int, start: int) -> Iterator[list[int]]:
        """The places of each training batch of an epoch."""
        return shuffled(len(self._train), batch, epoch, seed, start)

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        for chosen in self.train_order(batch, epoch, seed, start):
            pictures = []
            for i in chosen:
                rng = np.random.default_rng([seed, epoch, i])
                crop = self.augment(_decode(self._train[i]), self.preprocess.crop, rng)
                pictures.append(self.preprocess.finish(crop))
            yield _batch(pictures, [self._train[i] for i in chosen])

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches(self._eval, batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        source = self._train or self._eval
        yield from self._plain_batches([source[i] for i in evenly_spread(len(source), samples)], batch)

    def _plain_batches(self, samples: list[Sample], batch: int) -> Iterator[Tensors]:
        for start in range(0, len(samples), batch):
            part = samples[start : start + batch]
            yield _batch([self.preprocess(_decode(sample)) for sample in part], part)


class ImageNetFolder(LabelledPictures):
    """A data set in one of ImageNet's formats; see `Dataset` for the methods.

    Attributes:
        order: Where the numbers of the classes come from, for people.
    """

    def __init__(self, root: Path, preprocess: CropPreprocess, options: OpenOptions) -> None:
        folders = None if _has_lists(root) else find_class_folders(root)
        if folders:
            train, evaluation = ([Sample(*pair) for pair in pairs] for pairs in (folders.train, folders.evaluation))
            self.labels, self.order = folders.labels, folders.order
        else:
            train, evaluation = (_parse_list(root, name) for name in (TRAIN_LIST, EVAL_LIST))
            self.order = f"numbers of {TRAIN_LIST} and {EVAL_LIST}"
        super().__init__(root, (train, evaluation), preprocess, options)
        if not folders:
            self.labels = _read_labels(root, 1 + max(s.label for s in (*self._train, *self._eval)))
        self.sizes = {"num_classes": len(self.labels)}


def _batch(pictures: list[Array], samples: list[Sample]) -> Tensors:
    labels = np.array([sample.label for sample in samples], np.int64)
    return {"image": np.stack(pictures), "label": labels}


def _has_lists(root: Path) -> bool:
    return (root / TRAIN_LIST).is_file() or (root / EVAL_LIST).is_file()


def _parse_list(root: Path, name: str) -> list[Sample]:
    path = root / name
    if not path.is_file():
        raise BadData(
            f"data folder {str(root)!r} has no {name}; ImageNet's list format is {TRAIN_LIST} and {EVAL_LIST}, "
            "one 'relative/path.jpeg label' a line; class folders are train/CLASS/x.jpeg and val/CLASS/y.jpeg"
        )
    samples = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        relative, _, label = line.strip().rpartition(" ")
        if not relative or not label.isascii() or not label.isdigit():
            raise BadData(f"{str(path)!r} line {number} is not 'relative/path.jpeg label': {line[:80]!r}")
        if Path(relative).is_absolute() or ".." in Path(relative).parts:
            raise BadData(f"{str(path)!r} line {number} leaves the data folder: {relative[:80]!r}")
        samples.append(Sample(root / relative, int(label)))
    if not samples:
        raise BadData(f"{str(path)!r} lists no image; write 'relative/path.jpeg label' into it, one a line")
    return samples


def picture_fault(path: Path) -> str | None:
    """What is wrong with an image file, judged by its first and last bytes; None where nothing is."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            size = file.seek(0, 2)
            file.seek(max(size - TAIL, 0))
            tail = file.read()
    except OSError as error:
        return error.strerror.lower() if error.strerror else "unreadable"
    if not size:
        return "empty"
    for start, end in SIGNATURES.items():
        if head.startswith(start):
            return None if end in tail else "truncated"
    return "neither JPEG nor PNG"


def _decode(sample: Sample) -> Image:
    image: Image | None = cv2.imread(str(sample.path), cv2.IMREAD_COLOR)
    if image is None:
        raise BadData(f"image {str(sample.path)!r} cannot be decoded; mend it or take it off the list")
    return image


def _read_labels(root: Path, least: int) -> tuple[str, ...]:
    path = root / LABELS
    if not path.is_file():
        return tuple(str(i) for i in range(least))
    names = {}
    for line in path.read_text(errors="replace").splitlines():
        index, _, name = line.strip().partition(" ")
        if index.isdigit():
            names[int(index)] = name or index
    return tuple(names.get(i, str(i)) for i in range(max(least, 1 + max(names, default=-1))))


FORMATS.add("imagenet", DataFormat("imagenet", ImageNetFolder, make_mini, published="imagenet-1k"))
