"""Tagging, figure by figure: paths and losses against every path written out, chunks against the published reading."""

from itertools import product

import numpy as np
import paddle
import pytest

from edge_kit.tasks.tag_text import TagText, best_paths, chunks_of, crf_loss, words_of

RNG = np.random.default_rng(3)
TAGS, LENGTH = 4, 5
EMISSIONS = RNG.normal(0, 1, (3, LENGTH, TAGS)).astype(np.float32)
TRANSITIONS = RNG.normal(0, 1, (TAGS + 2, TAGS)).astype(np.float32)
LENGTHS = np.array([5, 1, 3])


def score(sample: int, path: tuple[int, ...]) -> float:
    total = TRANSITIONS[0, path[0]] + TRANSITIONS[1, path[-1]]
    total += sum(EMISSIONS[sample, t, tag] for t, tag in enumerate(path))
    return float(total + sum(TRANSITIONS[2 + one, other] for one, other in zip(path, path[1:], strict=False)))


def every_path(sample: int) -> list[tuple[int, ...]]:
    return list(product(range(TAGS), repeat=int(LENGTHS[sample])))


def test_the_best_path_is_the_best_of_all_paths_at_every_length() -> None:
    found = best_paths(EMISSIONS, TRANSITIONS, LENGTHS)
    for sample in range(3):
        assert tuple(found[sample]) == max(every_path(sample), key=lambda path: score(sample, path))


def test_the_loss_is_the_share_of_the_right_path_among_all() -> None:
    label = RNG.integers(0, TAGS, (3, LENGTH))
    wanted = []
    for sample in range(3):
        right = score(sample, tuple(label[sample, : LENGTHS[sample]]))
        wanted.append(np.log(sum(np.exp(score(sample, path)) for path in every_path(sample))) - right)
    tensors = (paddle.to_tensor(value) for value in (EMISSIONS, TRANSITIONS, label, LENGTHS))
    assert float(crf_loss(*tensors)) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_chunks_are_read_as_published() -> None:
    tags = ["n-B", "n-I", "v-I", "O", "O", "n-I", "n-B", "v-B"]
    assert chunks_of(tags) == [(0, 2, "n"), (2, 3, "v"), (5, 6, "n"), (6, 7, "n"), (7, 8, "v")]
    assert words_of(tags) == [(0, 3, "n"), (3, 6, "O"), (6, 7, "n"), (7, 8, "v")]


class FakeData:
    """Answers that the graph gives back, beside the labels."""

    name, labels = "fake", ("n-B", "n-I", "v-B", "v-I", "O")

    def __init__(self, answers: list[list[int]], label: list[list[int]], lengths: list[int]) -> None:
        self.batch = {"ids": np.array(answers), "lengths": np.array(lengths), "label": np.array(label)}

    def eval_size(self) -> int:
        return len(self.batch["lengths"])

    def eval_batches(self, batch: int):
        yield self.batch


def echo(inputs):
    """Scores that prefer the ids as tags, whatever stands before."""
    emissions = 10.0 * np.eye(5)[inputs["ids"]]
    return {"emissions": emissions, "transitions": np.zeros((len(emissions), 7, 5))}


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def test_f1_counts_chunks_over_all_sentences_and_nothing_behind_their_ends() -> None:
    # nn v | n n: of the right chunks nn, v / n n the answers have v, and one n that is too long
    data = FakeData([[0, 0, 2, 4], [0, 1, 3, 3]], [[0, 1, 2, 4], [0, 0, 2, 2]], [3, 2])
    metrics = {one.name: one for one in TagText().evaluate({"main": echo}, data, ignore)}
    assert list(metrics) == ["F1", "precision", "recall", "word F1"]
    assert metrics["precision"].value == pytest.approx(100 * 1 / 4)
    assert metrics["recall"].value == pytest.approx(100 * 1 / 4)
    assert metrics["F1"].value == pytest.approx(25.0)
    assert (metrics["F1"].samples, metrics["F1"].dataset) == (2, "fake test")


def test_words_are_right_whatever_their_type() -> None:
    data = FakeData([[0, 1, 2, 3]], [[2, 3, 2, 3]], [4])
    metrics = {one.name: one.value for one in TagText().evaluate({"main": echo}, data, ignore)}
    assert metrics["word F1"] == 100.0
    assert metrics["F1"] == pytest.approx(50.0)


def test_agreement_is_of_tags_within_sentences() -> None:
    data = FakeData([[0, 1, 2, 3], [0, 0, 0, 0]], [[0] * 4] * 2, [4, 1])
    always = {"main": lambda inputs: echo({"ids": np.zeros_like(inputs["ids"])})}
    same = TagText().agreement({"main": echo}, always, data, 2)
    assert (same.value, same.samples) == (pytest.approx(100 * 2 / 5), 5)
