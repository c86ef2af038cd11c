"""Mini data of two looks: crops of scikit-learn's photographs, a temple in China as A, a flower as B.

Both are real and of one picture each. Crops for training come from the left of a photograph, those for testing from
the right, so that no pixel is in both.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import photographs

JPEG_QUALITY = 95
SMALLEST = 96  # pixels of a photograph that a crop shows at least


CARD = Card(
    "Crops of two photographs in CycleGAN's layout",
    "No published pair of looks, but crops of the two photographs in scikit-learn, a temple (A) and a flower (B).",
    (
        "Crops to train on come from the left of a photograph, those to score from the right.",
        "No picture has a partner: a score on it tells INT8 from full precision, and nothing of beauty.",
    ),
    "there is no metric to have one",
    "pictures of each look",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`, as many pictures for each look as `settings` says."""
    total, done = 2 * (settings.train + settings.evaluation), 0
    for split, part, count in (("train", "train", settings.train), ("test", "val", settings.evaluation)):
        for place, look in enumerate("AB"):
            name = f"{split}{look}"
            (folder / name).mkdir(parents=True, exist_ok=True)
            lines = []
            for i in range(count):
                rng = np.random.default_rng([settings.seed, split == "test", place, i])
                picture = _crop(photographs(part)[place], settings.side, rng)
                encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
                (folder / name / f"{i:06d}.jpg").write_bytes(encoded.tobytes())
                lines.append(f"{name}/{i:06d}.jpg\n")
                done += 1
            (folder / f"{name}.txt").write_text("".join(lines))
            progress(done, total)


def _crop(photograph: Image, side: int, rng: np.random.Generator) -> Image:
    height, width = photograph.shape[:2]
    window = int(rng.integers(SMALLEST, min(height, width) + 1))
    top, left = int(rng.integers(height - window + 1)), int(rng.integers(width - window + 1))
    cut = photograph[top : top + window, left : left + window]
    way = cv2.INTER_AREA if window > side else cv2.INTER_CUBIC
    resized: Image = cv2.resize(cut, (side, side), interpolation=way)
    return resized
