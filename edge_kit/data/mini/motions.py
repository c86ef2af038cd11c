"""Mini data in Kinetics' format: short videos of a handwritten digit that moves over a photograph, a class a motion.

Every motion has its reverse among the classes and shows the same pictures in another order, so that no single frame
tells a class; which digit it is says nothing either. Train and val share no digit and no part of a photograph.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import EdgeKitError
from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import (
    APART,
    CANVAS,
    EVALUATION,
    MATERIAL,
    TRAINING,
    background,
    bend,
    ink_for,
    inked,
    stamp,
    turned,
)
from edge_kit.data.mini.digits import load_digits

MOTIONS = ("down", "grow", "left", "right", "shrink", "turn left", "turn right", "up")  # sorted, as published
FRAMES, FPS = 16, 8.0
SIZE = 0.55  # of the digit, over the picture's side
WAY = 0.22  # from the centre to where a motion begins or ends, over the side
SWELL = 1.6  # between the largest and the usual size
TURN_DEG = 100.0  # either way from upright
REPORT_EVERY = 32


CARD = Card(
    "Moving digits in Kinetics' format",
    f"No sample of Kinetics, but short videos: {MATERIAL}, a digit a video.",
    (
        f"A class a motion, {len(MOTIONS)} in all; each has its reverse among them, so that no frame tells a class.",
        APART,
        "Accuracy on it says that a model learned to see motion, and nothing of Kinetics.",
    ),
    f"top-1 {100 / len(MOTIONS):g} %, as {len(MOTIONS)} classes are equally frequent",
    "clips",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told clips done and clips in all."""
    total, done = settings.train + settings.evaluation, 0
    for split, count in (("train", settings.train), ("val", settings.evaluation)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        lines = []
        for i in range(count):
            motion = i % len(MOTIONS)
            name = f"{split}/{MOTIONS[motion].replace(' ', '_')}_{i:05d}.mp4"
            _write(folder / name, film(split, i, motion, settings))
            lines.append(f"{name} {motion}\n")
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)
        (folder / f"{split}.list").write_text("".join(lines))
    (folder / "kinetics_labels.json").write_text(json.dumps({name: i for i, name in enumerate(MOTIONS)}))


def film(split: str, index: int, motion: int, settings: MiniSettings) -> list[Image]:
    """The frames of one clip, (side, side, 3) uint8, BGR."""
    rng = np.random.default_rng([settings.seed, split == "val", index])
    digits, side = load_digits(split), settings.side
    level = EVALUATION if split == "val" else TRAINING
    behind = background(split, side, level.blur_share, rng)
    ink = ink_for(behind, level.contrast, rng)
    digit = bend(digits.images[int(rng.integers(len(digits.labels)))], level, rng)
    reach = float(rng.uniform(0.8, 1.2))
    frames = []
    for time in np.linspace(-1, 1, FRAMES) * reach:
        size, angle, centre = _pose(MOTIONS[motion], float(time), side)
        coverage = stamp(digit, side, turned(angle) * size / CANVAS, centre)
        frames.append(inked(behind, coverage, ink))
    return frames


def _pose(motion: str, time: float, side: int) -> tuple[float, float, NDArray[np.float64]]:
    """Size, angle and centre at a time in -1..1, about; image rows count downwards."""
    size, angle, centre = SIZE * side, 0.0, np.full(2, side / 2)
    if motion in ("left", "right"):
        centre = centre + [WAY * side * (time if motion == "right" else -time), 0]
    elif motion in ("up", "down"):
        centre = centre + [0, WAY * side * (time if motion == "down" else -time)]
    elif motion in ("grow", "shrink"):
        size *= SWELL ** (time if motion == "grow" else -time)
    else:
        angle = np.deg2rad(TURN_DEG) * (time if motion == "turn right" else -time)
    return size, angle, centre


def _write(path: Path, frames: list[Image]) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), FPS, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    if not path.is_file() or not path.stat().st_size:  # OpenCV's writer says nothing
        raise EdgeKitError(f"video {str(path)!r} could not be written; is the disk full?")
