"""Random changes to training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge_kit.core.images import Image


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
