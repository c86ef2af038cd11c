"""Composes small real pictures: a handwritten digit of some size, colour and place on a crop of a photograph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_kit.core.images import Image
from edge_kit.data.mini.digits import Digits

Coverage = NDArray[np.float32]
"""Share of a pixel that ink covers, 0..1."""

MATERIAL = "handwritten digits on crops of photographs, both as scikit-learn ships them"
APART = "What is to score shares no digit and no part of a photograph with what is to train on."
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
CANVAS = 32  # pixels a digit is distorted at, before it is placed
TRAIN_SHARE = 0.7  # train crops come from the left of each photograph, val crops from the right
LINE_SHARE = (0.75, 0.95)  # of a line's height, a digit in it
LINE_PAPER = 0.4  # of a photograph's own contrast is left behind a line, so that ink shows all along it
LINE_PITCH = (0.7, 0.9)  # from one digit of a line to the next, likewise


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard a composed picture is to read.

    Attributes:
        digit_share: Smallest and largest side of the digit, as a share of the picture's side.
        rotation_deg: Largest rotation either way.
        shear: Largest sideways lean either way, pixels a pixel.
        stretch: Largest relative change of width against height.
        wobble: Standard deviation of an elastic distortion, as a share of the digit's side.
        thickness: Largest exponent, and one over the smallest, that the ink's coverage is raised to.
        blur_share: Standard deviation of the blur over the photograph, as a share of the picture's side.
        contrast: Least distance in grey level (0..255) between ink and the mean of the photograph crop.
    """

    digit_share: tuple[float, float] = (0.65, 0.95)
    rotation_deg: float = 10.0
    shear: float = 0.0
    stretch: float = 0.0
    wobble: float = 0.0
    thickness: float = 1.0
    blur_share: float = 0.06
    contrast: float = 90.0


EVALUATION = Difficulty()
# 1,347 digits are few: training ones are bent as other hands would write them, evaluation ones are left alone.
TRAINING = Difficulty(rotation_deg=15.0, shear=0.2, stretch=0.15, wobble=0.03, thickness=1.5)


@cache
def photographs(split: str) -> tuple[Image, ...]:
    """The part of each photograph that a split, `train` or `val`, may show; BGR."""
    parts = []
    for name in PHOTOGRAPHS:
        with as_file(files("sklearn.datasets.images") / name) as path:
            photograph = cv2.imread(str(path))
        border = int(photograph.shape[1] * TRAIN_SHARE)
        parts.append(photograph[:, :border] if split == "train" else photograph[:, border:])
    return tuple(parts)


def background(split: str, side: int, blur_share: float, rng: np.random.Generator, chosen: int | None = None) -> Image:
    """A crop of a photograph, the `chosen` one or any, blurred; (side, side, 3) uint8, BGR."""
    photograph = photographs(split)[rng.integers(len(PHOTOGRAPHS)) if chosen is None else chosen]
    largest = min(photograph.shape[:2])
    window = int(rng.integers(min(side, largest), largest + 1))  # a large picture shows a small crop enlarged
    top = int(rng.integers(photograph.shape[0] - window + 1))
    left = int(rng.integers(photograph.shape[1] - window + 1))
    crop = cv2.resize(
        photograph[top : top + window, left : left + window],
        (side, side),
        interpolation=cv2.INTER_AREA,
    )
    blurred: Image = cv2.GaussianBlur(crop, (0, 0), blur_share * side) if blur_share > 0 else crop
    return blurred


