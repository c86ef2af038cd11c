"""mIoU and the cascade's loss, figure by figure."""

import math

import numpy as np
import paddle
import pytest

from edge_kit.core.errors import BadData
from edge_kit.tasks.segment import Segment, count_pairs, intersections_over_unions


class FakeData:
    """Pictures whose one channel says what a network that copies it answers."""

    name, labels = "fake", ("a", "b", "c")

    def __init__(self, answers: list[list[int]], truth: list[list[int]]) -> None:
        self.answers = np.array(answers, np.float32)[:, None, None, :]  # (N, W) -> (N, 1, 1, W)
        self.truth = np.array(truth, np.uint8)[:, None, :]

    def eval_size(self) -> int:
        return len(self.truth)

    def eval_batches(self, batch: int):
        for i in range(len(self.truth)):
            yield {"image": self.answers[i : i + 1], "label": self.truth[i : i + 1]}


def copying(classes: int = 3):
    def run(inputs):
        return {"logits": np.eye(classes)[inputs["image"][:, 0].astype(int)].transpose(0, 3, 1, 2)}

    return {"main": run}


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def test_miou_adds_up_over_the_set_leaves_255_out_and_classes_that_nobody_has() -> None:
    data = FakeData([[0, 0, 1, 1], [0, 1, 1, 1]], [[0, 0, 0, 1], [1, 1, 255, 255]])
    (metric,) = Segment().evaluate(copying(), data, ignore)
    # a: 2 right, 1 missed, 1 too many; b: 2 right, 1 missed, 1 too many; c is nowhere
    assert metric.value == pytest.approx(100 * (2 / 4 + 2 / 4) / 2)
    assert (metric.name, metric.unit, metric.dataset, metric.samples) == ("mIoU", "%", "fake val", 2)


def test_the_score_of_each_class_is_told_with_its_pixels() -> None:
    data = FakeData([[0, 0, 0, 1]], [[0, 0, 1, 1]])
    first, second, third = Segment().score(copying(), data, ignore).classes
    assert (first.label, first.samples, first.values["mIoU"]) == ("a", 2, pytest.approx(100 * 2 / 3))
    assert (second.samples, second.values["mIoU"]) == (2, pytest.approx(50.0))
    assert (third.samples, third.values) == (0, {})


def test_logits_of_a_coarser_grid_are_drawn_out_between_the_corners() -> None:
    data = FakeData([[0, 0, 0, 0, 0]], [[0, 0, 1, 1, 1]])
    coarse = {"main": lambda inputs: {"logits": np.array([[[[1.0, 0.0]], [[0.2, 0.9]], [[0.0, 0.0]]]])}}
    # class a falls from 1 to 0 over five pixels, class b rises from 0.2 to 0.9: they meet between the second and third
    assert Segment().evaluate(coarse, data, ignore)[0].value == 100.0


def test_a_class_beyond_the_sets_is_a_line() -> None:
    with pytest.raises(BadData, match="the graph finds class 3 and fake has 3; pass --data"):
        Segment().evaluate(copying(4), FakeData([[3]], [[0]]), ignore)


def test_agreement_is_of_pixels_and_needs_no_labels() -> None:
    data = FakeData([[0, 0, 1, 1]], [[255] * 4])
    always = {"main": lambda inputs: {"logits": np.eye(3)[[0] * 4].T[None, :, None]}}
    agreement = Segment().agreement(copying(), always, data, 1)
    assert (agreement.name, agreement.value) == ("same pixels", 50.0)


def test_pairs_are_counted_row_by_class() -> None:
    counted = count_pairs(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 0]), 2)
    assert counted.tolist() == [[1, 1], [0, 1]]
    assert np.isnan(intersections_over_unions(np.array([[1, 0], [0, 0]]))[1])


def test_the_loss_weighs_three_maps_each_over_its_counted_pixels() -> None:
    """Maps of one point and two classes: the labels' corners are what a map of two points is held to."""
    labels = paddle.to_tensor(np.array([[[0, 255, 1]]], np.uint8))
    wide = paddle.to_tensor(
        np.array([[[[math.log(3.0), 0.0]], [[0.0, math.log(3.0)]]]], np.float32)
    )  # 3/4 right, twice
    middle = paddle.zeros([1, 2, 1, 3])  # 1/2 each, of which one does not count
    coarse = paddle.to_tensor(np.array([[[[0.0]], [[math.log(7.0)]]]], np.float32))  # held to the first corner: 1/8
    loss = Segment().loss(lambda image: (wide, middle, coarse), {"image": None, "label": labels})
    expected = math.log(4 / 3) + 0.4 * math.log(2) + 0.16 * math.log(8)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_one_map_alone_has_the_whole_weight() -> None:
    labels = paddle.to_tensor(np.zeros((1, 2, 2), np.uint8))
    loss = Segment().loss(lambda image: paddle.zeros([1, 4, 2, 2]), {"image": None, "label": labels})
    assert float(loss) == pytest.approx(math.log(4))
