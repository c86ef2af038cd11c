"""Hearing: which state each frame of speech is of, chunk by chunk, as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from typing import Any

import numpy as np

from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.speech import CELL, FRAMES, STATE
from edge_kit.core.tensors import MAIN, Array, Graphs, Run, Tensors
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.edits import edit_distance
from edge_kit.tasks.task import TASKS

BATCH = 24
UNSEEN = -1


class Acoustic:
    """Graph `main`: a chunk of `frames` (N, T, 3, 11, 80), `state` and `cell` -> `logits` (N, T, states), both after.

    What is remembered is handed from one chunk to the next.
    """

    name = "acoustic"

    def loss(self, net: Any, batch: Any) -> Any:
        """Cross entropy, the mean over frames."""
        from paddle.nn import functional

        logits = net(batch[FRAMES].flatten(1, 2), batch[STATE], batch[CELL])[0]
        label = batch["label"].flatten(1)
        # Its own mean counts frames that it was told to ignore, where the index is negative.
        total = functional.cross_entropy(logits, label, ignore_index=UNSEEN, reduction="sum")
        return total / (label != UNSEEN).astype("float32").sum()

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        """The chunk in the middle, with what is remembered of those before it."""
        middle = batch[FRAMES].shape[1] // 2
        *_, last = (inputs for inputs, _ in islice(_listen(graphs[MAIN], batch), middle + 1))
        return {MAIN: last}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        """Frames whose state is told, and faults in the sequence of states; there is no language behind it."""
        right = frames = edits = states = seen = 0
        for batch in dataset.eval_batches(BATCH):
            for told, wanted in zip(_heard(graphs[MAIN], batch), batch["label"], strict=True):
                asked = wanted.ravel() != UNSEEN
                right += int((told[asked] == wanted.ravel()[asked]).sum())
                frames += int(asked.sum())
                spoken = merged(wanted.ravel()[asked])
                edits, states = edits + edit_distance(merged(told[asked]), spoken), states + len(spoken)
            seen += len(batch["label"])
            progress(seen, dataset.eval_size())
        on = f"{dataset.name} test"
        return (
            Metric("frame accuracy", 100 * right / frames, "%", on, frames),
            Metric("state error rate", 100 * edits / states, "%", on, seen, lower_is_better=True),
        )

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = frames = seen = 0
        for batch in dataset.eval_batches(BATCH):
            asked = batch["label"].reshape(len(batch["label"]), -1) != UNSEEN
            first, second = (_heard(graphs[MAIN], batch) for graphs in (reference, candidate))
            same += int(((first == second) & (first != UNSEEN) & asked).sum())
            frames += int(asked.sum())
            seen += len(asked)
            if seen >= samples:
                break
        return Metric("same state", 100 * same / frames, "%", f"{dataset.name} test", frames)


def _listen(run: Run, batch: Tensors) -> Iterator[tuple[Tensors, Tensors]]:
    """The inputs and the answers of each chunk in turn."""
    state, cell = batch[STATE], batch[CELL]
    for i in range(batch[FRAMES].shape[1]):
        inputs = {FRAMES: np.ascontiguousarray(batch[FRAMES][:, i]), STATE: state, CELL: cell}
        answers = run(inputs)
        yield inputs, answers
        state, cell = answers[f"{STATE}_after"], answers[f"{CELL}_after"]


def _heard(run: Run, batch: Tensors) -> Array:
    """The likeliest state of each frame, (N, frames); -1 where the graph gave no finite numbers."""
    logits = np.concatenate([answers["logits"] for _, answers in _listen(run, batch)], axis=1)
    told: Array = np.where(np.isfinite(logits).all(axis=2), logits.argmax(axis=2), UNSEEN)
    return told


def merged(states: Array) -> list[int]:
    """States in order, each once however long it lasts."""
    return [int(state) for state, _ in groupby(states)]


TASKS.add("acoustic", Acoustic())
