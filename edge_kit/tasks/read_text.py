"""Reading a line of text: connectionist temporal classification, read greedily."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from edge_kit.core.lines import IMAGE
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.edits import edit_distance
from edge_kit.tasks.task import TASKS

BATCH = 50
Reading = tuple[int, ...] | None
"""Ids from left to right; None where the network gave no finite numbers."""


class ReadText:
    """Graph `main`: `image` (N, 1, H, W) float32 -> `logits` (N, T, ids + 1); the last class is no character."""

    name = "read_text"

    def loss(self, net: Any, batch: Any) -> Any:
        """Summed over the batch, each sequence's gradient divided by its steps, as published."""
        import paddle
        from paddle.nn import functional

        logits = net(batch[IMAGE]).transpose([1, 0, 2])  # (N, T, C) -> (T, N, C)
        steps, count, classes = logits.shape
        lengths = paddle.full([count], steps, "int64")
        return functional.ctc_loss(
            logits,
            batch["label"],
            lengths,
            batch["label_length"],
            blank=classes - 1,
            reduction="sum",
            norm_by_times=True,
        )

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {IMAGE: batch[IMAGE]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        """Lines that are not read without a fault, and faults a character and a line."""
        wrong = seen = edits = characters = 0
        normalised = 0.0
        for batch in dataset.eval_batches(BATCH):
            wanted = _labels(batch)
            for own, label in zip(self._read(graphs, batch), wanted, strict=True):
                distance = len(label) if own is None else edit_distance(own, label)
                wrong += own != label
                edits, characters = edits + distance, characters + len(label)
                normalised += distance / len(label)
            seen += len(wanted)
            progress(seen, dataset.eval_size())
        found = {
            "sequence error rate": wrong / seen,
            "character error rate": edits / characters,
            "edit distance": normalised / seen,  # of a line over its length, the mean over lines
        }
        on = f"{dataset.name} test"
        return tuple(Metric(name, 100 * value, "%", on, seen, lower_is_better=True) for name, value in found.items())

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = seen = 0
        for batch in dataset.eval_batches(BATCH):
            pairs = list(zip(self._read(reference, batch), self._read(candidate, batch), strict=True))
            same += sum(one is not None and one == other for one, other in pairs)
            seen += len(pairs)
            if seen >= samples:
                break
        return Metric("same reading", 100 * same / seen, "%", f"{dataset.name} test", seen)

    def _read(self, graphs: Graphs, batch: Tensors) -> list[Reading]:
        return read_greedily(graphs[MAIN](self.feeds(graphs, batch)[MAIN])["logits"])


def read_greedily(logits: Array) -> list[Reading]:
    """The likeliest class of each step, repeats merged and blanks dropped.

    Args:
        logits: (N, T, C); class C - 1 is the blank.

    Source: Graves et al. 2006, Connectionist temporal classification, section 3.2 (best path decoding).
    """
    blank = logits.shape[2] - 1
    return [
        tuple(_collapsed(row, blank)) if ok else None for row, ok in zip(logits.argmax(2), _finite(logits), strict=True)
    ]


def _finite(logits: Array) -> Array:
    finite: Array = np.isfinite(logits).all(axis=(1, 2))
    return finite


def _collapsed(path: Sequence[int] | Array, blank: int) -> Iterator[int]:
    for before, now in pairwise([blank, *(int(step) for step in path)]):
        if now not in (before, blank):
            yield now


def _labels(batch: Tensors) -> list[tuple[int, ...]]:
    rows = zip(batch["label"], batch["label_length"], strict=True)
    return [tuple(int(one) for one in row[:length]) for row, length in rows]


TASKS.add("read_text", ReadText())
