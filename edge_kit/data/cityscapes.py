"""Cityscapes as it is distributed, with PaddlePaddle's lists or without.

    DIR/leftImg8bit/train/CITY/X_leftImg8bit.png       pictures, 1024 x 2048; val likewise
    DIR/gtFine/train/CITY/X_gtFine_labelTrainIds.png   one class a pixel, 0..18, 255 for none
    DIR/gtFine/train/CITY/X_gtFine_labelIds.png        the same by the 34 numbers of the download, where the other lacks
    DIR/train.list, val.list   optional, "picture label" a line below DIR; without them every picture of the split
    DIR/labels.txt             optional, ours: names of other classes, one a line, in the order of their numbers

mIoU is of val; where a picture has another size than the network's input, it is stretched, and its labels with it.

Source: PaddlePaddle/models release/1.6, PaddleCV/icnet (data section); cityscapesScripts, helpers/labels.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.scenes import IGNORED, IMAGE, ScenePreprocess, planes
from edge_kit.core.tensors import Array, Tensors
from edge_kit.data.augment import SceneCrop
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions, evenly_spread, shuffled
from edge_kit.data.imagenet import picture_fault
from edge_kit.data.mini.masks import make_mini

PICTURES, LABELS = "leftImg8bit", "gtFine"
PICTURE_END, TRAIN_IDS_END, IDS_END = "_leftImg8bit.png", "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"
NAMES = "labels.txt"
CLASSES = {  # by the number that the download has
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
BATCH_PIXELS = 2**22  # of a batch at most, two pictures as published: a network's activations are a thousand times that
LAYOUT = (
    f"Cityscapes' layout is {PICTURES}/train/CITY/X{PICTURE_END} and {LABELS}/train/CITY/X{TRAIN_IDS_END}, "
    "val likewise, or train.list and val.list with 'picture label' a line"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and its labels."""

    picture: Path
    labels: Path


