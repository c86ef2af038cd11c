"""Object detection: what all detectors share, whatever head they have and whatever metric they are held to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.boxes import Detections, overlaps
from edge_kit.core.errors import BadData
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.score import ClassScore, Score

BATCH = 8  # pictures of 608 pixels and what is computed of them
SURE = 0.3  # score from which on a detection counts for agreement
SAME_PLACE = 0.5  # overlap of what two models mean alike


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in one picture.

    Attributes:
        boxes: (K, 4) float32 in shares of the sides.
        labels: (K,) int64.
        ignored: (K,) bool: neither found nor missed.
        size: (height, width) of the picture, in pixels.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Precision:
    """What a metric says.

    Attributes:
        values: By name, in percent, the headline first.
        classes: Of the headline, in percent, by class; None where no object is of the class.
    """

    values: Mapping[str, float]
    classes: Sequence[float | None]


class Measure(Protocol):
    """A published metric of detection."""

    def __call__(self, found: Sequence[Detections], truths: Sequence[Truth], classes: int) -> Precision:
        """Hold what was found in each picture to what is there."""
        ...


class Detector(ABC):
    """Graph `main`: `image` (N, 3, S, S) float32 or (N, S, S, 3) uint8 -> what the head gives.

    Agreement is the share of sure detections that the other version finds again, in both directions: of the same class
    and at the same place, half as sure at least. Sure is a score of `SURE`, or half the highest score of full precision
    where that never is so sure.
    """

    def __init__(self, name: str, measure: Measure, split: str) -> None:
        """Name the task, its metric and the split that it is of."""
        self.name, self._measure, self._split = name, measure, split

    @abstractmethod
    def loss(self, net: Any, batch: Any) -> Any:
        """See `Task`."""

    @abstractmethod
    def detect(self, outputs: Tensors, side: int) -> list[Detections]:
        """What the outputs say of each picture of a batch.

        Args:
            side: Of the network's input, in pixels.

        Raises:
            BadData: The outputs are not of such a head.
        """

    @abstractmethod
    def classes(self, outputs: Tensors) -> int:
        """How many classes the outputs tell apart, background not counted."""

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        """See `Task`."""
        return {MAIN: {"image": batch["image"]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        """See `Task`."""
        return self.score(graphs, dataset, progress).metrics

    def score(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> Score:
        """See `Detailed`; there are no intervals, as objects of a picture are not independent."""
        found: list[Detections] = []
        truths: list[Truth] = []
        for batch in dataset.eval_batches(BATCH):
            outputs, some = self._found(graphs, batch)
            self._check_classes(outputs, dataset)
            found += some
            truths += list(truths_of(batch))
            progress(len(truths), dataset.eval_size())
        precision = self._measure(found, truths, len(dataset.labels))
        name = f"{dataset.name} {self._split}"
        metrics = tuple(Metric(key, value, "%", name, len(truths)) for key, value in precision.values.items())
        objects = np.bincount(
            np.concatenate([one.labels[~one.ignored] for one in truths]), minlength=len(dataset.labels)
        )
        headline = metrics[0].name
        classes = tuple(
            ClassScore(label, int(count), {} if value is None else {headline: value})
            for label, count, value in zip(dataset.labels, objects, precision.classes, strict=True)
        )
        return Score(metrics, {}, classes)

    def _found(self, graphs: Graphs, batch: Tensors) -> tuple[Tensors, list[Detections]]:
        image = batch["image"]
        outputs = graphs[MAIN]({"image": image})
        return outputs, self.detect(outputs, image.shape[2])

    def _check_classes(self, outputs: Tensors, dataset: Dataset) -> None:
        if self.classes(outputs) != len(dataset.labels):
            raise BadData(
                f"the graph tells {self.classes(outputs)} classes apart and {dataset.name} has {len(dataset.labels)}; "
                "pass --data with the set that it was trained for"
            )

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        """See `Task`; of whatever classes they find, as nothing is held to labels."""
        pairs: list[tuple[Detections, Detections]] = []
        for batch in dataset.eval_batches(BATCH):
            pairs += zip(*(self._found(graphs, batch)[1] for graphs in (reference, candidate)), strict=True)
            if len(pairs) >= samples:
                break
        highest = max((float(first.scores[0]) for first, _ in pairs if len(first.scores)), default=0.0)
        sure = SURE if highest >= SURE else highest / 2
        again = sum(found_again(one, other, sure) + found_again(other, one, sure) for one, other in pairs)
        total = sum(len(one.at_least(sure).scores) for pair in pairs for one in pair)
        share = 100 * again / total if total else 0.0
        return Metric("same detections", share, "%", f"{dataset.name} {self._split}", len(pairs))


def found_again(first: Detections, second: Detections, sure: float) -> int:
    """How many sure detections of the first have a partner among those of the second that are half as sure.

    Each partner serves one, the surest first.
    """
    wanted, given = first.at_least(sure), second.at_least(sure / 2)
    fits = overlaps(wanted.boxes, given.boxes) >= SAME_PLACE
    fits &= wanted.labels[:, None] == given.labels[None]
    free = np.ones(len(given.scores), np.bool_)
    again = 0
    for row in fits:
        partners = np.flatnonzero(row & free)
        if len(partners):
            free[partners[0]] = False
            again += 1
    return again


def truths_of(batch: Tensors) -> Iterator[Truth]:
    """What is in each picture of an evaluation batch; see `edge_kit.data.objects.batch_of`."""
    for boxes, label, ignored, weight, size in zip(
        *(batch[name] for name in ("boxes", "label", "ignored", "weight", "size")), strict=True
    ):
        there = weight > 0
        yield Truth(boxes[there], label[there], ignored[there], (int(size[0]), int(size[1])))


def check_outputs(outputs: Tensors, names: Sequence[str]) -> None:
    """Refuse outputs that a head's decoding would misread.

    Raises:
        BadData: One is missing or not finite.
    """
    for name in names:
        if name not in outputs:
            raise BadData(f"the graph gives {', '.join(outputs)}; a detector of this kind gives {', '.join(names)}")
        if not np.isfinite(outputs[name]).all():
            raise BadData(f"output {name!r} is not finite: {np.count_nonzero(~np.isfinite(outputs[name]))} numbers")
