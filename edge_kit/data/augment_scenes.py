"""Random changes to training pictures with boxes, in the order of the published readers.

Source: PaddlePaddle/models release/1.6, PaddleCV/ssd and PaddleCV/yolov3, see shared facts in the zoo's sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge_kit.core.boxes import overlaps
from edge_kit.core.images import Image
from edge_kit.core.tensors import Array
from edge_kit.data.objects import Objects, Scene

TRIALS = 50
MIXED = 1.5  # both parameters of the Beta distribution that two pictures are mixed by


@dataclass(frozen=True, slots=True)
class Distortion:
    """Random colours.

    Attributes:
        probability: Of each of the changes.
        brightness: Largest change either way, as a factor around 1.
        contrast: Likewise.
        saturation: Likewise.
        hue: Largest shift either way, in degrees; 0 for none.
    """

    probability: float = 0.5
    brightness: float = 0.125
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 25.4  # 18 of Pillow's 255 steps

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Change a (H, W, 3) uint8 BGR picture; contrast comes first or last of the colours."""
        changes = [self._contrast, self._saturate, self._turn_hue] if rng.random() < 0.5 else [
            self._saturate, self._turn_hue, self._contrast,
        ]  # fmt: skip
        for change in (self._brighten, *changes):
            if rng.random() < self.probability:
                image = change(image, rng)
        return image

    def _brighten(self, image: Image, rng: np.random.Generator) -> Image:
        return _rounded(image * _factor(self.brightness, rng))

    def _contrast(self, image: Image, rng: np.random.Generator) -> Image:
        mean = float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean())
        return _rounded(mean + (image - mean) * _factor(self.contrast, rng))

    def _saturate(self, image: Image, rng: np.random.Generator) -> Image:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None].astype(np.float32)  # (H, W) -> (H, W, 1)
        return _rounded(grey + (image - grey) * _factor(self.saturation, rng))

    def _turn_hue(self, image: Image, rng: np.random.Generator) -> Image:
        if not self.hue:
            return image
        turned = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        shift = rng.uniform(-self.hue, self.hue) / 2  # OpenCV counts hue in steps of two degrees
        turned[..., 0] = np.mod(turned[..., 0] + round(shift), 180)
        back: Image = cv2.cvtColor(turned, cv2.COLOR_HSV2BGR)
        return back


def _factor(most: float, rng: np.random.Generator) -> np.float32:
    return np.float32(rng.uniform(1 - most, 1 + most))


def _rounded(values: Array) -> Image:
    rounded: Image = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return rounded


@dataclass(frozen=True, slots=True)
class SceneAugment:
    """What is done to one training picture, from the first to the last.

    Attributes:
        mixup_epochs: Epochs in which two pictures are mixed.
        distort: Changes of colour; None for none.
        expand: Largest factor that the canvas grows by, half of the time; 1 for never.
        fill: Of the grown canvas, BGR in 0..255.
        least: Least overlaps with an object that a crop may ask for, each as likely; none for no crops.
        scale: Smallest and largest share of the sides of a crop.
        aspect: Smallest and largest width over height of a crop, relative to the picture's.
        flip: Probability of mirroring; 0 where left and right carry meaning, as in digits.
        sides: Of the network's input, one drawn for each batch; none for that of the preprocessing.
        interpolations: One drawn for each picture; none for that of the preprocessing.
    """

    mixup_epochs: int = 0
    distort: Distortion | None = None
    expand: float = 1.0
    fill: tuple[float, float, float] = (127.5, 127.5, 127.5)
    least: tuple[float, ...] = ()
    scale: tuple[float, float] = (0.3, 1.0)
    aspect: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    sides: tuple[int, ...] = ()
    interpolations: tuple[str, ...] = ()

    def mixes(self, epoch: int) -> bool:
        """Whether pictures of this epoch are mixed."""
        return epoch < self.mixup_epochs

    def __call__(self, scene: Scene, rng: np.random.Generator) -> Scene:
        """Change one picture; boxes may be outside of it by nothing, and objects may be gone."""
        if self.distort is not None:
            scene = Scene(self.distort(scene.image, rng), scene.objects)
        if self.expand > 1 and rng.random() < 0.5:
            scene = self._expanded(scene, rng)
        if self.least:
            scene = self._cropped(scene, rng)
        if rng.random() < self.flip:
            mirrored = np.ascontiguousarray(scene.image[:, ::-1])
            scene = Scene(mirrored, scene.objects.mirrored(scene.size[1]))
        return scene

    def _expanded(self, scene: Scene, rng: np.random.Generator) -> Scene:
        """On a larger canvas, at any place of it."""
        factor = rng.uniform(1, self.expand)
        height, width = scene.size
        tall, wide = int(height * factor), int(width * factor)
        top, left = int(rng.integers(tall - height + 1)), int(rng.integers(wide - width + 1))
        canvas = np.empty((tall, wide, 3), np.uint8)
        canvas[:] = np.rint(self.fill)
        canvas[top : top + height, left : left + width] = scene.image
        return Scene(canvas, scene.objects.moved(left, top))

    def _cropped(self, scene: Scene, rng: np.random.Generator) -> Scene:
        """The whole picture, or one of the crops that overlap enough with some object, each kind as likely."""
        crops = [crop for least in self.least if (crop := self._crop(scene, least, rng)) is not None]
        chosen = int(rng.integers(len(crops) + 1))
        if chosen == len(crops):
            return scene
        left, top, right, bottom = crops[chosen]
        objects = scene.objects.moved(-left, -top)
        centres = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2
        width, height = right - left, bottom - top
        inside = ((centres > 0) & (centres < [width, height])).all(axis=1)
        image = np.ascontiguousarray(scene.image[top:bottom, left:right])
        return Scene(image, objects.take(inside).within(width, height))

    def _crop(self, scene: Scene, least: float, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of a crop that holds some object's centre; None where no trial gave one."""
        height, width = scene.size
        boxes = scene.objects.boxes
        for _ in range(TRIALS):
            scale = rng.uniform(*self.scale)
            lowest, highest = max(self.aspect[0], scale**2), min(self.aspect[1], 1 / scale**2)
            aspect = np.sqrt(rng.uniform(lowest, highest))
            w, h = max(1, int(width * scale * aspect)), max(1, int(height * scale / aspect))
            left, top = int(rng.integers(max(width - w, 0) + 1)), int(rng.integers(max(height - h, 0) + 1))
            crop = (left, top, min(left + w, width), min(top + h, height))
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            inside = ((centres > crop[:2]) & (centres < crop[2:])).all(axis=1)
            if inside.any() and overlaps(boxes, np.array([crop], np.float32)).max() >= least:
                return crop
        return None


def mixed(first: Scene, second: Scene, rng: np.random.Generator) -> Scene:
    """Two pictures over each other, each at the top left of a canvas that holds both; objects count by their share.

    Source: Zhang et al. 2019, arXiv:1902.04103, section 3.1.
    """
    share = float(rng.beta(MIXED, MIXED))
    height, width = (max(sides) for sides in zip(first.size, second.size, strict=True))
    canvas = np.zeros((height, width, 3), np.float32)
    parts: Sequence[tuple[Scene, float]] = ((first, share), (second, 1 - share))
    for scene, weight in parts:
        canvas[: scene.size[0], : scene.size[1]] += np.float32(weight) * scene.image
    objects: list[Objects] = [scene.objects.weighted(weight) for scene, weight in parts]
    return Scene(np.rint(canvas).astype(np.uint8), objects[0].and_also(objects[1]))
