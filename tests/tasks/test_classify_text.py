"""Accuracy of texts, figure by figure."""

import math

import numpy as np
import pytest

from edge_kit.tasks.classify_text import ClassifyText


class FakeData:
    name = "fake"

    def __init__(self, answers: list[int], labels: list[int]) -> None:
        self.answers, self.labels = np.array(answers), np.array(labels)

    def eval_size(self) -> int:
        return len(self.labels)

    def eval_batches(self, batch: int):
        for i in range(0, len(self.labels), batch):
            part = slice(i, i + batch)
            answers = self.answers[part]
            yield {"ids": answers[:, None], "lengths": np.ones(len(answers), int), "label": self.labels[part]}


def echo(inputs):
    """Logits that prefer the first id."""
    return {"logits": np.eye(2)[inputs["ids"][:, 0]]}


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def test_accuracy_counts_right_answers_over_all_batches() -> None:
    data = FakeData([0, 1, 1, 1] * 30, [0, 1, 0, 1] * 30)
    (accuracy,) = ClassifyText().evaluate({"main": echo}, data, ignore)
    assert (accuracy.name, accuracy.value, accuracy.unit, accuracy.samples) == ("accuracy", 75.0, "%", 120)
    assert accuracy.dataset == "fake test"


def test_agreement_needs_no_labels() -> None:
    data = FakeData([0, 1, 0, 1], [1, 1, 1, 1])
    always = {"main": lambda inputs: {"logits": np.tile([0.0, 1.0], (len(inputs["ids"]), 1))}}
    assert ClassifyText().agreement({"main": echo}, always, data, 4).value == 50.0
    assert ClassifyText().agreement({"main": echo}, {"main": echo}, data, 4).value == 100.0


def test_the_loss_of_known_logits_is_their_cross_entropy() -> None:
    import paddle

    logits = paddle.to_tensor([[0.0, math.log(3.0)]])
    batch = {"ids": None, "lengths": None, "label": paddle.to_tensor([1])}
    assert float(ClassifyText().loss(lambda ids, lengths: logits, batch)) == pytest.approx(math.log(4 / 3))
