"""Mini data in ImageNet's list format: digits on photographs, ten classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import APART, EVALUATION, MATERIAL, TRAINING, compose
from edge_kit.data.mini.digits import load_digits

REPORT_EVERY = 128
JPEG_QUALITY = 95


CARD = Card(
    "Digits on photographs in ImageNet's list format",
    f"No sample of ImageNet, but {MATERIAL}.",
    (
        "A class a digit, ten in all.",
        APART,
        "Accuracy on it says that a model learned to read a digit wherever it stands, and nothing of ImageNet.",
    ),
    "top-1 10 %, as ten classes are equally frequent",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all."""
    total = settings.train + settings.evaluation
    done = 0
    for split, count in (("train", settings.train), ("val", settings.evaluation)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        lines = []
        for i in range(count):
            lines.append(_write_sample(folder, split, i, settings))
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)
        (folder / f"{split}_list.txt").write_text("".join(lines))
    (folder / "readable_label.txt").write_text("".join(f"{digit} digit {digit}\n" for digit in range(10)))


def _write_sample(folder: Path, split: str, index: int, settings: MiniSettings) -> str:
    digits = load_digits(split)
    rng = np.random.default_rng([settings.seed, split == "val", index])
    # Val shows every held-out digit in turn; train draws, so that a longer set is the shorter one and more.
    chosen = index % len(digits.labels) if split == "val" else int(rng.integers(len(digits.labels)))
    level = EVALUATION if split == "val" else TRAINING
    picture = compose(digits, chosen, split, settings.side, level, rng)
    name = f"{split}/{index:06d}.jpeg"
    write_jpeg(folder / name, picture)
    return f"{name} {digits.labels[chosen]}\n"


def write_jpeg(path: Path, picture: Image) -> None:
    """Write a picture, (H, W, 3) uint8 BGR."""
    # Not cv2.imwrite: on a full disk it returns False and says nothing.
    encoded = cv2.imencode(".jpeg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    path.write_bytes(encoded.tobytes())
