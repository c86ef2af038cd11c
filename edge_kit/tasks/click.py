"""Whether a user takes an item: logistic loss, and AUC of all answers together."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_kit.core.behaviour import INPUTS
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import TASKS

BATCH = 100


class Click:
    """Graph `main`: history, target and categories as `BehaviourPreprocess` gives them -> `click` (N, 1), a logit."""

    name = "click"

    def loss(self, net: Any, batch: Any) -> Any:
        from paddle.nn import functional

        logits = net(*(batch[name] for name in INPUTS))[:, 0]
        return functional.binary_cross_entropy_with_logits(logits, batch["label"].astype("float32"))

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {name: batch[name] for name in INPUTS}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        logits: list[Array] = []
        labels: list[Array] = []
        for batch in dataset.eval_batches(BATCH):
            logits.append(self._logits(graphs, batch))
            labels.append(batch["label"])
            progress(sum(map(len, labels)), dataset.eval_size())
        scores, right = np.concatenate(logits), np.concatenate(labels)
        told = (f"{dataset.name} test", len(right))
        loss = float(np.logaddexp(0, np.where(right == 1, -scores, scores)).mean())
        return Metric("AUC", 100 * auc(scores, right), "%", *told), Metric("log loss", loss, "nats", *told)

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = seen = 0
        for batch in dataset.eval_batches(BATCH):
            first, second = (self._logits(graphs, batch) > 0 for graphs in (reference, candidate))
            same += int((first == second).sum())
            seen += len(first)
            if seen >= samples:
                break
        return Metric("same answer", 100 * same / seen, "%", f"{dataset.name} test", seen)

    def _logits(self, graphs: Graphs, batch: Tensors) -> Array:
        logits: Array = graphs[MAIN](self.feeds(graphs, batch)[MAIN])["click"][:, 0].astype(np.float64)
        return logits


def auc(scores: Array, labels: Array) -> float:
    """How often one of class 1 scores above one of class 0, a tie counting half; 0.5 where a class is missing.

    Args:
        scores: (N,) float; one that is not a number counts as the lowest.
        labels: (N,) of 0 and 1.

    Source: Mann and Whitney 1947, the U statistic over the product of both counts.
    """
    values, places, counts = np.unique(np.nan_to_num(scores, nan=-np.inf), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    ones = int((labels == 1).sum())
    zeros = len(labels) - ones
    if not ones or not zeros:
        return 0.5
    return float((ranks[labels == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


TASKS.add("click", Click())
