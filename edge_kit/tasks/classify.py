"""Image classification: softmax cross entropy, top-1 and top-5."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import TASKS

BATCH = 50
AUXILIARY_WEIGHT = 0.3  # of heads that a network has while it is trained only: arXiv:1409.4842, section 5
DISTRIBUTION_ATOL = 1e-3  # a float32 softmax over 1,000 classes sums to 1 within 1e-6, one through INT8 within 1e-3


class Classify:
    """Graph `main`: `image` (N, 3, H, W) float32 -> `logits` (N, classes).

    In training mode a network may give further logits, of auxiliary heads, behind the main ones.
    """

    name = "classify"

    def loss(self, net: Any, batch: Any) -> Any:
        from paddle.nn import functional

        label = batch["label"]  # (N,) classes, or (N, classes) shares of them
        logits = net(batch["image"])
        main, *auxiliary = logits if isinstance(logits, list | tuple) else [logits]
        loss = functional.cross_entropy(main, label, soft_label=label.ndim == 2)
        for side in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * functional.cross_entropy(side, label, soft_label=label.ndim == 2)
        return loss

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {"image": batch["image"]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        hits = np.zeros(2, np.int64)
        seen = 0
        for batch in dataset.eval_batches(BATCH):
            logits = graphs[MAIN](self.feeds(graphs, batch)[MAIN])["logits"]
            hits += [count_top(logits, batch["label"], 1), count_top(logits, batch["label"], 5)]
            seen += len(logits)
            progress(seen, dataset.eval_size())
        on = f"{dataset.name} val"
        return tuple(
            Metric(name, 100 * int(hit) / seen, "%", on, seen) for name, hit in zip(("top1", "top5"), hits, strict=True)
        )

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = seen = 0
        for batch in dataset.eval_batches(BATCH):
            inputs = self.feeds(reference, batch)[MAIN]
            first, second = (graphs[MAIN](inputs)["logits"].argmax(axis=1) for graphs in (reference, candidate))
            same += int((first == second).sum())
            seen += len(first)
            if seen >= samples:
                break
        return Metric("same top1", 100 * same / seen, "%", f"{dataset.name} val", seen)


def count_top(logits: Array, labels: Array, k: int) -> int:
    """How many rows have their label among the `k` largest logits; a tie goes against the label.

    Args:
        logits: (N, classes). A row with a NaN is a miss.
        labels: (N,) integers.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    others_at_least = (logits >= own).sum(axis=1) - 1
    hit = (others_at_least < k) & np.isfinite(logits).all(axis=1)
    return int(hit.sum())


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


TASKS.add("classify", Classify())
