"""YOLOv3: three maps, each cell with three anchors; a logistic function for each class and for there being an object.

Source: Redmon and Farhadi 2018, arXiv:1804.02767; the operators yolov3_loss and yolo_box of PaddlePaddle 1.6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.boxes import Detections, Suppression, detections
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array, Tensors
from edge_kit.tasks.coco_precision import mean_precision
from edge_kit.tasks.detect import Detector, check_outputs
from edge_kit.tasks.task import TASKS

STRIDES = (32, 16, 8)  # pixels a cell, of each map
OUTPUTS = tuple(f"stride{stride}" for stride in STRIDES)
ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))  # pixels
MASKS = ((6, 7, 8), (3, 4, 5), (0, 1, 2))  # anchors of each map
BOX = 5  # channels of an anchor before those of the classes: x, y, width, height, object
SURELY_SEEN = 0.7  # overlap with an object from which on a box that is not to find it is let alone
SUPPRESSION = Suppression(score=0.005, overlap=0.45, candidates=400, kept=100)


class DetectYolo(Detector):
    """`stride32`, `stride16` and `stride8`, each (N, 3 * (5 + classes), H, W); see `Detector`."""

    def loss(self, net: Any, batch: Any) -> Any:
        """The sum of the three maps' losses, a mean over the pictures; an object counts by its weight."""
        import paddle
        from paddle.vision.ops import yolo_loss

        boxes = batch["boxes"]  # (N, M, 4), nothing where there is no object
        centred = paddle.concat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], axis=-1)
        label, weight = batch["label"].astype("int32"), batch["weight"]
        total = paddle.zeros([])
        for x, mask, stride in zip(net(batch["image"]), MASKS, STRIDES, strict=True):
            total = (
                total
                + yolo_loss(
                    x,
                    centred,
                    label,
                    anchors=[side for anchor in ANCHORS for side in anchor],
                    anchor_mask=list(mask),
                    class_num=x.shape[1] // len(mask) - BOX,
                    ignore_thresh=SURELY_SEEN,
                    downsample_ratio=stride,
                    gt_score=weight,
                    use_label_smooth=True,
                ).mean()
            )
        return total

    def classes(self, outputs: Tensors) -> int:
        """See `Detector`."""
        return int(outputs[OUTPUTS[0]].shape[1]) // len(MASKS[0]) - BOX

    def detect(self, outputs: Tensors, side: int) -> list[Detections]:
        """See `Detector`."""
        check_outputs(outputs, OUTPUTS)
        boxes, scores = [], []
        for name, stride, mask in zip(OUTPUTS, STRIDES, MASKS, strict=True):
            x = outputs[name]
            if x.ndim != 4 or x.shape[1] % len(mask) or x.shape[2] != side // stride or x.shape[3] != side // stride:
                raise BadData(f"output {name!r} of a picture of side {side} must be (N, 3 * k, {side // stride}, "
                              f"{side // stride}), got {x.shape}")  # fmt: skip
            found = decode(x, np.array([ANCHORS[i] for i in mask], np.float32) / side)
            boxes.append(found[0])
            scores.append(found[1])
        every, shares = np.clip(np.concatenate(boxes, axis=1), 0, 1), np.concatenate(scores, axis=1)
        return [detections(box, share, SUPPRESSION) for box, share in zip(every, shares, strict=True)]


def decode(x: Array, anchors: NDArray[np.float32]) -> tuple[Array, Array]:
    """What one map says.

    Args:
        x: (N, A * (5 + classes), H, W).
        anchors: (A, 2) width and height in shares of the side.

    Returns:
        Boxes (N, A * H * W, 4) in shares of the side, and scores (N, A * H * W, classes), 0 where there is hardly an
        object.
    """
    n, channels, height, width = x.shape
    cells = x.reshape(n, len(anchors), channels // len(anchors), height, width)
    rows, columns = np.indices((height, width), np.float32)
    centre_x = (columns + logistic(cells[:, :, 0])) / width
    centre_y = (rows + logistic(cells[:, :, 1])) / height
    sides = np.exp(np.minimum(cells[:, :, 2:4], 10)) * anchors[:, :, None, None]
    half_x, half_y = sides[:, :, 0] / 2, sides[:, :, 1] / 2
    boxes = np.stack([centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y], axis=-1)
    likely = logistic(cells[:, :, 4:5])
    scores = np.where(likely >= SUPPRESSION.score, likely * logistic(cells[:, :, BOX:]), 0)
    flat = scores.transpose(0, 1, 3, 4, 2).reshape(n, -1, scores.shape[2])  # (N, A, C, H, W) -> (N, A * H * W, C)
    return boxes.reshape(n, -1, 4), flat


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    sigmoid: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return sigmoid


TASKS.add("detect_yolo", DetectYolo("detect_yolo", mean_precision, "val"))
