"""Average precision by keypoints, and what leads there, figure by figure."""

import numpy as np
import paddle
import pytest

from edge_kit.tasks.keypoints import DEVIATIONS, Keypoints, Pose, heat_maps_of, keep_best, precision, similarity

SPOTS = np.stack([np.arange(17) % 4 * 20 + 20, np.arange(17) // 4 * 20 + 20], axis=1).astype(float)  # in the picture


def ignore(done: int, total: int, note: str = "") -> None:
    pass


class FakeData:
    """Persons whose keypoints lie at `SPOTS`; the input is the picture, a heat map's cell four pixels of it.

    The first value of each picture tells a network by how many cells to miss.
    """

    name = "fake"

    def __init__(self, misses: list[float], centred: list[bool] | None = None) -> None:
        self.misses, self.centred = misses, centred or [True] * len(misses)

    def eval_size(self) -> int:
        return len(self.misses)

    def eval_batches(self, batch: int):
        for i, miss in enumerate(self.misses):
            yield {
                "image": np.full((1, 3, 128, 128), miss, np.float32),
                "back": np.array([[[1.0, 0, 0], [0, 1.0, 0]]]),
                "box": np.array([[10.0, 10, 100, 100]]),
                "area": np.array([10_000.0]),
                "keypoints": np.concatenate([SPOTS, np.full((17, 1), 2.0)], axis=1)[None],
                "picture": np.array([i + 1]),
                "centred": np.array([self.centred[i]]),
            }


def sure(inputs):
    """The same maps for a picture and its mirror image would average to two peaks: this one gives plain maps only."""
    maps = np.zeros((len(inputs["image"]), 17, 32, 32))
    for sample, image in zip(maps, inputs["image"], strict=True):
        for k, (x, y) in enumerate(SPOTS / 4):
            sample[k, int(y), int(x + image.flat[0])] = 1.0
    return {"heatmaps": maps}


def blind_to_mirrors():
    """Nothing in a mirrored picture is found; pictures here are all alike, so every second call is one."""
    calls = []

    def run(inputs):
        calls.append(0)
        return sure(inputs) if len(calls) % 2 else {"heatmaps": np.zeros((len(inputs["image"]), 17, 32, 32))}

    return {"main": run}


def test_what_is_found_where_it_lies_has_full_precision_and_what_is_not_has_none() -> None:
    metrics = {one.name: one for one in Keypoints().evaluate(blind_to_mirrors(), FakeData([0, 0]), ignore)}
    assert metrics["AP"].value == metrics["AR"].value == metrics["AP all"].value == pytest.approx(100.0)
    assert (metrics["AP"].unit, metrics["AP"].dataset, metrics["AP"].samples) == ("%", "fake val", 2)
    missed = {one.name: one.value for one in Keypoints().evaluate(blind_to_mirrors(), FakeData([11, 11]), ignore)}
    assert missed["AP"] == 0.0


def test_the_headline_is_of_the_persons_that_were_published_and_all_are_told_beside_it() -> None:
    data = FakeData([0, 11], centred=[True, False])
    metrics = {one.name: one for one in Keypoints().evaluate(blind_to_mirrors(), data, ignore)}
    assert (metrics["AP"].value, metrics["AP"].samples) == (pytest.approx(100.0), 1)
    assert metrics["AP all"].value < 60 and metrics["AP all"].samples == 2


def test_a_mirrored_map_is_put_back_with_its_pairs_exchanged_and_shifted_by_a_cell() -> None:
    """A keypoint at column 2 of 8 lies at 5 in the mirror, comes back to 2, and is moved to 3."""
    plain, mirrored = np.zeros((1, 17, 4, 8)), np.zeros((1, 17, 4, 8))
    mirrored[0, 6, 1, 5] = 1.0  # what a mirror makes of a left shoulder, 5, is a right one
    image = np.zeros((1, 3, 16, 32), np.float32)
    image[..., 0] = 1.0
    graphs = {"main": lambda inputs: {"heatmaps": mirrored if inputs["image"][0, 0, 0, -1] else plain}}
    found = heat_maps_of(graphs, image)
    assert np.argwhere(found).tolist() == [[0, 5, 1, 3]]
    assert found[0, 5, 1, 3] == 0.5


def test_similarity_is_one_at_the_place_and_falls_by_cocos_deviation() -> None:
    first = Pose(1, SPOTS, 1.0, 100.0)
    away = SPOTS + np.stack([2 * DEVIATIONS * 10, np.zeros(17)], axis=1)  # a deviation at this size
    assert similarity(first, first) == 1.0
    assert similarity(first, Pose(1, away, 1.0, 100.0)) == pytest.approx(np.exp(-0.5))


def test_of_two_answers_that_are_one_person_the_surer_is_kept() -> None:
    sure_one, second = Pose(1, SPOTS, 0.9, 100.0), Pose(1, SPOTS + 0.05, 0.5, 100.0)
    elsewhere, other_picture = Pose(1, SPOTS + 50, 0.4, 100.0), Pose(2, SPOTS, 0.1, 100.0)
    kept = keep_best([second, elsewhere, other_picture, sure_one])
    assert [(one.picture, one.score) for one in kept] == [(1, 0.9), (1, 0.4), (2, 0.1)]


def test_no_answers_at_all_are_no_precision() -> None:
    assert precision([], []) == [0.0] * 10


def test_agreement_counts_keypoints_within_half_a_cell() -> None:
    other = {"main": lambda inputs: {"heatmaps": np.roll(sure(inputs)["heatmaps"], 1, axis=3)}}
    half = {
        "main": lambda inputs: {"heatmaps": _first_nine(sure(inputs)["heatmaps"], other["main"](inputs)["heatmaps"])}
    }
    data = FakeData([0])
    assert Keypoints().agreement({"main": sure}, {"main": sure}, data, 1).value == 100.0
    assert Keypoints().agreement({"main": sure}, other, data, 1).value == 0.0
    assert Keypoints().agreement({"main": sure}, half, data, 1).value == pytest.approx(100 * 9 / 17)


def _first_nine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate([first[:, :9], second[:, 9:]], axis=1)


def test_the_loss_is_half_the_mean_of_weighted_squares() -> None:
    batch = {
        "image": None,
        "target": paddle.zeros([1, 2, 2, 2]),
        "weight": paddle.to_tensor([[1.0, 0.0]]),
    }
    given = paddle.to_tensor(np.array([[[[2.0, 0], [0, 0]], [[9.0, 9], [9, 9]]]], np.float32))
    assert float(Keypoints().loss(lambda image: given, batch)) == pytest.approx(0.5 * (4 / 4 + 0) / 2)
