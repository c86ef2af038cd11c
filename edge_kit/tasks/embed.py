"""Embeddings that lie near to each other where they are of the same thing: Recall@1 by the nearest neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import TASKS

BATCH = 50
EMBEDDING = "embedding"
ROWS = 1000  # that are compared with all others at once: 60,502 distances each, 250 MB

Embeddings = NDArray[np.float32]
"""(N, width), each of length 1."""


class Embed:
    """Graph `main`: `image` (N, 3, H, W) float32 -> `embedding` (N, width), of any length.

    A network given labels too gives the loss itself: published ones differ, and some have weights that no graph needs.
    """

    name = "embed"

    def loss(self, net: Any, batch: Any) -> Any:
        return net(batch["image"], batch["label"])

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {"image": batch["image"]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        [found], labels = self._embed([graphs], dataset, dataset.eval_size(), progress)
        hits = int((labels[nearest(found)] == labels).sum())
        return (Metric("Recall@1", 100 * hits / len(labels), "%", f"{dataset.name} test", len(labels)),)

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        (first, second), labels = self._embed([reference, candidate], dataset, samples)
        same = 100 * float((nearest(first) == nearest(second)).mean())
        return Metric("same nearest", same, "%", f"{dataset.name} test", len(labels))

    def likeness(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> tuple[Metric, ...]:
        (first, second), labels = self._embed([reference, candidate], dataset, samples)
        cosine = float((first * second).sum(axis=1).mean())
        return (Metric("mean cosine", cosine, "", f"{dataset.name} test", len(labels)),)

    def _embed(
        self, versions: list[Graphs], dataset: Dataset, samples: int, progress: Progress | None = None
    ) -> tuple[list[Embeddings], Array]:
        """Embeddings of at least so many evaluation samples by each version, and their labels (N,)."""
        found: list[list[Embeddings]] = [[] for _ in versions]
        labels: list[Array] = []
        seen = 0
        for batch in dataset.eval_batches(BATCH):
            for graphs, rows in zip(versions, found, strict=True):
                rows.append(normalised(graphs[MAIN](self.feeds(graphs, batch)[MAIN])[EMBEDDING]))
            labels.append(batch["label"])
            seen += len(batch["label"])
            if progress:
                progress(seen, dataset.eval_size())
            if seen >= samples:
                break
        return [np.concatenate(rows) for rows in found], np.concatenate(labels)


def normalised(embedding: Array) -> Embeddings:
    """Rows of length 1; one that is 0 or not finite stays away from all others, as zeros.

    Args:
        embedding: (N, width).

    Raises:
        BadData: It has other axes.
    """
    if embedding.ndim != 2:
        raise BadData(f"an embedding must be (N, width), got {embedding.shape}")
    rows = np.where(np.isfinite(embedding).all(axis=1, keepdims=True), embedding, 0).astype(np.float32)
    length = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    unit: Embeddings = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def nearest(embeddings: Embeddings) -> NDArray[np.int64]:
    """The place of each row's nearest other one, (N,); the first of equally near ones.

    Distances are squared Euclidean ones, of which cosines are the mirror image where rows have length 1.
    """
    found = np.empty(len(embeddings), np.int64)
    for start in range(0, len(embeddings), ROWS):
        part = embeddings[start : start + ROWS]
        cosines = part @ embeddings.T
        cosines[np.arange(len(part)), np.arange(start, start + len(part))] = -np.inf
        found[start : start + len(part)] = cosines.argmax(axis=1)
    return found


TASKS.add("embed", Embed())
