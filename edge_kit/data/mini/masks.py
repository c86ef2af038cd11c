"""Mini data in Cityscapes' format: digits on photographs, each pixel labelled.

Classes are the ink and the two photographs behind it; their names lie beside the pictures, as Cityscapes' own would not
fit. Which digit it is makes no difference: to tell ten of them apart pixel by pixel takes a deep network longer than
minutes. Where ink covers a part of a pixel only, it counts for nothing, as edges do in many sets.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.core.scenes import IGNORED
from edge_kit.core.tensors import Array
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import APART, EVALUATION, MATERIAL, PHOTOGRAPHS, TRAINING, Difficulty, compose_with_ink
from edge_kit.data.mini.digits import load_digits

REPORT_EVERY = 32
CITY = "mini"
NAMES = ("ink", "temple", "flower")  # of the classes, the photographs in their order
INKED, BARE = 0.5, 0.1  # coverage from which a pixel is the digit's, and up to which it is the photograph's


CARD = Card(
    "Digits on photographs in Cityscapes' format",
    f"No sample of Cityscapes, but {MATERIAL}.",
    (
        f"Every pixel of a digit has class 0, what lies behind it 1 or 2 by its photograph, and edges have {IGNORED}.",
        APART,
        "mIoU on it says that a model learned to tell three things apart, and nothing of Cityscapes.",
    ),
    "mIoU 20 %, from any class at every pixel",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; pictures are `side` high and twice as wide.

    `progress` is told samples done and samples in all.
    """
    total, done = settings.train + settings.evaluation, 0
    for split, count in (("train", settings.train), ("val", settings.evaluation)):
        lines = []
        for i in range(count):
            lines.append(_write_sample(folder, split, i, settings))
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)
        (folder / f"{split}.list").write_text("".join(lines))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in NAMES))


def _write_sample(folder: Path, split: str, index: int, settings: MiniSettings) -> str:
    rng = np.random.default_rng([settings.seed, split == "val", index])
    picture, labels = _scene(split, index, settings.side, rng)
    names = []
    for kind, end, image in (("leftImg8bit", "leftImg8bit", picture), ("gtFine", "gtFine_labelTrainIds", labels)):
        name = f"{kind}/{split}/{CITY}/{CITY}_{index:06d}_000000_{end}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        # Not cv2.imwrite: on a full disk it returns False and says nothing.
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        names.append(name)
    return " ".join(names) + "\n"


def _scene(split: str, index: int, side: int, rng: np.random.Generator) -> tuple[Image, Array]:
    """A picture (side, 2 * side, 3) of two halves, each a digit on a crop of a photograph, and its labels."""
    digits = load_digits(split)
    level: Difficulty = EVALUATION if split == "val" else TRAINING
    halves = []
    for half in range(2):
        # Val shows every held-out digit in turn; train draws, so that a longer set is the shorter one and more.
        held_out = (2 * index + half) % len(digits.labels)
        chosen = held_out if split == "val" else int(rng.integers(len(digits.labels)))
        behind = int(rng.integers(len(PHOTOGRAPHS)))
        picture, ink = compose_with_ink(digits, chosen, split, side, level, rng, behind)
        labels = np.full(ink.shape, IGNORED, np.uint8)
        labels[ink >= INKED], labels[ink <= BARE] = 0, 1 + behind
        halves.append((picture, labels))
    pictures, maps = zip(*halves, strict=True)
    return np.concatenate(pictures, axis=1), np.concatenate(maps, axis=1)
