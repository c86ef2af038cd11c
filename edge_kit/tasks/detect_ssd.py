"""The single shot detector: boxes that are corrections of a fixed set of priors, and a softmax over the classes.

Source: Liu et al. 2016, arXiv:1512.02325; the operators prior_box, ssd_loss and detection_output of PaddlePaddle 1.6.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.boxes import Detections, Suppression, detections, overlaps
from edge_kit.core.errors import BadData
from edge_kit.core.tensors import Array, Tensors
from edge_kit.tasks.detect import Detector, check_outputs
from edge_kit.tasks.task import TASKS
from edge_kit.tasks.voc_precision import mean_precision

OUTPUTS = ("loc", "conf")
SIDE = 300  # that the sizes below are of
SIZES = ((60, None), (105, 150), (150, 195), (195, 240), (240, 285), (285, 300))  # of the priors of each map
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2, 3))
HALVINGS = (4, 5, 6, 7, 8, 9)  # from the input's side to that of each map, rounded up each time
VARIANCES = np.array([0.1, 0.1, 0.2, 0.2], np.float32)
MATCHED = 0.5  # overlap with an object from which on a prior is to find it
NEGATIVES = 3  # most priors of background that a prior with an object brings with it
SUPPRESSION = Suppression(score=0.01, overlap=0.45, candidates=400, kept=200)


def shapes_of(place: int) -> list[tuple[float, float]]:
    """Widths and heights of the priors of a map, in shares of the side, in the order of its channels."""
    (least, most), ratios = SIZES[place], [1.0]
    for ratio in RATIOS[place]:
        ratios += [float(ratio), 1 / ratio]
    shapes = [(least * ratio**0.5, least / ratio**0.5) for ratio in ratios]
    if most is not None:
        shapes.append(((least * most) ** 0.5,) * 2)
    return [(width / SIDE, height / SIDE) for width, height in shapes]


@cache
def priors(side: int) -> NDArray[np.float32]:
    """Every prior of a picture of that side, (P, 4): centre x, y, width and height in shares of the side."""
    rows = []
    for place, halvings in enumerate(HALVINGS):
        size = -(-side // 2**halvings)
        for y, x in np.ndindex(size, size):
            rows += [((x + 0.5) / size, (y + 0.5) / size, *shape) for shape in shapes_of(place)]
    return np.array(rows, np.float32)


def corners(centred: Array) -> Array:
    """(..., 4) centre and size -> (..., 4) x1, y1, x2, y2."""
    middle, half = centred[..., :2], centred[..., 2:] / 2
    return np.concatenate([middle - half, middle + half], axis=-1)


def encode(boxes: Array, centred: Array) -> Array:
    """Corrections that lead from priors to boxes, (..., 4) each; boxes are x1, y1, x2, y2, of some extent."""
    middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    shifts = (middle - centred[..., :2]) / centred[..., 2:]
    growth = np.log(np.maximum(size, 1e-6) / centred[..., 2:])
    corrections: Array = np.concatenate([shifts, growth], axis=-1) / VARIANCES
    return corrections


def decode(loc: Array, centred: Array) -> Array:
    """The boxes that corrections lead to, (..., 4) x1, y1, x2, y2, cut off at the picture's border."""
    change = loc * VARIANCES
    middle = centred[..., :2] + change[..., :2] * centred[..., 2:]
    size = centred[..., 2:] * np.exp(np.minimum(change[..., 2:], 10))
    return np.clip(corners(np.concatenate([middle, size], axis=-1)), 0, 1)


