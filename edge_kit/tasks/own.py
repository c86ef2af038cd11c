"""A model of the user's own: nobody told what it is for, so full precision is the measure of INT8."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_kit.core.errors import UsageError
from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import TASKS

OWN = "own"
BATCH = 50
MOST_DB = 200.0  # what equal outputs are given; float32 itself has some 150 dB


class Own:
    """Graph `main`, fed with samples as they are; it has no metric.

    Where an output looks like the scores of classes, agreement is how often both versions prefer the same one. Else
    it is the ratio of the outputs to what quantization added to them, in decibels.
    """

    name = OWN

    def loss(self, net: Any, batch: Any) -> Any:
        raise UsageError("a model of your own cannot be trained: it comes without a loss")

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: batch}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        return ()

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = seen = answers = 0
        signal = noise = 0.0
        scores = None
        for batch in dataset.eval_batches(BATCH):
            wanted, got = reference[MAIN](batch), candidate[MAIN](batch)
            scores = next((name for name, value in wanted.items() if _are_scores(value)), None)
            if scores:
                same += int((wanted[scores].argmax(axis=1) == got[scores].argmax(axis=1)).sum())
                answers += len(wanted[scores])
            for name, value in wanted.items():
                if value.dtype.kind == "f":
                    signal += float((value.astype(np.float64) ** 2).sum())
                    noise += float(((value.astype(np.float64) - got[name]) ** 2).sum())
            seen += len(next(iter(batch.values())))
            if seen >= samples:
                break
        if scores:
            return Metric("same argmax", 100 * same / answers, "%", dataset.name, answers)
        ratio = 10 * np.log10(max(signal, 1e-300) / max(noise, 1e-20 * max(signal, 1e-300)))
        return Metric("signal to quantization noise", float(min(ratio, MOST_DB)), "dB", dataset.name, seen)


def _are_scores(value: Array) -> bool:
    """(N, classes) float, two or more."""
    return value.ndim == 2 and value.shape[1] >= 2 and value.dtype.kind == "f"


TASKS.add(OWN, Own())
