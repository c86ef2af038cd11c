"""Scenes for sets with boxes: some handwritten digits of varied size, colour and place on one crop of a photograph.

Digits and photographs are those of `digits` and `compose`, and train and val share none of either. Scenes are of varied
aspect, so that what stretches them to a square can be told from what does not. Digits do not cover each other; a box
is that of a digit's ink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_kit.core.boxes import overlaps
from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import (
    EVALUATION,
    TRAINING,
    Coverage,
    background,
    ink_for,
    inked,
    place_at,
)
from edge_kit.data.mini.digits import load_digits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOST = 3  # digits in a scene
SHARE = (0.35, 0.65)  # side of a digit over the longer side of the scene
FLATTEST = 0.75  # shorter side of a scene over the longer
TRIALS = 30  # to find a place for a further digit
SEEN = 0.4  # coverage from which on ink is part of a digit's box
REPORT_EVERY = 128
JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class Written:
    """One digit of a scene.

    Attributes:
        box: x1, y1, x2, y2 in whole pixels: the first of its ink and the first behind it.
        area: Pixels of its ink.
    """

    label: int
    box: tuple[int, int, int, int]
    area: int


def write_scenes(
    settings: MiniSettings, progress: Progress, write: Callable[[str, int, Image, list[Written]], None]
) -> None:
    """Compose every scene of a set.

    Args:
        write: Takes the split, `train` or `val`, the place in it, the picture and its digits.
    """
    total = settings.train + settings.evaluation
    done = 0
    for split, count in (("train", settings.train), ("val", settings.evaluation)):
        for i in range(count):
            write(split, i, *compose_scene(split, i, settings))
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)


def compose_scene(split: str, index: int, settings: MiniSettings) -> tuple[Image, list[Written]]:
    """One scene; the same in a larger set.

    Returns:
        (H, W, 3) uint8 BGR, its longer side `settings.side`, and its digits.
    """
    rng = np.random.default_rng([settings.seed, split == "val", index])
    digits, level = load_digits(split), EVALUATION if split == "val" else TRAINING
    side, short = settings.side, round(settings.side * rng.uniform(FLATTEST, 1))
    height, width = (short, side) if rng.random() < 0.5 else (side, short)
    photograph = background(split, side, level.blur_share, rng)[:height, :width]
    picture, written = photograph, []
    for x, y, size in _places(height, width, side, rng):
        chosen = int(rng.integers(len(digits.labels)))
        coverage = place_at(digits.images[chosen], side, size, (x, y), level, rng)[:height, :width]
        picture = inked(picture, coverage, ink_for(photograph, level.contrast, rng))
        found = _written(int(digits.labels[chosen]), coverage)
        if found is not None:
            written.append(found)
    return picture, written


def _places(height: int, width: int, side: int, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centres (x, y) and sizes of digits that keep clear of each other, at least one."""
    places: list[tuple[float, float, float]] = []
    taken = np.zeros((0, 4))
    wanted = int(rng.integers(1, MOST + 1))
    for _ in range(TRIALS):
        size = side * rng.uniform(*SHARE)
        x, y = (rng.uniform(size / 2, max(extent - size / 2, size / 2)) for extent in (width, height))
        box: NDArray[np.float64] = np.array([[x - size / 2, y - size / 2, x + size / 2, y + size / 2]])
        if not len(taken) or overlaps(box, taken).max() == 0:
            places.append((x, y, size))
            taken = np.concatenate([taken, box])
        if len(places) == wanted:
            break
    return places


def _written(label: int, coverage: Coverage) -> Written | None:
    ink = coverage > SEEN
    if not ink.any():
        return None
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Written(label, box, int(ink.sum()))


def write_picture(path: Path, picture: Image) -> None:
    """A JPEG file."""
    # Not cv2.imwrite: on a full disk it returns False and says nothing.
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    path.write_bytes(encoded.tobytes())
