"""How a clip becomes a network's input: some of its frames, one a segment; kept in the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from edge_kit.core.errors import BadData
from edge_kit.core.images import IMAGENET_MEAN, IMAGENET_STD, Image, ImagePreprocess, resize_image
from edge_kit.core.tensors import Array

CLIP = "clip"  # input of a graph that takes clips
ASPECT = 4 / 3  # long side over short side of a resized frame, whatever it was before


@dataclass(frozen=True, slots=True)
class ClipPreprocess:
    """Picks a frame a segment, resizes to a fixed aspect, cuts the centre, normalises.

    Attributes:
        segments: Equal parts of a clip; the graph takes a frame of each.
        resize_short: The shorter side of a frame after resizing, in pixels; a frame that has it is left as it is.
        crop: Side of the square cut from each frame, in pixels.
        mean: Of the channels in RGB order, in 0..1.
        std: Likewise.

    Source: PaddlePaddle/models release/1.6, PaddleCV/PaddleVideo, the reader of Kinetics.
    """

    KIND: ClassVar[str] = "clip"

    segments: int
    resize_short: int
    crop: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise ValueError(f"segments must be at least 1, got {self.segments}")
        self._frame()

    def _frame(self) -> ImagePreprocess:
        return ImagePreprocess(self.resize_short, self.crop, self.mean, self.std)

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "channel_order": "RGB", "range": [0, 255], **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ClipPreprocess:
        """Read back what `as_dict` wrote."""
        frame = ImagePreprocess.from_dict(document)
        return cls(int(document["segments"]), frame.resize_short, frame.crop, frame.mean, frame.std)

    def __call__(self, frames: Sequence[Image]) -> Array:
        """Prepare one clip.

        Args:
            frames: Of the whole clip in order, (H, W, 3) uint8, BGR; all of one size.

        Returns:
            (segments, 3, crop, crop) float32.

        Raises:
            BadData: There is no frame.
        """
        chosen = [self.resized(frames[i]) for i in self.places(len(frames))]
        top, left = ((side - self.crop) // 2 for side in chosen[0].shape[:2])
        return self.finish([one[top : top + self.crop, left : left + self.crop] for one in chosen])

    def places(self, count: int, draw: Callable[[int], int] | None = None) -> list[int]:
        """Which of `count` frames to take: the middle one of each segment.

        Args:
            draw: Chooses instead, from the length of a segment, as training does.

        Raises:
            BadData: There is no frame.
        """
        if count < 1:
            raise BadData("a clip has no frame")
        length = count // self.segments
        if not length:  # shorter than the segments are many: from the beginning once more
            return [i % count for i in range(self.segments)]
        choose = draw or (lambda length: (length - 1) // 2)
        return [i * length + choose(length) for i in range(self.segments)]

    def resized(self, frame: Image) -> Image:
        """A frame with the sides that are cut from; the aspect is not kept."""
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise BadData(f"a frame must be (H, W, 3) uint8 and not empty, got {frame.shape} {frame.dtype}")
        height, width = frame.shape[:2]
        if min(height, width) == self.resize_short:
            return frame
        short, long = self.resize_short, int(self.resize_short * ASPECT)
        return resize_image(frame, (short, long) if width < height else (long, short))

    def finish(self, frames: Sequence[Image]) -> Array:
        """Frames of the network's size, (crop, crop, 3) uint8 BGR -> (segments, 3, crop, crop) float32."""
        frame = self._frame()
        return np.stack([frame.normalise(one) for one in frames])
