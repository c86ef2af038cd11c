"""AUC and log loss, figure by figure."""

import math

import numpy as np
import pytest

from edge_kit.core.behaviour import INPUTS
from edge_kit.tasks.click import Click, auc


@pytest.mark.parametrize(
    ("scores", "labels", "wanted"),
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([1.0, 2.0, 3.0], [1, 0, 0], 0.0),
        ([5.0, 5.0, 5.0, 5.0], [0, 1, 0, 1], 0.5),
        ([1.0, 2.0, 2.0, 3.0], [0, 0, 1, 1], 0.875),
        ([1.0, 2.0], [1, 1], 0.5),
        ([np.nan, 1.0], [1, 0], 0.0),
    ],
)
def test_auc_counts_pairs_and_half_of_ties(scores: list[float], labels: list[int], wanted: float) -> None:
    assert auc(np.array(scores), np.array(labels)) == pytest.approx(wanted)


def test_auc_equals_every_pair_counted() -> None:
    rng = np.random.default_rng(4)
    scores, labels = rng.integers(0, 20, 300).astype(float), rng.integers(0, 2, 300)
    ones, zeros = scores[labels == 1][:, None], scores[labels == 0]
    assert auc(scores, labels) == pytest.approx(float(((ones > zeros) + (ones == zeros) / 2).mean()))


class FakeData:
    name = "fake"

    def __init__(self, logits: list[float], labels: list[int]) -> None:
        self.logits, self.labels = np.array(logits), np.array(labels)

    def eval_size(self) -> int:
        return len(self.labels)

    def eval_batches(self, batch: int):
        for i in range(0, len(self.labels), 2):
            part = slice(i, i + 2)
            yield {**dict.fromkeys(INPUTS, self.logits[part]), "label": self.labels[part]}


def echo(inputs):
    return {"click": inputs["target"][:, None]}


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def test_figures_are_of_all_samples_together() -> None:
    data = FakeData([0.0, 1.0, -1.0, 2.0], [0, 1, 1, 0])
    first, loss = Click().evaluate({"main": echo}, data, ignore)
    assert (first.name, first.value, first.unit, first.samples) == ("AUC", 25.0, "%", 4)
    wanted = [math.log(2), math.log(1 + math.exp(-1)), math.log(1 + math.e), math.log(1 + math.exp(2))]
    assert loss.value == pytest.approx(sum(wanted) / 4)


def test_agreement_is_of_the_side_that_answers_fall_on() -> None:
    data = FakeData([0.5, 1.0, -1.0, 2.0], [0] * 4)
    less = {"main": lambda inputs: {"click": inputs["target"][:, None] - 0.7}}
    assert Click().agreement({"main": echo}, less, data, 4).value == 75.0


def test_the_loss_is_that_of_the_logits() -> None:
    import paddle

    logits = paddle.to_tensor([[0.0], [1.0]])
    batch = {**dict.fromkeys(INPUTS), "label": paddle.to_tensor([0, 1])}
    wanted = (math.log(2) + math.log(1 + math.exp(-1))) / 2
    assert float(Click().loss(lambda *inputs: logits, batch)) == pytest.approx(wanted)
