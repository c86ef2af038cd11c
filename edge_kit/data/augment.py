"""Random changes to training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge_kit.core.images import Image
from edge_kit.core.scenes import IGNORED
from edge_kit.core.tensors import Array


@dataclass(frozen=True, slots=True)
class RandomAreaCrop:
    """A crop of random area and aspect, resized to the network's input, perhaps mirrored.

    Attributes:
        area: Smallest and largest share of the picture's area.
        aspect: Smallest and largest width over height; its square root is drawn uniformly, as published.
        flip: Probability of mirroring; 0 where left and right carry meaning, as in digits.

    Source: PaddlePaddle/models release/1.6, PaddleCV/image_classification, see shared facts in the zoo's sources.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __call__(self, image: Image, side: int, rng: np.random.Generator) -> Image:
        """Cut from a (H, W, 3) picture; the result is (side, side, 3)."""
        height, width = image.shape[:2]
        aspect = float(np.sqrt(rng.uniform(*self.aspect)))
        # The largest area share at which a crop of this aspect still fits.
        fits = min(width / height / aspect**2, height / width * aspect**2)
        share = rng.uniform(min(self.area[0], fits), min(self.area[1], fits))
        target = np.sqrt(height * width * share)
        w, h = (
            min(width, max(1, round(target * aspect))),
            min(height, max(1, round(target / aspect))),
        )
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        crop: Image = image[top : top + h, left : left + w]
        if crop.shape[:2] != (side, side):
            crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR)
        return crop[:, ::-1] if rng.random() < self.flip else crop


@dataclass(frozen=True, slots=True)
class EnlargedCrop:
    """The whole picture enlarged, and a square of the network's input cut from it at random; no mirroring.

    Attributes:
        enlarge: Side of the enlarged picture over that of the crop.

    Source: PaddlePaddle/models release/1.6, PaddleCV/PaddleGAN, CycleGAN.
    """

    enlarge: float = 286 / 256

    def __call__(self, image: Image, side: int, rng: np.random.Generator) -> Image:
        """Cut from a (H, W, 3) picture; the result is (side, side, 3)."""
        large = round(side * self.enlarge)
        enlarged: Image = cv2.resize(image, (large, large), interpolation=cv2.INTER_CUBIC)
        top, left = (int(start) for start in rng.integers(large - side + 1, size=2))
        return enlarged[top : top + side, left : left + side]


@dataclass(frozen=True, slots=True)
class SceneCrop:
    """A random part of a scene at a random scale, with its labels, perhaps mirrored.

    What lies beyond the scene is 0 and its label `IGNORED`.

    Attributes:
        height: Of the part, in pixels.
        width: Likewise.
        scale: Smallest and largest that the scene is enlarged by, drawn uniformly.
        flip: Probability of mirroring; 0 where left and right carry meaning, as in digits.

    Source: PaddlePaddle/models release/1.6, PaddleCV/icnet.
    """

    height: int
    width: int
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5

    def __call__(self, image: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Cut from (H, W, 3) float32, its mean taken off, and (H, W) uint8; the results are (height, width)."""
        if rng.random() < self.flip:
            image, labels = image[:, ::-1], labels[:, ::-1]
        scale = rng.uniform(*self.scale)
        sides = [max(1, round(side * scale)) for side in image.shape[:2]]
        size = (sides[1], sides[0])
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        below, right = (max(wanted - side, 0) for wanted, side in zip((self.height, self.width), sides, strict=True))
        image = np.pad(image, ((0, below), (0, right), (0, 0)))
        labels = np.pad(labels, ((0, below), (0, right)), constant_values=IGNORED)
        top = int(rng.integers(image.shape[0] - self.height + 1))
        left = int(rng.integers(image.shape[1] - self.width + 1))
        part = np.s_[top : top + self.height, left : left + self.width]
        return image[part], labels[part]
