"""Kinetics as PaddleVideo publishes it, with videos: `format: mp4`.

    DIR/train.list, val.list       a clip a line, "path label", paths relative to DIR or within it
    DIR/kinetics_labels.json       optional, {"abseiling": 0, ...}

A clip is a video that OpenCV reads, or a folder of its frames, whose names are in their order. Published lists of the
other format name pickles, one a clip; they are refused, as unpickling runs whatever a file says. Accuracy is of
val.list, one view of each clip.

Source: PaddlePaddle/models release/1.6, PaddleCV/PaddleVideo (data section).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_kit.core.clips import CLIP, ClipPreprocess
from edge_kit.core.errors import BadData
from edge_kit.core.images import Image, resize_image
from edge_kit.core.tensors import Array, Tensors
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions, evenly_spread, shuffled
from edge_kit.data.mini.motions import make_mini

TRAIN, VAL, LABELS = "train.list", "val.list", "kinetics_labels.json"
FRAMES = (".jpg", ".jpeg", ".png")
PICKLES = (".pkl", ".pickle")
MOST_CLASSES = 100_000
SHOWN = 80  # characters of a faulty line


@dataclass(frozen=True, slots=True)
class MultiScaleCrop:
    """One crop for all frames of a clip: of some size at one of thirteen places, then at random, perhaps mirrored.

    Attributes:
        scales: Sides of the first crop, as shares of the shorter side; width and height are neighbours in this list.
        flip: Probability of mirroring; 0 where left and right carry meaning.

    Source: PaddlePaddle/models release/1.6, PaddleCV/PaddleVideo, the reader of Kinetics.
    """

    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)
    flip: float = 0.5

    def __call__(self, frames: Sequence[Image], preprocess: ClipPreprocess, rng: np.random.Generator) -> list[Image]:
        """Cut (crop, crop, 3) from each frame; all are resized to the preprocessing's size before."""
        height, width = frames[0].shape[:2]
        base = min(height, width)
        wide, high = self._sides(base, rng)
        left, top = _corner(width - wide, height - high, rng)
        side, crop = preprocess.resize_short, preprocess.crop
        x, y = (int(rng.integers(side - crop + 1)) for _ in range(2))
        mirrored = rng.random() < self.flip
        cut = []
        for frame in frames:
            part = resize_image(frame[top : top + high, left : left + wide], (side, side))[y : y + crop, x : x + crop]
            cut.append(part[:, ::-1] if mirrored else part)
        return cut

    def _sides(self, base: int, rng: np.random.Generator) -> tuple[int, int]:
        sides = [int(base * scale) for scale in self.scales]
        near = [(i, j) for i in range(len(sides)) for j in range(len(sides)) if abs(i - j) <= 1]
        i, j = near[int(rng.integers(len(near)))]
        return sides[i], sides[j]


def _corner(free_x: int, free_y: int, rng: np.random.Generator) -> tuple[int, int]:
    """One of thirteen places on a grid of quarters: corners, centre, middles of the sides and of the quarters."""
    places = [(x, y) for x in (0, 2, 4) for y in (0, 2, 4)] + [(x, y) for x in (1, 3) for y in (1, 3)]
    x, y = places[int(rng.integers(len(places)))]
    return x * free_x // 4, y * free_y // 4


@dataclass(frozen=True, slots=True)
class Clip:
    """One line."""

    path: Path
    label: int


