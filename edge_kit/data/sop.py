"""Stanford Online Products as published.

    DIR/Ebay_train.txt   header "image_id class_id super_class_id path", then a picture a line, divided by spaces
    DIR/Ebay_test.txt    likewise, of other classes
    DIR/bicycle_final/x.JPG   the pictures, at the paths that the lists give

Recall is of all of Ebay_test.txt; no picture of it shows a product of Ebay_train.txt.

Source: PaddlePaddle/models release/1.6, PaddleCV/metric_learning (data section).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.images import CropPreprocess, Image
from edge_kit.data.augment import RandomAreaCrop
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.imagenet import LabelledPictures, Sample
from edge_kit.data.mini.products import make_mini

TRAIN, TEST = "Ebay_train.txt", "Ebay_test.txt"
HEADER = "image_id class_id super_class_id path"
SHOWN = 80  # characters of a faulty line
GROUPS = 1  # what the drawing of groups is seeded with besides seed and epoch


@dataclass(frozen=True, slots=True)
class GroupedCrop:
    """Random crops, and batches made of groups of one class instead of a shuffled list.

    Attributes:
        crop: Of each picture.
        groups: Samples of one class that follow each other, and how often, over and over: (2,) for pairs, (2, 1) for
            triplets of anchor, positive and negative. Each group of a batch is of another class.
    """

    crop: RandomAreaCrop
    groups: tuple[int, ...]

    def __call__(self, image: Image, side: int, rng: np.random.Generator) -> Image:
        """As `RandomAreaCrop` does."""
        return self.crop(image, side, rng)


class ProductFolder(LabelledPictures):
    """A data set in the format of Stanford Online Products; see `Dataset` for the methods.

    The products to tell apart are not those trained on, so there are no labels to name.
    """

    labels: tuple[str, ...] = ()

    def __init__(self, root: Path, preprocess: CropPreprocess, options: OpenOptions) -> None:
        train, test = (_read_list(root, name) for name in (TRAIN, TEST))
        shared = {sample.label for sample in train} & {sample.label for sample in test}
        if shared:
            raise BadData(
                f"class {min(shared)} stands in {TRAIN} and in {TEST} of {str(root)!r}; products to score are no "
                "products to train on: give each list classes of its own"
            )
        numbers = {label: i for i, label in enumerate(sorted({sample.label for sample in train}))}
        numbered = [replace(sample, label=numbers[sample.label]) for sample in train]
        super().__init__(root, (numbered, test), preprocess, options)
        self.sizes = {"num_classes": len(numbers)}
        self._places: dict[int, list[int]] = {}
        for place, sample in enumerate(self._train):
            self._places.setdefault(sample.label, []).append(place)

    def train_order(self, batch: int, epoch: int, seed: int, start: int) -> Iterator[list[int]]:
        if not isinstance(self.augment, GroupedCrop):
            yield from super().train_order(batch, epoch, seed, start)
            return
        groups = self.augment.groups
        if batch % sum(groups):
            raise BadData(f"a batch of {batch} is not made of groups of {', '.join(map(str, groups))} pictures")
        groups *= batch // sum(groups)
        known = {size: [c for c, own in self._places.items() if len(own) >= size] for size in set(groups)}
        if any(len(known[size]) < len(groups) for size in known):
            raise BadData(
                f"{self.name} has {len(known[max(known)])} products of {max(known)} pictures and more, and a batch of "
                f"{batch} wants {len(groups)} different ones; train with smaller batches"
            )
        for step in range(start, self.train_size() // batch):
            yield self._draw(groups, known, np.random.default_rng([seed, epoch, step, GROUPS]))

    def _draw(self, groups: tuple[int, ...], known: dict[int, list[int]], rng: np.random.Generator) -> list[int]:
        chosen: list[int] = []
        taken: set[int] = set()
        for size in groups:
            free = [label for label in known[size] if label not in taken]
            label = free[int(rng.integers(len(free)))]
            taken.add(label)
            chosen += [int(i) for i in rng.choice(self._places[label], size, replace=False)]
        return chosen


def _read_list(root: Path, name: str) -> list[Sample]:
    path = root / name
    if not path.is_file():
        raise BadData(
            f"data folder {str(root)!r} has no {name}; the format of Stanford Online Products is {TRAIN} and {TEST}, "
            f"'{HEADER}' first and a picture a line"
        )
    samples = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not line.strip() or (number == 1 and line.startswith(HEADER.split()[0])):
            continue
        fields = line.strip().split(" ", 3)
        if len(fields) != 4 or not (fields[1].isascii() and fields[1].isdigit()):
            raise BadData(f"{str(path)!r} line {number} is not '{HEADER}': {line[:SHOWN]!r}")
        if Path(fields[3]).is_absolute() or ".." in Path(fields[3]).parts:
            raise BadData(f"{str(path)!r} line {number} leaves the data folder: {fields[3][:SHOWN]!r}")
        samples.append(Sample(root / fields[3], int(fields[1])))
    if not samples:
        raise BadData(f"{str(path)!r} lists no picture; write '{HEADER}' into it, one a line")
    return samples


FORMATS.add("sop", DataFormat("sop", ProductFolder, make_mini))
