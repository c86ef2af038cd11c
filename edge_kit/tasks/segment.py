"""Segmentation of scenes: softmax cross entropy a pixel, mean intersection over union."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.scenes import IGNORED, IMAGE, grow
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.score import ClassScore, Score
from edge_kit.tasks.task import TASKS

BATCH = 20
CASCADE = (1.0, 0.4, 0.16)  # of what a network gives in training, the main logits first: arXiv:1704.08545, section 4.4


class Segment:
    """Graph `main`: `image` (N, 3, H, W) float32 -> `logits` (N, classes, h, w), h and w at most H and W.

    The corners of both grids lie on each other. A network in training may give coarser logits behind the main ones.
    """

    name = "segment"

    def loss(self, net: Any, batch: Any) -> Any:
        given = net(batch[IMAGE])
        logits = given if isinstance(given, list | tuple) else [given]
        return sum(weight * _cross_entropy(one, batch["label"]) for weight, one in zip(CASCADE, logits, strict=False))

    def answers(self, net: Any, batch: Any) -> Any:
        """(N, classes, h, w), the share of each class."""
        from paddle.nn import functional

        return functional.softmax(net(batch[IMAGE]), axis=1)

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {IMAGE: batch[IMAGE]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        return self.score(graphs, dataset, progress).metrics

    def score(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> Score:
        classes, seen = len(dataset.labels), 0
        confusion = np.zeros((classes, classes), np.int64)
        for batch in dataset.eval_batches(BATCH):
            found, labels = classes_of(graphs, self.feeds(graphs, batch)[MAIN]), batch["label"]
            if int(found.max()) >= classes:
                raise BadData(
                    f"the graph finds class {found.max()} and {dataset.name} has {classes}; "
                    "pass --data with the set that it was trained for"
                )
            confusion += count_pairs(labels, found, classes)
            seen += len(labels)
            progress(seen, dataset.eval_size())
        shares = intersections_over_unions(confusion)
        metric = Metric("mIoU", 100 * float(np.nanmean(shares)), "%", f"{dataset.name} val", seen)
        scores = tuple(
            ClassScore(label, int(pixels), {} if np.isnan(share) else {"mIoU": 100 * float(share)})
            for label, pixels, share in zip(dataset.labels, confusion.sum(axis=1), shares, strict=True)
        )
        return Score((metric,), {}, scores)

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = pixels = seen = 0
        for batch in dataset.eval_batches(BATCH):
            inputs = self.feeds(reference, batch)[MAIN]
            first, second = (classes_of(graphs, inputs) for graphs in (reference, candidate))
            same, pixels, seen = same + int((first == second).sum()), pixels + first.size, seen + len(first)
            if seen >= samples:
                break
        return Metric("same pixels", 100 * same / pixels, "%", f"{dataset.name} val", seen)


def classes_of(graphs: Graphs, inputs: Tensors) -> Array:
    """The likeliest class of every pixel of the input, (N, H, W)."""
    logits = graphs[MAIN](inputs)["logits"]
    # One by one: 19 maps of a published picture take 160 MB.
    return np.stack([grow(one, *inputs[IMAGE].shape[2:]).argmax(axis=0) for one in logits])


def count_pairs(labels: Array, found: Array, classes: int) -> Array:
    """How many pixels of each class, a row, were found to be of each, a column; `IGNORED` ones are left out.

    Args:
        labels: Integers of any shape, below `classes` or `IGNORED`.
        found: Of the same shape, below `classes`.
    """
    counted = labels != IGNORED
    pairs = labels[counted].astype(np.int64) * classes + found[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def intersections_over_unions(confusion: Array) -> Array:
    """Of each class, (classes,) in 0..1; NaN where neither labels nor answers have it."""
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    shares: Array = np.where(either > 0, both / np.maximum(either, 1), np.nan)
    return shares


def _cross_entropy(logits: Any, label: Any) -> Any:
    """The mean over points.

    Args:
        logits: (N, classes, h, w).
        label: (N, H, W) classes, of which the points of the coarser grid count, or (N, classes, H, W) shares of them.
    """
    from paddle.nn import functional

    if label.ndim == 3:
        thinned = _thinned(label, logits.shape[2:])
        return functional.cross_entropy(logits, thinned, ignore_index=IGNORED, axis=1)
    shares = functional.interpolate(label, logits.shape[2:], mode="bilinear", align_corners=True)
    return functional.cross_entropy(logits, shares, soft_label=True, axis=1)


def _thinned(labels: Any, size: Any) -> Any:
    """(N, H, W) -> (N, h, w) int64, the label nearest to each point of a grid whose corners lie on the corners."""
    import paddle

    labels = labels.astype("int32")  # Paddle picks no bytes
    for axis, wanted in enumerate(size, 1):
        places = np.linspace(0, labels.shape[axis] - 1, wanted)
        labels = paddle.index_select(labels, paddle.to_tensor(np.floor(places + 0.5).astype(np.int64)), axis)
    return labels.astype("int64")


TASKS.add("segment", Segment())
