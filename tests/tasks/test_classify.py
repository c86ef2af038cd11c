"""The loss, top-1 and top-5, figure by figure."""

import math

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.tasks.classify import Classify, are_top, rank
from edge_kit.tasks.score import wilson


class FakeData:
    name = "fake"

    def __init__(self, logits: np.ndarray, labels: np.ndarray) -> None:
        self.logits, self.answers = logits, labels

    def eval_size(self) -> int:
        return len(self.answers)

    def eval_batches(self, batch: int):
        for i in range(0, len(self.answers), batch):
            yield {"image": self.logits[i : i + batch], "label": self.answers[i : i + batch]}


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
    assert not are_top(np.zeros((4, 10)), np.zeros(4, np.int64), 1).any()


def test_a_nan_is_a_miss() -> None:
    logits = np.eye(3)
    logits[1, 2] = np.nan
    assert are_top(logits, np.arange(3), 1).tolist() == [True, False, True]


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


def test_the_score_counts_every_class_and_its_metrics_are_those_of_evaluate() -> None:
    logits = np.eye(4)[[0, 1, 2, 0, 0]] + np.arange(4) / 10
    data = FakeData(logits, np.array([0, 1, 1, 1, 3]))
    data.labels = ("a", "b", "c", "d")
    score = Classify().score({"main": echo}, data, ignore)
    assert score.metrics == Classify().evaluate({"main": echo}, data, ignore)
    assert [(one.label, one.samples, one.values.get("top1")) for one in score.classes] == [
        ("a", 1, 100.0),
        ("b", 3, pytest.approx(100 / 3)),
        ("c", 0, None),
        ("d", 1, 0.0),
    ]


@pytest.mark.parametrize(
    ("hits", "samples", "low", "high"),
    [(0, 10, 0.0, 27.75), (5, 10, 23.66, 76.34), (971, 1000, 95.87, 97.97), (50_000, 50_000, 99.99, 100.0)],
)
def test_the_interval_is_wilsons(hits: int, samples: int, low: float, high: float) -> None:
    """The roots of |p - share| = z sqrt(p (1 - p) / n): what the score test does not refuse."""
    got = wilson(hits, samples)
    assert got == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    for end in got:
        p, share = end / 100, hits / samples
        assert abs(p - share) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / samples), abs=1e-9)


def test_the_likeliest_classes_come_first_with_their_softmax() -> None:
    ranked = rank(np.log(np.array([1.0, 4.0, 2.0, 3.0])).astype(np.float32), 3)
    assert [place for place, _ in ranked] == [1, 3, 2]
    np.testing.assert_allclose([share for _, share in ranked], [0.4, 0.3, 0.2], rtol=1e-6)


def test_equal_logits_are_ranked_by_number_and_large_ones_do_not_overflow() -> None:
    assert rank(np.array([1000.0, -1000.0, 1000.0]), 5) == [(0, 0.5), (2, 0.5), (1, 0.0)]


def test_a_row_that_is_a_distribution_already_is_taken_as_it_is() -> None:
    assert rank(np.array([0.25, 0.75]), 1) == [(1, 0.75)]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_logit_that_is_no_number_is_an_error_and_no_answer(bad: float) -> None:
    with pytest.raises(BadData, match="^logits are not finite: 1 of 2$"):
        rank(np.array([0.0, bad]), 1)