class KineticsFolder:
    """A data set in Kinetics' format; see `Dataset` for the methods.

    Attributes:
        bad: Why each clip left out was left out.
    """

    def __init__(self, root: Path, preprocess: ClipPreprocess, options: OpenOptions) -> None:
        self.name, self.published, self.preprocess = options.name, options.published, preprocess
        self.augment: MultiScaleCrop = options.augment or MultiScaleCrop()
        self.bad: list[str] = []
        self._train, self._val = (self._usable(root, name) for name in (TRAIN, VAL))
        if len(self.bad) > options.max_bad:
            raise BadData(
                f"{len(self.bad)} clips listed in {str(root)!r} are missing or broken, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend the lists or pass --max-bad {len(self.bad)}"
            )
        self.labels = _read_labels(root, 1 + max(clip.label for clip in (*self._train, *self._val)))
        self.sizes: Mapping[str, int] = {"num_classes": len(self.labels), "segments": preprocess.segments}

    def _usable(self, root: Path, name: str) -> list[Clip]:
        listed = _read_list(root, name)
        faults = [(clip, _fault(clip.path)) for clip in listed]
        self.bad += [f"{str(clip.path.relative_to(root))!r} ({fault})" for clip, fault in faults if fault]
        usable = [clip for clip, fault in faults if not fault]
        if not usable:
            raise BadData(f"{str(root / name)!r} lists no usable clip, first: {self.bad[0]}")
        return usable

    def digest(self) -> str:
        digest = hashlib.sha256(repr((self.preprocess, self.augment, self.labels)).encode())
        for clip in (*self._train, *self._val):
            state = clip.path.stat()
            digest.update(f"{clip.path.name} {clip.label} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def train_size(self) -> int:
        return len(self._train)

    def eval_size(self) -> int:
        return len(self._val)

    def train_batches(self, batch: int, epoch: int, seed: int, start: int = 0) -> Iterator[Tensors]:
        for chosen in shuffled(len(self._train), batch, epoch, seed, start):
            clips = [self._augmented(self._train[i], np.random.default_rng([seed, epoch, i])) for i in chosen]
            yield _batch(clips, [self._train[i] for i in chosen])

    def _augmented(self, clip: Clip, rng: np.random.Generator) -> Array:
        prepare = self.preprocess
        frames = read_frames(clip.path, lambda n: prepare.places(n, lambda length: int(rng.integers(length))))
        return prepare.finish(self.augment([prepare.resized(frame) for frame in frames], prepare, rng))

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches(self._val, batch)

    def calibration_batches(self, samples: int, batch: int) -> Iterator[Tensors]:
        yield from self._plain_batches([self._train[i] for i in evenly_spread(len(self._train), samples)], batch)

    def _plain_batches(self, clips: list[Clip], batch: int) -> Iterator[Tensors]:
        for start in range(0, len(clips), batch):
            part = clips[start : start + batch]
            yield _batch([self.preprocess(read_frames(clip.path, self.preprocess.places)) for clip in part], part)


def _batch(prepared: list[Array], clips: list[Clip]) -> Tensors:
    return {CLIP: np.stack(prepared), "label": np.array([clip.label for clip in clips], np.int64)}


def read_frames(path: Path, choose: Callable[[int], list[int]]) -> list[Image]:
    """Some frames of a clip, (H, W, 3) uint8, BGR.

    Args:
        path: A video, or a folder of pictures.
        choose: Gives their places, from how many there are; they do not fall.

    Raises:
        BadData: It cannot be read.
    """
    if path.is_dir():
        names = _frames_in(path)
        found = [cv2.imread(str(names[i]), cv2.IMREAD_COLOR) for i in choose(len(names))] if names else []
    else:
        found = _decode(path, choose)
    if not found or any(frame is None for frame in found):
        raise BadData(f"clip {str(path)!r} cannot be decoded; mend it or take it off the list")
    if len({frame.shape for frame in found}) > 1:
        raise BadData(f"frames of clip {str(path)!r} differ in size; make them alike or take it off the list")
    return found


def _decode(path: Path, choose: Callable[[int], list[int]]) -> list[Any]:
    """Frames of a video; it is read to its end first, as what its header says of its length is often wrong."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.grab():
        count += 1
    if not count:
        return []
    wanted = choose(count)
    capture.open(str(path), cv2.CAP_FFMPEG)
    found: dict[int, Any] = {}
    for place in range(max(wanted) + 1):
        if not capture.grab():
            return []
        if place in wanted:
            found[place] = capture.retrieve()[1]
    return [found[place] for place in wanted]


def _frames_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in FRAMES and path.is_file())


def _fault(path: Path) -> str:
    """What is wrong with a clip, as far as that can be told without decoding it; empty where nothing is."""
    if path.suffix.lower() in PICKLES:
        return "a pickle, which is never read: give the video, or a folder of its frames"
    if path.is_dir():
        return "" if _frames_in(path) else "a folder without frames"
    if not path.is_file():
        return "no such file or directory"
    return "" if path.stat().st_size else "empty"


def _read_list(root: Path, name: str) -> list[Clip]:
    path = root / name
    if not path.is_file():
        raise BadData(
            f"data folder {str(root)!r} has no {name}; Kinetics' format is {TRAIN} and {VAL}, a clip a line, "
            "'path label', with videos or folders of frames"
        )
    clips = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        given, _, label = line.strip().rpartition(" ")
        if Path(label).suffix.lower() in PICKLES:
            raise BadData(
                f"{str(path)!r} line {number} names a pickle, which is never read: {label[:SHOWN]!r}; "
                "write 'path label' with videos or folders of frames"
            )
        if not given or not (label.isascii() and label.isdigit()) or int(label) >= MOST_CLASSES:
            raise BadData(f"{str(path)!r} line {number} is not 'path label': {line[:SHOWN]!r}")
        place = root / given  # of an absolute path, that path
        if ".." in Path(given).parts or not place.is_relative_to(root):
            raise BadData(f"{str(path)!r} line {number} leaves the data folder: {given[:SHOWN]!r}")
        clips.append(Clip(place, int(label)))
    if not clips:
        raise BadData(f"{str(path)!r} lists no clip; write 'path label' into it, one a line")
    return clips


def _read_labels(root: Path, least: int) -> tuple[str, ...]:
    path = root / LABELS
    if not path.is_file():
        return tuple(str(i) for i in range(least))
    try:
        document = json.loads(path.read_bytes())
        names = {int(number): str(name) for name, number in document.items()}
        if not all(0 <= number < MOST_CLASSES for number in names):
            raise ValueError("numbers out of range")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadData(
            f'{str(path)!r} cannot be read ({error}); it is {{"name": number, ...}}, or leave it out'
        ) from None
    return tuple(names.get(i, str(i)) for i in range(max(least, 1 + max(names, default=-1))))


FORMATS.add("kinetics", DataFormat("kinetics", KineticsFolder, make_mini))
