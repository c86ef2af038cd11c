"""MobileNetV2 with the packaged weights, for ARM and for x86, and pictures to try it on.

`python -m scripts.arm64_models FOLDER PICTURES`: a process of its own, as Paddle demands.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from edge_kit.core.images import ImagePreprocess
from edge_kit.data.dataset import MiniSettings, OpenOptions
from edge_kit.data.imagenet import ImageNetFolder
from edge_kit.data.mini.imagenet import make_mini

SIDE = 64
CALIBRATION = (256, 32)  # pictures in all, in a batch
PICTURES = "pictures.npz"


def make(folder: Path, count: int) -> None:
    """Write every version of the network, and evaluation pictures of the mini set with their labels."""
    from tests.pipeline import stock_chain  # imports Paddle

    with tempfile.TemporaryDirectory() as made:
        make_mini(Path(made), MiniSettings(CALIBRATION[0], count, SIDE), _silent)
        prepare = ImagePreprocess(resize_short=SIDE, crop=SIDE)
        dataset = ImageNetFolder(Path(made), prepare, OpenOptions("mini-imagenet", published=False))
        stock_chain.make(folder, [{"image": batch["image"]} for batch in dataset.calibration_batches(*CALIBRATION)])
        (batch,) = dataset.eval_batches(count)
        np.savez(folder / PICTURES, image=batch["image"], label=batch["label"])


def _silent(done: int, total: int, note: str = "") -> None:
    pass


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
