"""The loss, top-1 and top-5, figure by figure."""

import math

import numpy as np
import pytest

from edge_kit.tasks.classify import Classify, count_top


class FakeData:
    name = "fake"

    def __init__(self, logits: np.ndarray, labels: np.ndarray) -> None:
        self.logits, self.labels = logits, labels

    def eval_size(self) -> int:
        return len(self.labels)

    def eval_batches(self, batch: int):
        for i in range(0, len(self.labels), batch):
            yield {"image": self.logits[i : i + batch], "label": self.labels[i : i + batch]}


def echo(inputs):
    return {"logits": inputs["image"]}


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def test_top1_and_top5_of_known_logits() -> None:
    logits = np.tile(np.arange(10.0, 0.0, -1.0), (120, 1))  # class 0 first, class 9 last
    labels = np.array([0] * 30 + [4] * 30 + [5] * 60)
    top1, top5 = Classify().evaluate({"main": echo}, FakeData(logits, labels), ignore)
    assert (top1.name, top1.value, top1.samples) == ("top1", 25.0, 120)
    assert (top5.name, top5.value) == ("top5", 50.0)


def test_a_constant_network_scores_nothing() -> None:
    assert count_top(np.zeros((4, 10)), np.zeros(4, np.int64), 1) == 0


def test_a_nan_is_a_miss() -> None:
    logits = np.eye(3)
    logits[1, 2] = np.nan
    assert count_top(logits, np.arange(3), 1) == 2


def test_agreement_counts_equal_answers() -> None:
    data = FakeData(np.eye(4)[[0, 1, 2, 3]], np.zeros(4, np.int64))
    same = Classify().agreement({"main": echo}, {"main": lambda x: {"logits": np.eye(4)[[0, 1, 2, 0]]}}, data, 4)
    assert same.value == 75.0


def test_auxiliary_heads_weigh_three_tenths() -> None:
    import paddle

    logits = [paddle.to_tensor([[0.0, 0.0, math.log(2.0)]]) * scale for scale in (1.0, 0.0, 0.0)]
    batch = {"image": None, "label": paddle.to_tensor([2])}
    loss = Classify().loss(lambda image: tuple(logits), batch)
    assert float(loss) == pytest.approx(math.log(2.0) + 2 * 0.3 * math.log(3.0))


def test_a_label_may_be_a_distribution() -> None:
    import paddle

    logits = paddle.to_tensor([[0.0, 0.0, math.log(2.0)]])
    batch = {"image": None, "label": paddle.to_tensor([[0.0, 0.5, 0.5]])}
    assert float(Classify().loss(lambda image: logits, batch)) == pytest.approx(1.5 * math.log(2.0))
