"""Boxes around objects: overlaps, and the strongest of those that overlap; NumPy only, the same for every runtime.

A box is x1, y1, x2, y2 with the origin at the top left, in pixels or in shares of the picture's sides; its width is
x2 - x1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.tensors import Array

Boxes = Array
"""(K, 4) of floats: x1, y1, x2, y2."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one picture, the strongest first.

    Attributes:
        boxes: (K, 4) in shares of the picture's sides.
        scores: (K,) in 0..1.
        labels: (K,) places of the classes among the bundle's labels.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def at_least(self, score: float) -> Detections:
        """Those of so high a score."""
        kept = self.scores >= score
        return Detections(self.boxes[kept], self.scores[kept], self.labels[kept])


@dataclass(frozen=True, slots=True)
class Suppression:
    """How overlapping boxes are thinned out.

    Attributes:
        score: Boxes below are no detections.
        overlap: Of two boxes of a class that overlap by more, the weaker one goes; intersection over union.
        candidates: Boxes of a class that are looked at, the strongest.
        kept: Detections of a picture, of all classes together.

    Source: the operator multiclass_nms of PaddlePaddle 1.6.
    """

    score: float
    overlap: float
    candidates: int
    kept: int


def areas(boxes: Boxes) -> Boxes:
    """(..., 4) -> (...); 0 where a side is negative."""
    sides = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None)
    product: Boxes = sides[..., 0] * sides[..., 1]
    return product


def intersections(first: Boxes, second: Boxes) -> Boxes:
    """Areas that each of (K, 4) shares with each of (M, 4); (K, M)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return areas(np.concatenate([low, high], axis=-1))


def overlaps(first: Boxes, second: Boxes) -> Boxes:
    """Intersection over union of each of (K, 4) with each of (M, 4); (K, M), 0 of two empty boxes."""
    common = intersections(first, second)
    together = areas(first)[:, None] + areas(second)[None] - common
    shares: Boxes = common / np.maximum(together, np.finfo(common.dtype).tiny)
    return shares


def strongest(boxes: Boxes, scores: Array, overlap: float) -> NDArray[np.intp]:
    """Places of the boxes that are left when each, from the strongest on, removes those it overlaps by more.

    Args:
        boxes: (K, 4).
        scores: (K,); of equal ones the first counts as stronger.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[overlaps(boxes[best : best + 1], boxes[order])[0] <= overlap]
    return np.array(kept, np.intp)


def detections(boxes: Boxes, scores: Array, how: Suppression) -> Detections:
    """Thin out the boxes of one picture, class by class.

    Args:
        boxes: (K, 4).
        scores: (K, classes).
    """
    found: list[tuple[NDArray[np.intp], int]] = []
    for label in range(scores.shape[1]):
        own = scores[:, label]
        places = np.flatnonzero(own > how.score)
        if len(places) > how.candidates:
            places = np.sort(places[np.argsort(-own[places], kind="stable")[: how.candidates]])
        if len(places):
            found.append((places[strongest(boxes[places], own[places], how.overlap)], label))
    places = np.concatenate([np.zeros(0, np.intp), *(one for one, _ in found)])
    labels = np.repeat([label for _, label in found], [len(one) for one, _ in found]).astype(np.int64)
    best = np.argsort(-scores[places, labels], kind="stable")[: how.kept]
    places, labels = places[best], labels[best]
    return Detections(boxes[places].astype(np.float32), scores[places, labels].astype(np.float32), labels)
