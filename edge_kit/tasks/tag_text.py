"""Tagging of texts, a tag a character: loss of a conditional random field, its best path, F1 of words with their types.

The published measure is of chunks: a tag `n-B` begins one of type n, `n-I` goes on with it, and `O` is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edge_kit.core.progress import Progress
from edge_kit.core.records import Metric
from edge_kit.core.tensors import MAIN, Array, Graphs, Tensors
from edge_kit.core.words import IDS, LENGTHS
from edge_kit.data.dataset import Dataset
from edge_kit.tasks.task import TASKS

BATCH = 50
BEGIN, INSIDE, OTHER = "-B", "-I", "O"

Span = tuple[int, int, str]
"""Of a chunk or a word: its first character, the one behind its last, its type."""


class TagText:
    """Graph `main`: `ids` (N, T) and `lengths` (N,) int64 -> `emissions` (N, T, tags) and `transitions`.

    `transitions` (N, tags + 2, tags), the same for every sample: what a tag scores as the first, row 0, and as the
    last, row 1, and row 2 + i what each scores behind tag i.
    """

    name = "tag_text"

    def loss(self, net: Any, batch: Any) -> Any:
        emissions, transitions = net(batch[IDS], batch[LENGTHS])
        return crf_loss(emissions, transitions[0], batch["label"], batch[LENGTHS])

    def feeds(self, graphs: Graphs, batch: Tensors) -> dict[str, Tensors]:
        return {MAIN: {IDS: batch[IDS], LENGTHS: batch[LENGTHS]}}

    def evaluate(self, graphs: Graphs, dataset: Dataset, progress: Progress) -> tuple[Metric, ...]:
        chunks, words = np.zeros(3, np.int64), np.zeros(3, np.int64)  # found, right ones, found and right
        seen = 0
        for batch in dataset.eval_batches(BATCH):
            for path, label in zip(self._paths(graphs, batch), batch["label"], strict=True):
                given, right = (_named(one, dataset.labels) for one in (path, label[: len(path)]))
                chunks += _hits(chunks_of(given), chunks_of(right))
                plain = [[(start, end, "") for start, end, _ in words_of(tags)] for tags in (given, right)]
                words += _hits(*plain)
                seen += 1
            progress(seen, dataset.eval_size())
        scores = dict(zip(("F1", "precision", "recall"), _scores(chunks), strict=True))
        scores["word F1"] = _scores(words)[0]
        return tuple(Metric(name, value, "%", f"{dataset.name} test", seen) for name, value in scores.items())

    def agreement(self, reference: Graphs, candidate: Graphs, dataset: Dataset, samples: int) -> Metric:
        same = characters = seen = 0
        for batch in dataset.eval_batches(BATCH):
            for wanted, got in zip(self._paths(reference, batch), self._paths(candidate, batch), strict=True):
                same += int((wanted == got).sum())
                characters += len(wanted)
                seen += 1
            if seen >= samples:
                break
        return Metric("same tags", 100 * same / characters, "%", f"{dataset.name} test", characters)

    def _paths(self, graphs: Graphs, batch: Tensors) -> list[Array]:
        outputs = graphs[MAIN](self.feeds(graphs, batch)[MAIN])
        return best_paths(outputs["emissions"], outputs["transitions"][0], batch[LENGTHS])


def crf_loss(emissions: Any, transitions: Any, label: Any, lengths: Any) -> Any:
    """Negative log-likelihood of the tags, the mean over sequences.

    Args:
        emissions: (N, T, tags) float32, a Paddle tensor as all are.
        transitions: (tags + 2, tags), as `TagText` says.
        label: (N, T) int64.
        lengths: (N,) int64, each at least 1.
    """
    import paddle
    from paddle.nn.functional import one_hot

    first, last, following = transitions[0], transitions[1], transitions[2:]
    length, tags = emissions.shape[1:]
    real = (paddle.arange(length, dtype="int64").unsqueeze(0) < lengths.unsqueeze(1)).astype("float32")
    chosen = one_hot(label, tags)  # (N, T, tags)
    ends = real - paddle.concat([real[:, 1:], paddle.zeros_like(real[:, :1])], axis=1)  # 1 at the last character
    score = (chosen * emissions * real.unsqueeze(2)).sum([1, 2]) + (chosen[:, 0] * first).sum(1)
    score = score + (chosen * last * ends.unsqueeze(2)).sum([1, 2])
    score = score + (paddle.matmul(chosen[:, :-1], following) * chosen[:, 1:] * real[:, 1:].unsqueeze(2)).sum([1, 2])
    total = first + emissions[:, 0]
    for t in range(1, length):
        ahead = paddle.logsumexp(total.unsqueeze(2) + following, axis=1) + emissions[:, t]
        total = real[:, t : t + 1] * ahead + (1 - real[:, t : t + 1]) * total
    return (paddle.logsumexp(total + last, axis=1) - score).mean()


def best_paths(emissions: Array, transitions: Array, lengths: Array) -> list[Array]:
    """The tags that score most together, for each sequence (length,) int64; of equal ones the first.

    Args:
        emissions: (N, T, tags) float.
        transitions: (tags + 2, tags), as `TagText` says.
        lengths: (N,) integers, each at least 1.

    Source: Viterbi 1967, Error bounds for convolutional codes, IEEE Transactions on Information Theory 13.
    """
    first, last, following = transitions[0], transitions[1], transitions[2:]
    score = first + emissions[:, 0]
    scores: list[Array] = [score]
    came_from: list[Array] = []
    for t in range(1, int(lengths.max())):
        ways = score[:, :, None] + following  # (N, from, to)
        came_from.append(ways.argmax(axis=1))
        score = ways.max(axis=1) + emissions[:, t]
        scores.append(score)
    paths = []
    for i, length in enumerate(int(one) for one in lengths):
        path = [int((scores[length - 1][i] + last).argmax())]
        for t in range(length - 2, -1, -1):
            path.append(int(came_from[t][i, path[-1]]))
        paths.append(np.array(path[::-1], np.int64))
    return paths


def chunks_of(tags: Sequence[str]) -> list[Span]:
    """Runs of one type, a new one at each `-B`; what is `O` lies in none."""
    runs = _runs(tags, lambda tag, before: tag.endswith(BEGIN) or _type(tag) != _type(before))
    return [span for span in runs if span[2] != OTHER]


def words_of(tags: Sequence[str]) -> list[Span]:
    """Words as LAC's reader of its own answers makes them: a new one at each `-B`, and at an `O` behind anything else.

    A word is of the type of its first tag.
    """
    return list(_runs(tags, lambda tag, before: tag.endswith(BEGIN) or (tag == OTHER and before != OTHER)))


def _runs(tags: Sequence[str], begins: Any) -> Iterator[Span]:
    start = 0
    for i in range(1, len(tags) + 1):
        if i == len(tags) or begins(tags[i], tags[i - 1]):
            yield start, i, _type(tags[start])
            start = i


def _type(tag: str) -> str:
    return tag.removesuffix(BEGIN).removesuffix(INSIDE)


def _named(path: Array, labels: Sequence[str]) -> list[str]:
    return [labels[i] for i in path]


def _hits(found: Sequence[Span], right: Sequence[Span]) -> Array:
    return np.array([len(found), len(right), len(set(found) & set(right))], np.int64)


def _scores(counts: Array) -> tuple[float, float, float]:
    """F1, precision and recall in percent."""
    found, right, both = (int(one) for one in counts)
    precision, recall = 100 * both / max(found, 1), 100 * both / max(right, 1)
    return 2 * precision * recall / max(precision + recall, 1e-12), precision, recall


TASKS.add("tag_text", TagText())
