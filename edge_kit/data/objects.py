"""Objects in a picture, each in a box, and how many pictures' worth of them become one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.images import Image
from edge_kit.core.tensors import Array


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of one picture.

    Attributes:
        boxes: (K, 4) float32, x1, y1, x2, y2 in pixels.
        labels: (K,) int64, 0 for the first class.
        ignored: (K,) bool: those that neither count as found nor as missed, VOC's difficult ones and COCO's crowds.
        weights: (K,) float32, what each counts in training, 1 but for mixed pictures.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, boxes: Sequence[Sequence[float]], labels: Sequence[int], ignored: Sequence[bool]) -> Objects:
        """From lists of a reader; `boxes` in pixels."""
        return cls(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(labels, np.int64),
            np.array(ignored, np.bool_),
            np.ones(len(labels), np.float32),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Array) -> Objects:
        """Those at these places, or where this mask is true."""
        return Objects(self.boxes[places], self.labels[places], self.ignored[places], self.weights[places])

    def moved(self, right: float, down: float) -> Objects:
        """The same, so many pixels away."""
        shift = np.array([right, down, right, down], np.float32)
        return Objects(self.boxes + shift, self.labels, self.ignored, self.weights)

    def within(self, width: int, height: int) -> Objects:
        """Cut off at the picture's border."""
        top = np.array([width, height, width, height], np.float32)
        return Objects(np.clip(self.boxes, 0, top), self.labels, self.ignored, self.weights)

    def mirrored(self, width: int) -> Objects:
        """As they lie in a picture whose left is right."""
        boxes = self.boxes.copy()
        boxes[:, [0, 2]] = width - self.boxes[:, [2, 0]]
        return Objects(boxes, self.labels, self.ignored, self.weights)

    def weighted(self, weight: float) -> Objects:
        """The same, counting so much."""
        return Objects(self.boxes, self.labels, self.ignored, self.weights * np.float32(weight))

    def and_also(self, others: Objects) -> Objects:
        """These and others."""
        return Objects(
            np.concatenate([self.boxes, others.boxes]),
            np.concatenate([self.labels, others.labels]),
            np.concatenate([self.ignored, others.ignored]),
            np.concatenate([self.weights, others.weights]),
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        image: (H, W, 3) uint8, BGR.
    """

    image: Image
    objects: Objects

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image.shape[0], self.image.shape[1]


def batch_of(images: Sequence[Array], objects: Sequence[Objects], sizes: Sequence[tuple[int, int]]) -> dict[str, Array]:
    """One batch of pictures with unequal numbers of objects.

    Args:
        images: Prepared, all of one shape.
        objects: In pixels of the picture that was prepared.
        sizes: (height, width) of those pictures.

    Returns:
        `image`; `size` (N, 2) int64; and of the objects, filled up to the most that a picture has, at least one:
        `boxes` (N, M, 4) float32 in shares of the sides, `label` (N, M) int64, `ignored` (N, M) bool and `weight`
        (N, M) float32, which is 0 where there is no object.
    """
    most = max(1, *(len(one) for one in objects))
    shape = (len(objects), most)
    boxes, weight = np.zeros((*shape, 4), np.float32), np.zeros(shape, np.float32)
    label, ignored = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for i, (one, (height, width)) in enumerate(zip(objects, sizes, strict=True)):
        k = len(one)
        boxes[i, :k] = one.boxes / np.array([width, height, width, height], np.float32)
        label[i, :k], ignored[i, :k], weight[i, :k] = one.labels, one.ignored, one.weights
    return {
        "image": np.stack(images),
        "boxes": boxes,
        "label": label,
        "ignored": ignored,
        "weight": weight,
        "size": np.array(sizes, np.int64),
    }
