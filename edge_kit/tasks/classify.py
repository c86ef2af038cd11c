"""Classification of pictures and of clips: softmax cross entropy, top-1 and top-5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.score import ClassScore, Score, wilson
from edge_kit.tasks.show import Chart, Example, class_examples, confusion
from edge_kit.tasks.task import TASKS, Task

BATCH = 50
RANKS = {"top1": 1, "top5": 5}
AUXILIARY_WEIGHT = 0.3  # of heads that a network has while it is trained only: arXiv:1409.4842, section 5
DISTRIBUTION_ATOL = 1e-3  # a float32 softmax over 1,000 classes sums to 1 within 1e-6, one through INT8 within 1e-3


class Classify:
    """Graph `main`: one input, `image` (N, 3, H, W) or `clip` (N, T, 3, H, W) float32 -> `logits` (N, classes).

    In training mode a network may give further logits, of auxiliary heads, behind the main ones.
    """

    def __init__(self, name: str = "classify", sample: str = "image") -> None:
        self.name, self.sample = name, sample

    def loss(self, net: Any, batch: Any) -> Any:
        from paddle.nn import functional

        label = batch["label"]  # (N,) classes, or (N, classes) shares of them
        logits = net(batch[self.sample])
        main, *auxiliary = logits if isinstance(logits, list | tuple) else [logits]
        loss = functional.cross_entropy(main, label, soft_label=label.ndim == 2)
        for side in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * functional.cross_entropy(side, label, soft_label=label.ndim == 2)
        return loss

    def answers(self, net: Any, batch: Any) -> Any:
        """(N, classes), the share of each class."""
        from paddle.nn import functional

        return functional.softmax(net(batch[self.sample]))

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {self.sample: batch[self.sample]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        return _metrics(*self._tally(graphs, dataset, progress), dataset)

    def score(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> Score:
        hits, seen = self._tally(graphs, dataset, progress)
        if len(seen) != len(dataset.labels):
            raise BadData(
                f"the graph tells {len(seen)} classes apart and {dataset.name} has {len(dataset.labels)}; "
                "pass --data with the set that it was trained for"
            )
        classes = tuple(
            ClassScore(label, int(n), _percent(own, n))
            for label, own, n in zip(dataset.labels, hits.T, seen, strict=True)
        )
        total = int(seen.sum())
        sure = {name: wilson(int(own.sum()), total) for name, own in zip(RANKS, hits, strict=True)}
        return Score(_metrics(hits, seen, dataset), sure, classes)

    def _tally(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Array, Array]:
        """Hits (ranks, classes), and samples (classes,)."""
        tally = None
        for batch in dataset.eval_batches(BATCH):
            logits, labels = self._logits(graphs, batch), batch["label"]
            if int(labels.max()) >= logits.shape[1]:
                raise BadData(f"{dataset.name} has a class {labels.max()}; the graph tells {logits.shape[1]} apart")
            if tally is None:
                tally = np.zeros((1 + len(RANKS), logits.shape[1]), np.int64)
            kinds = [labels, *(labels[are_top(logits, labels, k)] for k in RANKS.values())]
            tally += np.stack([np.bincount(kind, minlength=tally.shape[1]) for kind in kinds])
            progress(int(tally[0].sum()), dataset.eval_size())
        assert tally is not None  # no data format opens an empty set
        return tally[1:], tally[0]

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same, seen = count_same(self, reference, candidate, dataset, samples)
        return Metric("same top1", 100 * same / seen, "%", f"{dataset.name} val", seen)

    def chart(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> Chart:
        return confusion(self._logits, graphs, dataset, progress)

    def examples(self, versions: Mapping[str, Graphs], dataset: Dataset, most: int) -> tuple[Example, ...]:
        def describe(batch: Tensors, i: int) -> tuple[Mapping[str, Image], str]:
            return {"": dataset.preprocess.picture(batch["image"][i])}, ""

        return class_examples(self._logits, describe, versions, dataset, most)

    def _logits(self, graphs: Graphs, batch: Tensors) -> Array:
        return graphs[MAIN](self.feeds(graphs, batch)[MAIN])["logits"]


def count_same(task: Task, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> tuple[int, int]:
    """How many samples two versions give the same class, and of how many."""
    same = seen = 0
    for batch in dataset.eval_batches(BATCH):
        inputs = task.feeds(reference, batch)[MAIN]
        first, second = (graphs[MAIN](inputs)["logits"].argmax(axis=1) for graphs in (reference, candidate))
        same += int((first == second).sum())
        seen += len(first)
        if seen >= samples:
            break
    return same, seen


def are_top(logits: Array, labels: Array, k: int) -> Array:
    """Which rows have their label among the `k` largest logits, (N,) bool; a tie goes against the label.

    Args:
        logits: (N, classes). A row with a NaN is a miss.
        labels: (N,) integers.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    others_at_least = (logits >= own).sum(axis=1) - 1
    hit: Array = (others_at_least < k) & np.isfinite(logits).all(axis=1)
    return hit


def _metrics(hits: Array, seen: Array, dataset: Dataset) -> tuple[Metric, ...]:
    total = int(seen.sum())
    values = _percent(hits.sum(axis=1), total)
    return tuple(Metric(name, value, "%", f"{dataset.name} val", total) for name, value in values.items())


def _percent(hits: Array, samples: int) -> dict[str, float]:
    return {name: 100 * int(hit) / int(samples) for name, hit in zip(RANKS, hits, strict=True)} if samples else {}


def rank(logits: Array, k: int) -> list[tuple[int, float]]:
    """The `k` likeliest classes of one picture, likeliest first, each with its share; equal ones by number.

    Args:
        logits: (classes,); a row that is a distribution already, as a user's own model may give it, is taken as it is.

    Raises:
        BadData: A logit is not finite.
    """
    row = np.asarray(logits, np.float64)
    if not np.isfinite(row).all():
        raise BadData(f"logits are not finite: {np.count_nonzero(~np.isfinite(row))} of {row.size}")
    shares = row
    if (row < 0).any() or abs(float(row.sum()) - 1) > DISTRIBUTION_ATOL:
        powers = np.exp(row - row.max())
        shares = powers / powers.sum()
    order = np.argsort(-row, kind="stable")[:k]
    return [(int(place), float(shares[place])) for place in order]


for _task in (Classify(), Classify("classify_clip", "clip")):
    TASKS.add(_task.name, _task)
