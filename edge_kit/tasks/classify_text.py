"""Classification of texts: softmax cross entropy, accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.core.words import IDS, LENGTHS
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.classify import BATCH, are_top, count_same
from edge_kit.tasks.show import Chart, Example, class_examples, confusion
from edge_kit.tasks.task import TASKS


class ClassifyText:
    """Graph `main`: `ids` (N, T) and `lengths` (N,) int64 -> `logits` (N, classes) float32."""

    name = "classify_text"

    def loss(self, net: Any, batch: Any) -> Any:
        from paddle.nn import functional

        label = batch["label"]  # (N,) classes, or (N, classes) shares of them
        return functional.cross_entropy(net(batch[IDS], batch[LENGTHS]), label, soft_label=label.ndim == 2)

    def answers(self, net: Any, batch: Any) -> Any:
        """(N, classes), the share of each class."""
        from paddle.nn import functional

        return functional.softmax(net(batch[IDS], batch[LENGTHS]))

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {IDS: batch[IDS], LENGTHS: batch[LENGTHS]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        hits = seen = 0
        for batch in dataset.eval_batches(BATCH):
            logits = self._logits(graphs, batch)
            hits += int(are_top(logits, batch["label"], 1).sum())
            seen += len(logits)
            progress(seen, dataset.eval_size())
        return (Metric("accuracy", 100 * hits / seen, "%", f"{dataset.name} test", seen),)

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same, seen = count_same(self, reference, candidate, dataset, samples)
        return Metric("same answer", 100 * same / seen, "%", f"{dataset.name} test", seen)

    def chart(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> Chart:
        return confusion(self._logits, graphs, dataset, progress)

    def examples(self, versions: Mapping[str, Graphs], dataset: Dataset, most: int) -> tuple[Example, ...]:
        def describe(batch: Tensors, i: int) -> tuple[Mapping[str, Image], str]:
            return {}, dataset.preprocess.text(batch[IDS][i], int(batch[LENGTHS][i]))

        return class_examples(self._logits, describe, versions, dataset, most)

    def _logits(self, graphs: Graphs, batch: Tensors) -> Array:
        return graphs[MAIN](self.feeds(graphs, batch)[MAIN])["logits"]


TASKS.add("classify_text", ClassifyText())