def match(centred: Array, boxes: Array) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which object each prior is to find.

    The most overlapping pair of object and prior belongs together, then the next one of those that are left, until
    every object has a prior; then every other prior belongs to the object that it overlaps most, if by enough.

    Args:
        centred: (P, 4) priors.
        boxes: (K, 4) objects.

    Returns:
        (P,) places of objects, -1 for none, and the largest overlap of each prior with any.
    """
    chosen = np.full(len(centred), -1, np.int64)
    if not len(boxes):
        return chosen, np.zeros(len(centred), np.float32)
    shares = overlaps(boxes, corners(centred))
    most = shares.max(axis=0)
    enough = most > MATCHED
    chosen[enough] = shares.argmax(axis=0)[enough]
    left = shares.copy()
    for _ in range(len(boxes)):
        row, column = np.unravel_index(int(left.argmax()), left.shape)
        if left[row, column] <= 0:
            break
        chosen[column] = row
        left[row], left[:, column] = 0, 0
    return chosen, most.astype(np.float32)


class DetectSsd(Detector):
    """`loc` (N, P, 4) and `conf` (N, P, 1 + classes), background first; see `Detector`."""

    def loss(self, net: Any, batch: Any) -> Any:
        """Cross entropy of priors with objects and the worst of those without, and smooth L1 of the corrections."""
        import paddle
        from paddle.nn import functional

        loc, conf = net(batch["image"])
        wanted, label, candidates = (paddle.to_tensor(one) for one in _targets(batch))
        entropy = functional.cross_entropy(conf, label, reduction="none").squeeze(-1)  # (N, P)
        positive = (label > 0).squeeze(-1)
        counted = (positive | _worst(entropy.detach(), candidates, positive)).astype("float32")
        distance = functional.smooth_l1_loss(loc, wanted, reduction="none").sum(-1)  # (N, P, 4) -> (N, P)
        found = positive.astype("float32")
        total = (entropy * counted).sum() + (distance * found).sum()
        return total / found.sum().clip(1.0)

    def classes(self, outputs: Tensors) -> int:
        """See `Detector`."""
        return int(outputs["conf"].shape[2]) - 1

    def detect(self, outputs: Tensors, side: int) -> list[Detections]:
        """See `Detector`."""
        check_outputs(outputs, OUTPUTS)
        loc, conf = (outputs[name] for name in OUTPUTS)
        centred = priors(side)
        if loc.ndim != 3 or loc.shape[1:] != centred.shape or conf.shape[:2] != loc.shape[:2]:
            raise BadData(f"a picture of side {side} has {len(centred)} priors; got {loc.shape} and {conf.shape}")
        powers = np.exp(conf - conf.max(axis=-1, keepdims=True))
        shares = powers / powers.sum(axis=-1, keepdims=True)
        boxes = decode(loc, centred)
        return [detections(box, share[:, 1:], SUPPRESSION) for box, share in zip(boxes, shares, strict=True)]


def _targets(batch: Any) -> tuple[Array, Array, Array]:
    """Wanted corrections (N, P, 4), wanted classes (N, P, 1), 0 for background, and who may be background (N, P)."""
    centred = priors(int(batch["image"].shape[2]))
    boxes, labels, weight = (batch[name].numpy() for name in ("boxes", "label", "weight"))
    wanted = np.zeros((len(boxes), *centred.shape), np.float32)
    label = np.zeros((len(boxes), len(centred), 1), np.int64)
    candidates = np.zeros((len(boxes), len(centred)), np.bool_)
    for i, there in enumerate(weight > 0):
        chosen, most = match(centred, boxes[i][there])
        own = chosen >= 0
        wanted[i, own] = encode(boxes[i][there][chosen[own]], centred[own])
        label[i, own, 0] = labels[i][there][chosen[own]] + 1
        candidates[i] = ~own & (most < MATCHED)
    return wanted, label, candidates


def _worst(entropy: Any, candidates: Any, positive: Any) -> Any:
    """The priors of background that are taken for something else most, some to each one with an object; (N, P)."""
    import paddle

    losses = paddle.where(candidates, entropy, paddle.full_like(entropy, -1.0))
    rank = paddle.argsort(paddle.argsort(losses, axis=1, descending=True), axis=1)
    most = NEGATIVES * positive.astype("int64").sum(axis=1, keepdim=True)
    return candidates & (rank < most)


TASKS.add("detect_ssd", DetectSsd("detect_ssd", mean_precision, "test"))
