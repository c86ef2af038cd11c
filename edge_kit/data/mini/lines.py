"""Mini data in the format of `ocr_lines`: real handwritten digits set side by side on real photographs.

Digits and photographs are those of the other mini sets, split likewise: no digit and no part of a photograph is in
both splits. Labels are the ids that printable ASCII has in the published set, so '0' is 15.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import APART, EVALUATION, MATERIAL, TRAINING, compose_line
from edge_kit.data.mini.digits import load_digits

REPORT_EVERY = 128
JPEG_QUALITY = 95
FIRST_DIGIT = ord("0") - ord("!")  # id of '0' where '!' is 0
DIGITS = (2, 3)  # fewest and most in a line
HEIGHTS = (0.75, 1.125)  # of pictures, as a share of `MiniSettings.side`


CARD = Card(
    "Lines of digits on photographs in the format of CRNN's lists",
    f"No sample of the published lines, but {MATERIAL}.",
    (
        f"{DIGITS[0]} or {DIGITS[1]} digits side by side, with the ids that they have in the published set.",
        APART,
        "Sequence error on it says that a model learned to read digits in order, and nothing of other letters.",
    ),
    "sequence error above 99 %, from any digits",
    "lines",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all.

    Args:
        settings: `side` is the usual height of a line, in pixels.
    """
    total, done = settings.train + settings.evaluation, 0
    for split, count in (("train", settings.train), ("test", settings.evaluation)):
        (folder / f"{split}_images").mkdir(parents=True, exist_ok=True)
        lines = []
        for i in range(count):
            lines.append(_write_sample(folder / f"{split}_images", split, i, settings))
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)
        (folder / f"{split}.list").write_text("".join(lines))


def _write_sample(folder: Path, split: str, index: int, settings: MiniSettings) -> str:
    rng = np.random.default_rng([settings.seed, split == "test", index])
    part = "val" if split == "test" else "train"
    digits = load_digits(part)
    chosen = rng.integers(len(digits.labels), size=int(rng.integers(DIGITS[0], DIGITS[1] + 1)))
    height = round(settings.side * float(rng.uniform(*HEIGHTS)))
    level = EVALUATION if split == "test" else TRAINING
    picture = compose_line(digits, [int(i) for i in chosen], part, height, level, rng)
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    name = f"{index:06d}.jpg"
    (folder / name).write_bytes(encoded.tobytes())
    labels = ",".join(str(FIRST_DIGIT + int(digits.labels[i])) for i in chosen)
    return f"{picture.shape[1]} {picture.shape[0]} {name} {labels}\n"
