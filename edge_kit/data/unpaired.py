"""Unpaired pictures of two looks, as CycleGAN's sets are published.

    DIR/trainA.txt, trainB.txt, testA.txt, testB.txt   one path a line, relative to DIR: "trainA/x.jpg"
    DIR/trainA/, trainB/, testA/, testB/               where there are no lists, all pictures in these folders

An epoch shows each picture of the shorter side once, beside as many of the other.

Source: PaddlePaddle/models release/1.6, PaddleCV/PaddleGAN (data section).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.images import CropPreprocess
from edge_kit.core.tensors import Array, Tensors
from edge_kit.data.augment import EnlargedCrop
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions, evenly_spread, shuffled
from edge_kit.data.imagenet import picture_fault
from edge_kit.data.mini.looks import make_mini
from edge_kit.data.pictures import SUFFIXES, decode

SIDES = ("a", "b")
TRAIN, TEST = "train", "test"


class UnpairedFolder:
    """A data set in this format; see `Dataset` for the methods.

    Attributes:
        bad: Why each picture left out was left out.
    """

    labels: tuple[str, ...] = ()
    sizes: Mapping[str, int] = {}

    def __init__(self, root: Path, preprocess: CropPreprocess, options: OpenOptions) -> None:
        self.name, self.published, self.preprocess = options.name, options.published, preprocess
        self._augment: EnlargedCrop = options.augment or EnlargedCrop()
        self.bad: list[str] = []
        self._paths = {split: {side: self._find(root, split, side) for side in SIDES} for split in (TRAIN, TEST)}
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} pictures of {str(root)!r} are missing or broken, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )

    def _find(self, root: Path, split: str, side: str) -> list[Path]:
        name = f"{split}{side.upper()}"
        listed = root / f"{name}.txt"
        paths = _listed(root, listed) if listed.is_file() else _in_folder(root, name)
        usable = []
        for path in paths:
            fault = picture_fault(path)
            if fault:
                self.bad.append(f"{str(path.relative_to(root))!r} ({fault})")
            else:
                usable.append(path)
        if not usable:
            first = f", first: {self.bad[-1]}" if paths else ""
            raise BadData(f"{str(root)!r} has no usable picture in {name}{first}; put some there")
        return usable

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self._augment)).encode())
        for sides in self._paths.values():
            for side, paths in sides.items():
                for path in paths:
                    state = path.stat()
                    digest.update(f"{side} {path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def train_size(self) -> int:
        return min(len(paths) for paths in self._paths[TRAIN].values())

    def eval_size(self) -> int:
        return max(len(paths) for paths in self._paths[TEST].values())

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        orders = [
            shuffled(len(self._paths[TRAIN][side]), batch, epoch, seed + place, start)
            for place, side in enumerate(SIDES)
        ]
        for chosen in zip(*orders, strict=False):  # the shorter side ends an epoch
            yield {
                side: np.stack([self._augmented(self._paths[TRAIN][side][i], [seed, epoch, place, i]) for i in places])
                for place, (side, places) in enumerate(zip(SIDES, chosen, strict=True))
            }

    def _augmented(self, path: Path, seed: Sequence[int]) -> Array:
        crop = self._augment(decode(path), self.preprocess.crop, np.random.default_rng(seed))
        return self.preprocess.finish(crop)

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches(self._paths[TEST], self.eval_size(), batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        chosen = {
            side: [paths[i] for i in evenly_spread(len(paths), min(samples, self.train_size()))]
            for side, paths in self._paths[TRAIN].items()
        }
        yield from self._plain_batches(chosen, len(chosen[SIDES[0]]), batch)

    def _plain_batches(self, paths: Mapping[str, Sequence[Path]], count: int, batch: int) -> Iterator[Tensors]:
        """Both sides in step; the shorter one begins again."""
        filled = {side: list(islice(cycle(found), count)) for side, found in paths.items()}
        for start in range(0, count, batch):
            yield {
                side: np.stack([self.preprocess(decode(path)) for path in found[start : start + batch]])
                for side, found in filled.items()
            }


def _listed(root: Path, listed: Path) -> list[Path]:
    paths = []
    for number, line in enumerate(listed.read_text(errors="replace").splitlines(), 1):
        relative = line.strip()
        if relative and (Path(relative).is_absolute() or ".." in Path(relative).parts):
            raise BadData(f"{str(listed)!r} line {number} leaves the data folder: {relative[:80]!r}")
        if relative:
            paths.append(root / relative)
    return paths


def _in_folder(root: Path, name: str) -> list[Path]:
    if not (root / name).is_dir():
        raise BadData(
            f"data folder {str(root)!r} has neither {name}.txt nor {name}/; an unpaired set is trainA, trainB, testA "
            "and testB, each a list of one path a line or a folder of pictures"
        )
    return sorted(path for path in (root / name).iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())


FORMATS.add("unpaired", DataFormat("unpaired", UnpairedFolder, make_mini))
