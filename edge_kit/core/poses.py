"""How a person in a picture becomes a network's input, and where the answers lie in the picture; kept in the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData, MissingDependency
from edge_kit.core.images import IMAGENET_MEAN, IMAGENET_STD, Image
from edge_kit.core.tensors import Array

IMAGE = "image"  # the input of a graph that takes one person
STRIDE = 4  # pixels of the input to a cell of a heat map
ROOM = 1.25  # what is seen around a box, over the box
MOST = 1e6  # pixels of a box's side

Matrix = NDArray[np.float64]
"""(2, 3): leads from (x, y, 1) in one picture to (x, y) in another."""


@dataclass(frozen=True, slots=True)
class PosePreprocess:
    """Cuts a person out by a box, with room around, at the network's size; normalises as ImageNet's networks want it.

    Attributes:
        height: Of the network's input, in pixels; a multiple of `STRIDE`.
        width: Likewise.
        mean: Of the channels in RGB order, in 0..1.
        std: Likewise.

    Source: PaddlePaddle/models release/1.6, PaddleCV/human_pose_estimation, which gave blue to red by mistake.
    """

    KIND: ClassVar[str] = "pose"

    height: int
    width: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.height % STRIDE or self.width % STRIDE:
            raise ValueError(f"height and width must be multiples of {STRIDE}, got {self.height} and {self.width}")

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "channel_order": "RGB", "range": [0, 255], "stride": STRIDE, **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PosePreprocess:
        """Read back what `as_dict` wrote."""
        (a, b, c), (d, e, f) = ([float(value) for value in document[key]] for key in ("mean", "std"))
        return cls(int(document["height"]), int(document["width"]), (a, b, c), (d, e, f))

    def __call__(self, image: Image, box: Array) -> NDArray[np.float32]:
        """Prepare one person.

        Args:
            image: (H, W, 3) uint8, BGR as OpenCV reads it.
            box: x, y, width and height in pixels.

        Returns:
            (3, height, width), without the batch axis.

        Raises:
            BadData: It is no picture, or the box is empty.
        """
        return self.cut(image, self.matrix(box))

    def matrix(self, box: Array, scale: float = 1.0, rotation_deg: float = 0.0) -> Matrix:
        """From the picture to the network's input: the box's centre to the centre, the whole box within.

        Args:
            box: x, y, width and height in pixels.
            scale: What is seen is so many times as large.
            rotation_deg: The person is turned by that, clockwise as one looks at it.
        """
        x, y, width, height = (float(value) for value in box)
        if not (0 < width < MOST and 0 < height < MOST):
            raise BadData(f"a person's box has a width and a height in pixels, got {width:g} and {height:g}")
        seen = ROOM * scale * max(width, height * self.width / self.height)
        angle, zoom = np.deg2rad(rotation_deg), self.width / seen
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.array([x + width / 2, y + height / 2])
        return np.column_stack([turn, np.array([self.width / 2, self.height / 2]) - turn @ centre])

    def cut(self, image: Image, matrix: Matrix) -> NDArray[np.float32]:
        """The input that a matrix leads to; black where the picture ends."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise BadData(f"an image must be (H, W, 3) uint8 and not empty, got {image.shape} {image.dtype}")
        try:
            import cv2
        except ImportError:
            raise MissingDependency("cutting out a person", "opencv-python-headless", "images") from None
        part = cv2.warpAffine(image, matrix, (self.width, self.height), flags=cv2.INTER_LINEAR)
        mean, std = (np.asarray(value, np.float32) * np.float32(255) for value in (self.mean, self.std))
        normalised = (part[..., ::-1].astype(np.float32) - mean) / std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def move(points: Array, matrix: Matrix) -> Array:
    """(..., 2) points through a (2, 3) matrix."""
    moved: Array = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def invert(matrix: Matrix) -> Matrix:
    """The way back."""
    turn = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turn, -turn @ matrix[:, 2]])


def peaks(maps: Array) -> tuple[NDArray[np.float64], Array]:
    """Where heat maps are highest, a quarter of a cell towards the higher neighbour.

    Args:
        maps: (..., h, w).

    Returns:
        Points x, y in cells, (..., 2), and their heights (...,).

    Source: Xiao et al. 2018, arXiv:1804.06208, section 2.
    """
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, height, width)
    places = flat.reshape(len(flat), -1).argmax(axis=1)
    rows, columns = places // width, places % width
    every = np.arange(len(flat))
    points = np.stack([columns, rows], axis=1).astype(np.float64)
    padded = np.pad(flat, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[every, rows + 1, columns + 2] - padded[every, rows + 1, columns]
    down = padded[every, rows + 2, columns + 1] - padded[every, rows, columns + 1]
    inside = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    points += 0.25 * np.sign(np.stack([across, down], axis=1)) * inside[:, None]
    return points.reshape(*maps.shape[:-2], 2), flat[every, rows, columns].reshape(maps.shape[:-2])
