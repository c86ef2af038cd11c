"""YOLOv3: loss and decoding as the published operators have them."""

import numpy as np
import paddle
import pytest

from edge_kit.core.boxes import overlaps
from edge_kit.core.errors import BadData
from edge_kit.tasks import TASKS
from edge_kit.tasks.detect_yolo import ANCHORS, MASKS, OUTPUTS, STRIDES, decode, logistic

TASK = TASKS.get("detect_yolo")
SIDE, CLASSES = 96, 3


class Given(paddle.nn.Layer):
    """A network that gives fixed answers."""

    def __init__(self, maps: list[np.ndarray]) -> None:
        super().__init__()
        self.maps = [paddle.to_tensor(one, stop_gradient=False) for one in maps]

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        return tuple(self.maps)


def random_maps(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(count, 3 * (5 + CLASSES), SIDE // s, SIDE // s)).astype("f") for s in STRIDES]


def entropy(x: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) - x * wanted + np.log1p(np.exp(-np.abs(x)))


def loss_by_hand(maps: list[np.ndarray], boxes: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    """Picture by picture, object by object; `boxes` are x1, y1, x2, y2."""
    total, smooth = 0.0, min(1 / CLASSES, 1 / 40)
    for x, mask, stride in zip(maps, MASKS, STRIDES, strict=True):
        anchors = np.array([ANCHORS[i] for i in mask], np.float32) / SIDE
        size = SIDE // stride
        for i in range(len(x)):
            cells = x[i].reshape(3, 5 + CLASSES, size, size)
            there = boxes[i][weight[i] > 0]
            predicted = decode(x[i : i + 1], anchors)[0][0].reshape(3, size, size, 4)
            near = overlaps(predicted.reshape(-1, 4), there).max(axis=1, initial=0).reshape(3, size, size)
            wanted = np.where(near > 0.7, -1.0, 0.0)
            for box, label, share in zip(there, labels[i][weight[i] > 0], weight[i][weight[i] > 0], strict=True):
                w, h = box[2:] - box[:2]
                middle = (box[:2] + box[2:]) / 2
                shapes = np.array([[0, 0, aw / SIDE, ah / SIDE] for aw, ah in ANCHORS])
                best = int(overlaps(shapes, np.array([[0, 0, w, h]]))[:, 0].argmax())
                if best not in mask:
                    continue
                a, (column, row) = mask.index(best), (middle * size).astype(int)
                own, scale = cells[a, :, row, column], (2 - w * h) * share
                total += scale * entropy(own[:2], middle * size - [column, row]).sum()
                total += scale * np.abs(own[2:4] - np.log([w, h] / anchors[a])).sum()
                classes = np.where(np.arange(CLASSES) == label, 1 - smooth, smooth)
                total += share * entropy(own[5:], classes).sum()
                wanted[a, row, column] = share
            seen = cells[:, 4]
            total += (entropy(seen, np.ones_like(seen)) * wanted)[wanted > 0].sum()
            total += entropy(seen, np.zeros_like(seen))[wanted == 0].sum()
    return total / len(maps[0])


def test_the_loss_is_that_of_the_published_operator_written_out() -> None:
    maps = random_maps(3)
    boxes = np.zeros((3, 3, 4), np.float32)
    boxes[0] = [[0.1, 0.2, 0.15, 0.3], [0.5, 0.4, 0.95, 0.9], [0.3, 0.3, 0.5, 0.9]]
    boxes[1, 0] = [0.0, 0.0, 1.0, 1.0]
    labels = np.array([[2, 0, 1], [1, 0, 0], [0, 0, 0]])
    weight = np.array([[1, 0.25, 0.75], [1, 0, 0], [0, 0, 0]], np.float32)
    batch = {"image": np.zeros((3, 3, SIDE, SIDE), "f"), "boxes": boxes, "label": labels, "weight": weight}
    loss = TASK.loss(Given(maps), {name: paddle.to_tensor(value) for name, value in batch.items()})
    assert float(loss) == pytest.approx(loss_by_hand(maps, boxes, labels, weight), rel=1e-4)


def test_decoding_gives_the_object_that_a_cell_means() -> None:
    maps = [np.full_like(one, -9.0) for one in random_maps(1)]
    column, row, a = 4, 1, 2  # of stride 16, anchor (59, 119)
    channel = a * (5 + CLASSES)
    maps[1][0, channel : channel + 8, row, column] = [0, np.log(3), np.log(0.5), np.log(0.4), 9, -9, 9, -9]
    (found,) = TASK.detect(dict(zip(OUTPUTS, maps, strict=True)), SIDE)
    assert found.labels.tolist() == [1]
    w, h = 59 * 0.5 / SIDE, 119 * 0.4 / SIDE
    x, y = 4.5 / 6, 1.75 / 6
    np.testing.assert_allclose(found.boxes, [[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], rtol=1e-5)
    assert found.scores[0] == pytest.approx(float(logistic(np.array(9.0)) ** 2), rel=1e-5)


def test_every_box_of_a_picture_of_608_is_looked_at() -> None:
    counts = [decode(np.zeros((1, 18, 608 // s, 608 // s), "f"), np.ones((3, 2), "f"))[0].shape[1] for s in STRIDES]
    assert sum(counts) == 22743


def test_an_unlikely_object_has_no_score_and_huge_numbers_do_not_overflow() -> None:
    x = np.zeros((1, 8, 1, 1), np.float32)
    x[0, 4], x[0, 5:] = -5.3, 9
    assert not decode(x, np.ones((1, 2), np.float32))[1].any(), "0.00497"
    x[0, 4] = -5.2
    assert decode(x, np.ones((1, 2), np.float32))[1].all(), "0.0055"
    with np.errstate(all="raise", under="ignore"):
        boxes, scores = decode(np.full_like(x, 1e4), np.ones((1, 2), np.float32))
        decode(np.full_like(x, -1e4), np.ones((1, 2), np.float32))
    assert np.isfinite(boxes).all() and scores.tolist() == [[[1, 1, 1]]]


def test_maps_of_another_side_are_refused() -> None:
    maps = dict(zip(OUTPUTS, random_maps(1), strict=True))
    with pytest.raises(BadData, match=r"output 'stride32' of a picture of side 64 must be \(N, 3 \* k, 2, 2\)"):
        TASK.detect(maps, 64)