class SceneFolder:
    """A data set in Cityscapes' format; see `Dataset` for the methods.

    Attributes:
        bad: Why each sample left out was left out.
    """

    def __init__(self, root: Path, preprocess: ScenePreprocess, options: OpenOptions) -> None:
        self.name, self.published = options.name, options.published
        self.preprocess = preprocess
        self.augment: SceneCrop = options.augment or SceneCrop(preprocess.height, preprocess.width)
        self.labels = _read_names(root)
        self.sizes: Mapping[str, int] = {"num_classes": len(self.labels)}
        self.bad: list[str] = []
        self._train, self._eval = (self._usable(root, _find(root, split)) for split in ("train", "val"))
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} files of {str(root)!r} are missing or broken, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )

    def _usable(self, root: Path, found: list[Sample]) -> list[Sample]:
        samples = []
        for sample in found:
            faults = {path: picture_fault(path) for path in (sample.picture, sample.labels)}
            told = [f"{str(path.relative_to(root))!r} ({fault})" for path, fault in faults.items() if fault]
            self.bad.extend(told[:1])
            if not told:
                samples.append(sample)
        if not samples:
            raise BadData(f"{str(root)!r} holds no usable sample, first: {self.bad[0]}")
        return samples

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self.augment, self.labels)).encode())
        for path in (path for sample in (*self._train, *self._eval) for path in (sample.picture, sample.labels)):
            state = path.stat()
            digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def train_size(self) -> int:
        return len(self._train)

    def eval_size(self) -> int:
        return len(self._eval)

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        for chosen in shuffled(len(self._train), batch, epoch, seed, start):
            pairs = []
            for i in chosen:
                image, labels = self._read(self._train[i])
                rng = np.random.default_rng([seed, epoch, i])
                image, labels = self.augment(self.preprocess.without_mean(image), labels, rng)
                pairs.append((planes(image), labels))
            yield _batch(pairs)

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches(self._eval, batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches([self._train[i] for i in evenly_spread(len(self._train), samples)], batch)

    def _plain_batches(self, samples: Sequence[Sample], batch: int) -> Iterator[Tensors]:
        """Batches of so many samples, or of fewer where pictures are large."""
        size = (self.preprocess.width, self.preprocess.height)
        batch = min(batch, max(1, BATCH_PIXELS // (size[0] * size[1])))
        for start in range(0, len(samples), batch):
            pairs = []
            for sample in samples[start : start + batch]:
                image, labels = self._read(sample)
                pairs.append((self.preprocess(image), cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)))
            yield _batch(pairs)

    def _read(self, sample: Sample) -> tuple[Image, Array]:
        """(H, W, 3) BGR, and (H, W) uint8 classes.

        Raises:
            BadData: A file cannot be decoded, or the labels do not fit the picture or name no class.
        """
        image: Image | None = cv2.imread(str(sample.picture), cv2.IMREAD_COLOR)
        stored: Array | None = cv2.imread(str(sample.labels), cv2.IMREAD_UNCHANGED)
        if image is None or stored is None:
            path = sample.picture if image is None else sample.labels
            raise BadData(f"{str(path)!r} cannot be decoded; mend it or take it away with its other half")
        if stored.dtype != np.uint8 or stored.shape != image.shape[:2]:
            raise BadData(
                f"labels {str(sample.labels)!r} are {stored.shape} {stored.dtype} and the picture {image.shape[:2]}; "
                "write one grey byte a pixel"
            )
        labels = _of_ids(stored, sample.labels) if sample.labels.name.endswith(IDS_END) else stored
        wrong = labels[(labels >= len(self.labels)) & (labels != IGNORED)]
        if wrong.size:
            raise BadData(
                f"labels {str(sample.labels)!r} hold {wrong[0]}, and there are {len(self.labels)} classes; "
                f"{IGNORED} is for pixels of none: write them anew with cityscapesScripts' createTrainIdLabelImgs"
            )
        return image, labels


def _of_ids(stored: Array, path: Path) -> Array:
    """The numbers of the download -> classes; those that are not scored become `IGNORED`."""
    if int(stored.max()) > max(CLASSES):
        raise BadData(f"labels {str(path)!r} hold {stored.max()}; Cityscapes numbers its labels 0 to {max(CLASSES)}")
    table = np.full(max(CLASSES) + 1, IGNORED, np.uint8)
    table[list(CLASSES)] = np.arange(len(CLASSES))
    return table[stored]


def _find(root: Path, split: str) -> list[Sample]:
    listed = root / f"{split}.list"
    found = _parse_list(root, listed) if listed.is_file() else _walk(root, split)
    if not found:
        raise BadData(f"data folder {str(root)!r} has no {split} picture; {LAYOUT}")
    return found


def _walk(root: Path, split: str) -> list[Sample]:
    samples = []
    for picture in sorted((root / PICTURES / split).glob(f"*/*{PICTURE_END}")):
        stem = picture.name.removesuffix(PICTURE_END)
        place = root / LABELS / split / picture.parent.name
        named = [place / f"{stem}{end}" for end in (TRAIN_IDS_END, IDS_END)]
        samples.append(Sample(picture, next((path for path in named if path.is_file()), named[0])))
    return samples


def _parse_list(root: Path, path: Path) -> list[Sample]:
    samples = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        names = line.split()
        if not names:
            continue
        if len(names) != 2:
            raise BadData(f"{str(path)!r} line {number} is not 'picture.png label.png': {line[:80]!r}")
        for name in names:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise BadData(f"{str(path)!r} line {number} leaves the data folder: {name[:80]!r}")
        samples.append(Sample(root / names[0], root / names[1]))
    return samples


def _read_names(root: Path) -> tuple[str, ...]:
    path = root / NAMES
    if not path.is_file():
        return tuple(CLASSES.values())
    names = tuple(line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip())
    if not 2 <= len(names) <= IGNORED:
        raise BadData(f"{str(path)!r} names {len(names)} classes; it holds 2 to {IGNORED} names, one a line")
    return names


def _batch(pairs: list[tuple[Array, Array]]) -> Tensors:
    images, labels = zip(*pairs, strict=True)
    return {IMAGE: np.stack(images), "label": np.stack(labels)}


FORMATS.add("cityscapes", DataFormat("cityscapes", SceneFolder, make_mini))
