"""How a picture of one line of text becomes a network's input; kept in the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData
from edge_kit.core.images import Image, resize_image

IMAGE = "image"  # the input of a graph that takes lines
MIDDLE = 127.5  # taken off; nothing is divided by
LUMA = np.array([7471, 38470, 19595], np.uint32)  # of 65536, of B, G and R: ITU-R 601, rounded as Pillow rounds
WIDEST = 8192


@dataclass(frozen=True, slots=True)
class LinePreprocess:
    """Makes a line grey and as high as the network reads, and fills it up on the right to one width.

    A picture keeps its own width, as published; one that is wider than the network reads is squeezed to fit.
    Engines then see one shape: what they do with an open width differs.

    Attributes:
        width: Of the network's input, in pixels; a multiple of 8, one step of the answer each.
        height: Likewise.

    Source: PaddlePaddle/models release/1.6, PaddleCV/ocr_recognition.
    """

    KIND: ClassVar[str] = "line"

    width: int
    height: int = 48

    def __post_init__(self) -> None:
        if not 8 <= self.width <= WIDEST or self.width % 8 or self.height < 1:
            raise ValueError(f"width must be a multiple of 8 up to {WIDEST}, got {self.width} x {self.height}")

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {
            "kind": self.KIND,
            "channel_order": "grey",
            "range": [0, 255],
            "mean": MIDDLE,
            "width": self.width,
            "height": self.height,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> LinePreprocess:
        """Read back what `as_dict` wrote."""
        return cls(int(document["width"]), int(document["height"]))

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """Prepare one picture.

        Args:
            image: (H, W, 3) uint8, BGR as OpenCV reads it, or (H, W) grey. OpenCV is needed only where the size must
                change.

        Returns:
            (1, height, width) in -127.5..127.5, without the batch axis; 0 where there is no picture.
        """
        if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.dtype != np.uint8 or not image.size:
            raise BadData(f"a line must be (H, W, 3) or (H, W) uint8 and not empty, got {image.shape} {image.dtype}")
        grey = image if image.ndim == 2 else ((image @ LUMA + 0x8000) >> 16).astype(np.uint8)
        size = (min(grey.shape[1], self.width), self.height)
        if grey.shape[::-1] != size:
            grey = resize_image(np.ascontiguousarray(grey), size)
        line = np.zeros((1, self.height, self.width), np.float32)
        line[0, :, : size[0]] = grey.astype(np.float32) - MIDDLE
        return line
