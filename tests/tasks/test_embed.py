"""Recall by nearest neighbour, figure by figure."""

import numpy as np
import pytest

from edge_kit.core.errors import BadData
from edge_kit.tasks import embed
from edge_kit.tasks.embed import Embed, nearest, normalised


class FakeData:
    name = "fake"

    def __init__(self, points: np.ndarray, labels: list[int]) -> None:
        self.points, self.labels = points.astype(np.float32), np.array(labels)

    def eval_size(self) -> int:
        return len(self.labels)

    def eval_batches(self, batch: int):
        for i in range(0, len(self.labels), batch):
            yield {"image": self.points[i : i + batch], "label": self.labels[i : i + batch]}


ECHO = {"main": lambda inputs: {"embedding": inputs["image"]}}
# Directions at 0, 10, 80, 92 and 180 degrees, of other lengths.
ANGLES = np.deg2rad([0, 10, 80, 92, 180])
POINTS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1) * [[1], [9], [0.1], [2], [5]]


def ignore(done: int, total: int, note: str = "") -> None:
    pass


def test_the_nearest_of_each_is_by_direction_and_never_itself() -> None:
    assert nearest(normalised(POINTS)).tolist() == [1, 0, 3, 2, 3]
    twice = normalised(np.array([[1.0, 0], [1, 0], [0, 1]]))
    assert nearest(twice).tolist() == [1, 0, 0]


def test_recall_counts_those_whose_nearest_is_of_their_class() -> None:
    (recall,) = Embed().evaluate(ECHO, FakeData(POINTS, [0, 0, 1, 2, 2]), ignore)
    assert (recall.name, recall.value, recall.unit, recall.samples) == ("Recall@1", 60.0, "%", 5)
    assert recall.dataset == "fake test"


def test_recall_is_of_the_whole_set_whatever_the_batches_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(130) % 60
    points = rng.normal(0, 1, (60, 8))[labels] + rng.normal(0, 0.4, (130, 8))
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    distances = ((units[:, None] - units[None]) ** 2).sum(2) + np.diag(np.full(130, np.inf))
    wanted = 100 * float((labels[distances.argmin(1)] == labels).mean())
    assert 30 < wanted < 100
    for batch, rows in ((50, 1000), (7, 11)):
        monkeypatch.setattr(embed, "BATCH", batch)
        monkeypatch.setattr(embed, "ROWS", rows)
        (recall,) = Embed().evaluate(ECHO, FakeData(points, list(labels)), ignore)
        assert recall.value == pytest.approx(wanted)


def test_agreement_is_the_same_nearest_and_likeness_the_mean_cosine() -> None:
    moved = {"main": lambda inputs: {"embedding": inputs["image"] + np.float32([0, 3])}}
    data = FakeData(POINTS, [0] * 5)
    angles = np.arctan2(POINTS[:, 1] + 3, POINTS[:, 0])
    same = Embed().agreement(ECHO, moved, data, 5)
    assert (same.name, same.value) == ("same nearest", 80.0)  # the first turns from the second to the third
    (cosine,) = Embed().likeness(ECHO, moved, data, 5)
    assert cosine.value == pytest.approx(float(np.cos(angles - ANGLES).mean()))
    assert Embed().agreement(ECHO, ECHO, data, 5).value == 100.0
    assert Embed().likeness(ECHO, ECHO, data, 5)[0].value == pytest.approx(1.0)


def test_an_embedding_that_is_zero_or_not_finite_is_near_to_nothing() -> None:
    broken = normalised(np.array([[1.0, 0], [np.nan, 1], [0, 0], [1, 0.1]]))
    assert not broken[1:3].any()
    assert nearest(broken)[[0, 3]].tolist() == [3, 0]
    with pytest.raises(BadData, match=r"must be \(N, width\), got \(2, 3, 1, 1\)"):
        normalised(np.zeros((2, 3, 1, 1)))
