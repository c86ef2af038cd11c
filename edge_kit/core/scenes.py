"""How a whole scene becomes a network's input, and where the answers lie in it; kept in the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData
from edge_kit.core.images import Image, resize_image
from edge_kit.core.tensors import Array

IMAGE = "image"  # the input of a graph that takes scenes
IGNORED = 255  # the label of a pixel that counts for nothing
CITYSCAPES_MEAN = (103.939, 116.779, 123.68)  # BGR, in 0..255


@dataclass(frozen=True, slots=True)
class ScenePreprocess:
    """Stretches a picture to one size where it has another, and takes the mean colour off; nothing is cut away.

    Attributes:
        height: Of the network's input, in pixels.
        width: Likewise.
        mean: Of the channels in BGR order, in 0..255.

    Source: PaddlePaddle/models release/1.6, PaddleCV/icnet.
    """

    KIND: ClassVar[str] = "scene"

    height: int
    width: int
    mean: tuple[float, float, float] = CITYSCAPES_MEAN

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"height and width must be at least 1, got {self.height} and {self.width}")

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "channel_order": "BGR", "range": [0, 255], **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ScenePreprocess:
        """Read back what `as_dict` wrote."""
        blue, green, red = (float(value) for value in document["mean"])
        return cls(int(document["height"]), int(document["width"]), (blue, green, red))

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """Prepare one picture.

        Args:
            image: (H, W, 3) uint8, BGR as OpenCV reads it. OpenCV is needed only where the size must change.

        Returns:
            (3, height, width), without the batch axis.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise BadData(f"an image must be (H, W, 3) uint8 and not empty, got {image.shape} {image.dtype}")
        if image.shape[:2] != (self.height, self.width):
            image = resize_image(image, (self.width, self.height))
        return planes(self.without_mean(image))

    def without_mean(self, image: Image) -> NDArray[np.float32]:
        """(H, W, 3) uint8 BGR -> the same in float32 around 0."""
        centred: NDArray[np.float32] = image.astype(np.float32) - np.asarray(self.mean, np.float32)
        return centred


def planes(image: Array) -> Array:
    """(H, W, C) -> (C, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def grow(maps: Array, height: int, width: int) -> NDArray[np.float32]:
    """Bilinear, the corners' centres on each other; (..., h, w) -> (..., height, width) float32."""
    down, across = (_weights(size, wanted) for size, wanted in zip(maps.shape[-2:], (height, width), strict=True))
    grown: NDArray[np.float32] = down @ maps.astype(np.float32) @ across.T
    return grown


def _weights(size: int, wanted: int) -> NDArray[np.float32]:
    """What each of `size` points counts in each of `wanted` ones between them; (wanted, size)."""
    places = np.linspace(0, size - 1, wanted)
    left = np.minimum(places.astype(int), max(size - 2, 0))
    weights = np.zeros((wanted, size), np.float32)
    rows, right = np.arange(wanted), np.minimum(left + 1, size - 1)
    weights[rows, left] = 1 - (places - left)
    weights[rows, right] += (places - left).astype(np.float32)
    return weights
