"""Mini data in the format of Stanford Online Products: a product is one handwritten digit, photographed some times.

Products to train on are the training digits of scikit-learn's, those to score are held-out ones: what is to be told
apart are two handwritings, often of the same digit, whatever the place, the size, the colour and the photograph behind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_kit.core.progress import Progress
from edge_kit.data.card import Card, with_card
from edge_kit.data.dataset import MiniSettings
from edge_kit.data.mini.compose import APART, EVALUATION, MATERIAL, compose
from edge_kit.data.mini.digits import load_digits
from edge_kit.data.mini.imagenet import REPORT_EVERY, write_jpeg

VIEWS = {"train": 20, "val": 5}  # pictures of a product; 59,551 of 11,318 products in the published training list
LISTS = {"train": "Ebay_train.txt", "val": "Ebay_test.txt"}


CARD = Card(
    "Digits as products in the format of Stanford Online Products",
    f"No sample of Stanford Online Products, but {MATERIAL}.",
    (
        f"A product is a digit somebody wrote, in {VIEWS['train']} pictures to train on or {VIEWS['val']} to score.",
        APART,
        "Recall on it says that a model learned to tell handwritings apart, and nothing of products.",
    ),
    f"Recall@1 1.6 % of 250 pictures, as {VIEWS['val'] - 1} of the others show the same product",
)


@with_card(CARD)
def make_mini(folder: Path, settings: MiniSettings, progress: Progress) -> None:
    """Write the set into `folder`; `progress` is told samples done and samples in all."""
    folder.mkdir(parents=True, exist_ok=True)
    total = settings.train + settings.evaluation
    done = known = 0
    for split, count in (("train", settings.train), ("val", settings.evaluation)):
        lines, digits = ["image_id class_id super_class_id path\n"], load_digits(split)
        for i in range(count):
            product = i // VIEWS[split] % len(digits.labels)  # a longer set is the shorter one and more
            rng = np.random.default_rng([settings.seed, split == "val", i])
            name = f"digit_{digits.labels[product]}_final/{digits.indices[product]:04d}_{i:06d}.JPG"
            (folder / name).parent.mkdir(exist_ok=True)
            write_jpeg(folder / name, compose(digits, product, split, settings.side, EVALUATION, rng))
            done += 1
            lines.append(f"{done} {known + product + 1} {digits.labels[product] + 1} {name}\n")
            if done % REPORT_EVERY == 0 or done == total:
                progress(done, total)
        (folder / LISTS[split]).write_text("".join(lines))
        known += len(digits.labels)