def ink_for(background: Image, contrast: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A colour at least `contrast` grey levels away from the mean of the background."""
    grey = float(background.mean())
    lighter = 255 - grey >= contrast
    darker = grey >= contrast
    up = bool(rng.integers(2)) if lighter and darker else lighter
    low, high = (min(grey + contrast, 255.0), 255.0) if up else (0.0, max(grey - contrast, 0.0))
    return rng.uniform(low, high, 3).astype(np.float32)


def bend(digit: Coverage, level: Difficulty, rng: np.random.Generator) -> Coverage:
    """The digit at `CANVAS` pixels, distorted elastically and thickened or thinned; (CANVAS, CANVAS) in 0..1."""
    large = np.clip(cv2.resize(digit, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC), 0, 1)
    if level.wobble > 0:
        shifts = rng.normal(0, level.wobble * CANVAS, (2, 4, 4)).astype(np.float32)
        across, down = (cv2.resize(shift, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC) for shift in shifts)
        rows, columns = np.indices((CANVAS, CANVAS), np.float32)
        large = cv2.remap(large, columns + across, rows + down, cv2.INTER_LINEAR)
    exponent = level.thickness ** rng.uniform(-1, 1)
    thickened: Coverage = np.clip(large, 0, 1) ** np.float32(exponent)
    return thickened


def turned(angle: float) -> NDArray[np.float64]:
    """Turns by an angle in radians, clockwise on the screen; (2, 2)."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _shape(level: Difficulty, rng: np.random.Generator) -> NDArray[np.float64]:
    """How a digit of side 1 is turned, leant and stretched; (2, 2)."""
    turn = turned(float(np.deg2rad(rng.uniform(-level.rotation_deg, level.rotation_deg))))
    lean = np.array([[1.0, rng.uniform(-level.shear, level.shear)], [0.0, 1.0]])
    aspect = np.exp(rng.uniform(-level.stretch, level.stretch) / 2)
    shape: NDArray[np.float64] = turn @ lean @ np.diag([aspect, 1 / aspect])
    return shape


def stamp(digit: Coverage, side: int, linear: NDArray[np.float64], centre: NDArray[np.float64]) -> Coverage:
    """Ink coverage of the whole picture, (side, side) in 0..1.

    Args:
        digit: As `bend` gives it.
        linear: (2, 2), the way from the canvas to pixels.
        centre: Of the digit, across and down, in pixels.
    """
    matrix = np.column_stack([linear, centre - linear @ np.full(2, (CANVAS - 1) / 2)])
    mask = cv2.warpAffine(digit, matrix, (side, side), flags=cv2.INTER_LINEAR)
    clipped: Coverage = np.clip(mask, 0, 1)
    return clipped


def _place(digit: Coverage, side: int, level: Difficulty, rng: np.random.Generator) -> Coverage:
    """A digit of any size at any place, as ink coverage of the whole picture, (side, side) in 0..1."""
    size = side * float(rng.uniform(*level.digit_share))
    linear = _shape(level, rng) * size / CANVAS
    free = (side - size) / 2
    centre = side / 2 + rng.uniform(-free, free, 2)
    return stamp(bend(digit, level, rng), side, linear, centre)


def place_at(
    digit: Coverage, side: int, size: float, centre: tuple[float, float], level: Difficulty, rng: np.random.Generator
) -> Coverage:
    """A digit of that size around that place (x, y), in pixels, as ink coverage, (side, side) in 0..1."""
    linear = _shape(level, rng) * size / CANVAS
    return stamp(bend(digit, level, rng), side, linear, np.array(centre))


def compose_line(
    digits: Digits, chosen: Sequence[int], split: str, height: int, level: Difficulty, rng: np.random.Generator
) -> Image:
    """Compose a picture of several digits in a line; its width follows from theirs.

    Args:
        chosen: Which digits to draw, from left to right.
        height: Of the picture, in pixels.

    Returns:
        (height, W, 3) uint8, BGR.
    """
    level = replace(level, digit_share=LINE_SHARE)
    pitch = height * float(rng.uniform(*LINE_PITCH))
    starts = [round(place * pitch) for place in range(len(chosen))]
    ink = np.zeros((height, starts[-1] + height), np.float32)
    for start, index in zip(starts, chosen, strict=True):
        tile = ink[:, start : start + height]
        np.maximum(tile, _place(digits.images[index], height, level, rng), out=tile)
    side = max(ink.shape)
    behind = background(split, side, level.blur_share * height / side, rng)[:height, : ink.shape[1]]
    mean = behind.mean(axis=(0, 1), dtype=np.float32)
    return inked(mean + LINE_PAPER * (behind - mean), ink, ink_for(behind, level.contrast, rng))


def compose(digits: Digits, index: int, split: str, side: int, level: Difficulty, rng: np.random.Generator) -> Image:
    """Compose one picture.

    Args:
        digits: The split's digits.
        index: Which of them to draw.
        split: `train` or `val`; photographs are split as well.
        side: Side of the picture, in pixels.
        level: How hard to make it.
        rng: Decides size, place, colour and crop.

    Returns:
        (side, side, 3) uint8, BGR as OpenCV writes it.
    """
    return compose_with_ink(digits, index, split, side, level, rng)[0]


def compose_with_ink(
    digits: Digits,
    index: int,
    split: str,
    side: int,
    level: Difficulty,
    rng: np.random.Generator,
    photograph: int | None = None,
) -> tuple[Image, Coverage]:
    """The same on any photograph or a given one, and the share of each of its pixels that the digit covers."""
    behind = background(split, side, level.blur_share, rng, photograph)
    ink = ink_for(behind, level.contrast, rng)
    coverage = _place(digits.images[index], side, level, rng)
    return inked(behind, coverage, ink), coverage


def inked(picture: NDArray[Any], coverage: Coverage, ink: NDArray[np.float32]) -> Image:
    """Ink of a colour on a picture.

    Args:
        picture: (H, W, 3) in 0..255.
        coverage: (H, W) in 0..1.
        ink: (3,) BGR in 0..255.
    """
    mask = coverage[..., None]  # (H, W) -> (H, W, 1)
    return np.rint(picture.astype(np.float32) * (1 - mask) + ink * mask).astype(np.uint8)
