"""What a task can show of a model besides numbers: where it errs, and its answers to some samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edge_kit.core.images import Image
from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Array, Graphs, Tensors
from edge_kit.data.dataset import Dataset, evenly_spread

BATCH = 50


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often samples of one class were taken for another.

    Attributes:
        labels: Of the classes, in order.
        counts: (true class, answer, samples); pairs that never occurred are left out.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """One quality against another, such as precision against recall.

    Attributes:
        x: What the horizontal axis is, with its unit.
        y: Likewise, the vertical one.
        lines: (x, y) by name of the line.
    """

    x: str
    y: str
    lines: Mapping[str, tuple[tuple[float, float], ...]]


Chart = Confusion | Curve


@dataclass(frozen=True, slots=True)
class Example:
    """One evaluation sample with the answers to it.

    Attributes:
        sample: Its place in the evaluation set.
        picture: What the network sees, (H, W, 3) uint8 BGR, or what a task drew on it, by version; empty where samples
            are no pictures. One of the name "" is of all versions.
        text: The sample itself where it is text.
        truth: What is right.
        answers: By version.
        same: Whether all versions answer alike.
    """

    sample: int
    picture: Mapping[str, Image]
    text: str
    truth: str
    answers: Mapping[str, str]
    same: bool


@runtime_checkable
class Showing(Protocol):
    """A task that can show more than its metrics; all else a report makes without."""

    def chart(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> Chart:
        """Where a model errs, over the whole evaluation set."""
        ...

    def examples(self, versions: Mapping[str, Graphs], dataset: Dataset, most: int) -> tuple[Example, ...]:
        """Some evaluation samples with the answers of every version, the ones that they differ on first."""
        ...


Logits = Callable[[Graphs, Tensors], Array]
"""Scores of the classes for a batch of a data set, (N, classes)."""


def confusion(logits: Logits, graphs: Graphs, dataset: Dataset, progress: Progress) -> Confusion:
    """Of a task whose answer is one class of several."""
    found: Counter[tuple[int, int]] = Counter()
    for batch in dataset.eval_batches(BATCH):
        answers = logits(graphs, batch).argmax(axis=1)
        found.update((int(truth), int(answer)) for truth, answer in zip(batch["label"], answers, strict=True))
        progress(found.total(), dataset.eval_size(), "answers")
    return Confusion(tuple(dataset.labels), tuple((*pair, found[pair]) for pair in sorted(found)))


def class_examples(
    logits: Logits,
    describe: Callable[[Tensors, int], tuple[Mapping[str, Image], str]],
    versions: Mapping[str, Graphs],
    dataset: Dataset,
    most: int,
) -> tuple[Example, ...]:
    """Of a task whose answer is one class of several.

    Args:
        describe: Picture and text of one sample of a batch.
    """
    answered: dict[str, list[int]] = {name: [] for name in versions}
    for batch in dataset.eval_batches(BATCH):
        for name, graphs in versions.items():
            answered[name] += [int(one) for one in logits(graphs, batch).argmax(axis=1)]
    count = len(next(iter(answered.values())))
    wanted = choose([len({one[i] for one in answered.values()}) > 1 for i in range(count)], most)
    found: dict[int, Example] = {}
    for start, batch in zip(range(0, count, BATCH), dataset.eval_batches(BATCH), strict=True):
        for i in (one for one in wanted if start <= one < start + BATCH):
            picture, text = describe(batch, i - start)
            answers = {name: _label(dataset, one[i]) for name, one in answered.items()}
            truth = _label(dataset, int(batch["label"][i - start]))
            found[i] = Example(i, picture, text, truth, answers, len(set(answers.values())) == 1)
    return tuple(found[i] for i in wanted)


def choose(differ: Sequence[bool], most: int) -> list[int]:
    """Places to show: evenly spread ones that differ, at most half of all, then ones that do not."""
    told, others = ([i for i, one in enumerate(differ) if one is kind] for kind in (True, False))
    first = [told[i] for i in evenly_spread(len(told), max(most // 2, most - len(others)))] if told else []
    rest = [others[i] for i in evenly_spread(len(others), most - len(first))] if others else []
    return first + rest


def _label(dataset: Dataset, place: int) -> str:
    return dataset.labels[place] if place < len(dataset.labels) else str(place)
