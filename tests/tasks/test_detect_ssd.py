"""SSD: priors, matching, loss and decoding as the published operators have them."""

import numpy as np
import paddle
import pytest

from edge_kit.core.errors import BadData
from edge_kit.tasks import TASKS
from edge_kit.tasks.detect_ssd import VARIANCES, corners, decode, encode, match, priors, shapes_of

TASK = TASKS.get("detect_ssd")


def test_priors_are_1917_in_the_published_order_and_sizes() -> None:
    every = priors(300)
    assert every.shape == (1917, 4)
    assert [len(shapes_of(place)) for place in range(6)] == [3, 6, 6, 6, 6, 6]
    root = 2**0.5
    first = np.array([[60, 60], [60 * root, 60 / root], [60 / root, 60 * root]]) / 300
    np.testing.assert_allclose(every[:3, 2:], first, rtol=1e-6)
    np.testing.assert_allclose(every[:3, :2], 0.5 / 19, rtol=1e-6)
    np.testing.assert_allclose(every[3:6, 0], 1.5 / 19, rtol=1e-6, err_msg="along a row first")
    second = 19 * 19 * 3
    third = 3**0.5
    shapes = [(1, 1), (root, 1 / root), (1 / root, root), (third, 1 / third), (1 / third, third)]
    wanted = [(105 / 300 * w, 105 / 300 * h) for w, h in shapes] + [((105 * 150) ** 0.5 / 300,) * 2]
    np.testing.assert_allclose(every[second : second + 6, 2:], wanted, rtol=1e-6)
    np.testing.assert_allclose(every[-6, :], [0.5, 0.5, 0.95, 0.95], rtol=1e-6)


def test_corrections_lead_back_to_the_boxes_they_were_made_from() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.5, (50, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, (50, 2))], axis=1).astype(np.float32)
    centred = priors(300)[rng.integers(1917, size=50)]
    np.testing.assert_allclose(decode(encode(boxes, centred), centred), boxes, atol=1e-5)
    # A tenth of the width to the right is one step of that variance.
    moved = centred[:1] + [[0.1 * centred[0, 2], 0, 0, 0]]
    np.testing.assert_allclose(encode(corners(moved), centred[:1]), [[1, 0, 0, 0]], atol=1e-4)
    assert VARIANCES.tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2])


def test_every_object_gets_its_own_prior_and_others_join_where_they_overlap_enough() -> None:
    centred = np.array(
        [[0.2, 0.2, 0.2, 0.2], [0.22, 0.2, 0.2, 0.2], [0.8, 0.8, 0.2, 0.2], [0.5, 0.5, 0.1, 0.1]], np.float32
    )
    boxes = np.array([[0.1, 0.1, 0.3, 0.3], [0.12, 0.1, 0.26, 0.3], [0.7, 0.7, 0.76, 0.76]], np.float32)
    chosen, most = match(centred, boxes)
    # Prior 0 is the first object's; prior 1 is the second's, although it overlaps the first more;
    # prior 2 belongs to the third, which nothing overlaps by half.
    assert chosen.tolist() == [0, 1, 2, -1]
    assert most[0] == pytest.approx(1) and most[3] == 0
    assert most[2] == pytest.approx(0.0036 / 0.04, rel=1e-3)
    none, zero = match(centred, boxes[:0])
    assert none.tolist() == [-1] * 4 and not zero.any()
    both, _ = match(centred, boxes[:1])
    assert both.tolist() == [0, 0, -1, -1]


class Given(paddle.nn.Layer):
    """A network that gives fixed answers."""

    def __init__(self, loc: np.ndarray, conf: np.ndarray) -> None:
        super().__init__()
        self.loc, self.conf = (paddle.create_parameter(v.shape, "float32") for v in (loc, conf))
        self.loc.set_value(loc)
        self.conf.set_value(conf)

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        return self.loc, self.conf


def batch(side: int, boxes: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> dict[str, paddle.Tensor]:
    arrays = {
        "image": np.zeros((len(boxes), 3, side, side), np.float32),
        "boxes": boxes,
        "label": labels,
        "weight": weight,
    }
    return {name: paddle.to_tensor(value) for name, value in arrays.items()}


def loss_by_hand(
    loc: np.ndarray, conf: np.ndarray, boxes: np.ndarray, labels: np.ndarray, weight: np.ndarray, side: int
) -> float:
    centred, total, count = priors(side), 0.0, 0
    for i in range(len(loc)):
        there = weight[i] > 0
        chosen, most = match(centred, boxes[i][there])
        classes = np.where(chosen >= 0, labels[i][there][chosen] + 1, 0) if there.any() else np.zeros(len(chosen), int)
        entropy = np.log(np.exp(conf[i]).sum(axis=1)) - conf[i][np.arange(len(classes)), classes]
        positive = chosen >= 0
        hard = np.sort(entropy[~positive & (most < 0.5)])[::-1][: 3 * positive.sum()]
        total += entropy[positive].sum() + hard.sum()
        count += positive.sum()
        if positive.any():
            off = np.abs(loc[i][positive] - encode(boxes[i][there][chosen[positive]], centred[positive]))
            total += np.where(off < 1, 0.5 * off**2, off - 0.5).sum()
    return total / count


def test_the_loss_is_that_of_the_published_operator_written_out() -> None:
    side, rng = 64, np.random.default_rng(1)
    count = len(priors(side))
    loc, conf = rng.normal(size=(3, count, 4)).astype("f"), rng.normal(size=(3, count, 5)).astype("f")
    boxes = np.zeros((3, 2, 4), np.float32)
    boxes[0] = [[0.1, 0.2, 0.5, 0.7], [0.6, 0.5, 0.95, 0.9]]
    boxes[1, 0] = [0.3, 0.1, 0.6, 0.35]
    weight = np.array([[1, 1], [1, 0], [0, 0]], np.float32)
    labels = np.array([[3, 0], [2, 0], [0, 0]])
    net = Given(loc, conf)
    loss = TASK.loss(net, batch(side, boxes, labels, weight))
    assert float(loss) == pytest.approx(loss_by_hand(loc, conf, boxes, labels, weight, side), rel=1e-5)
    loss.backward()
    assert not net.loc.grad[2].numpy().any() and not net.conf.grad[2].numpy().any(), "nothing there, nothing to learn"
    assert net.conf.grad[1].numpy().any()


def test_decoding_gives_the_objects_that_perfect_answers_mean() -> None:
    centred = priors(96)
    boxes = np.array([[0.1, 0.2, 0.5, 0.7], [0.6, 0.5, 0.95, 0.9]], np.float32)
    chosen, _ = match(centred, boxes)
    loc, conf = np.zeros((1, len(centred), 4), np.float32), np.full((1, len(centred), 4), -5, np.float32)
    own = chosen >= 0
    loc[0, own] = encode(boxes[chosen[own]], centred[own])
    conf[0, ~own, 0] = 5
    conf[0, own, np.array([2, 3])[chosen[own]]] = 5
    (found,) = TASK.detect({"loc": loc, "conf": conf}, 96)
    assert sorted(found.labels.tolist()) == [1, 2], "one each, after suppression"
    np.testing.assert_allclose(found.boxes[np.argsort(found.labels)], boxes, atol=1e-5)
    assert found.scores.min() > 0.99
    with pytest.raises(BadData, match="side 300 has 1917 priors"):
        TASK.detect({"loc": loc, "conf": conf}, 300)
