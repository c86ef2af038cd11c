"""How a picture becomes a network's input; kept in the bundle, so that the board does what training did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData, MissingDependency, unknown_name
from edge_kit.core.tensors import Array, TensorSpec

Image = NDArray[np.uint8]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class CropPreprocess:
    """Resize and crop: all there is to do for a graph that takes pixels.

    Attributes:
        resize_short: The shorter side after resizing, in pixels.
        crop: Side of the square cut from the centre, in pixels; the network's input size.
    """

    KIND: ClassVar[str] = "crop"

    resize_short: int
    crop: int

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.resize_short:
            raise ValueError(f"crop must be in 1..{self.resize_short} (resize_short), got {self.crop}")

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "channel_order": "BGR", "range": [0, 255], **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CropPreprocess:
        """Read back what `as_dict` wrote."""
        return cls(int(document["resize_short"]), int(document["crop"]))

    def __call__(self, image: Image) -> Array:
        """Prepare one picture.

        Args:
            image: (H, W, 3) uint8, BGR as OpenCV reads it. OpenCV is needed only where the size must change.

        Returns:
            One sample of the network's input, without the batch axis.
        """
        return self.finish(self.fit(image))

    def fit(self, image: Image) -> Image:
        """Resize the shorter side and cut the centre; (crop, crop, 3) uint8, BGR."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise BadData(f"an image must be (H, W, 3) uint8 and not empty, got {image.shape} {image.dtype}")
        height, width = image.shape[:2]
        if min(height, width) != self.resize_short:
            scale = self.resize_short / min(height, width)
            size = (
                max(round(width * scale), self.resize_short),
                max(round(height * scale), self.resize_short),
            )
            image = _resize(image, size)
            height, width = image.shape[:2]
        top, left = (height - self.crop) // 2, (width - self.crop) // 2
        return image[top : top + self.crop, left : left + self.crop]

    def finish(self, image: Image) -> Array:
        """What is left to do once a picture has the network's size: nothing, the graph takes its pixels."""
        return np.ascontiguousarray(image)

    def picture(self, sample: Array) -> Image:
        """What `finish` was given, from what it gave; (H, W, 3) uint8, BGR."""
        return np.ascontiguousarray(sample, np.uint8)


@dataclass(frozen=True, slots=True)
class ImagePreprocess(CropPreprocess):
    """Resize, crop and normalise.

    Attributes:
        mean: Of the channels in RGB order, in 0..1.
        std: Likewise.

    Source: the evaluation protocol of PaddlePaddle/models release/1.6, PaddleCV/image_classification.
    """

    KIND: ClassVar[str] = "image"

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "channel_order": "RGB", "range": [0, 255], **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ImagePreprocess:
        """Read back what `as_dict` wrote."""
        mean, std = (tuple(float(x) for x in document[key]) for key in ("mean", "std"))
        if len(mean) != 3 or len(std) != 3:
            raise ValueError(f"mean and std have three channels, got {mean} and {std}")
        crop = int(document["crop"])
        return cls(int(document["resize_short"]), crop, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))

    def finish(self, image: Image) -> Array:
        """As `normalise`."""
        return self.normalise(image)

    def normalise(self, image: Image) -> NDArray[np.float32]:
        """(H, W, 3) uint8 BGR -> (3, H, W) float32 RGB, mean 0 and deviation 1 over ImageNet."""
        mean, std = self.in_pixels()
        rgb = (image[..., ::-1].astype(np.float32) - mean) / std
        return np.ascontiguousarray(rgb.transpose(2, 0, 1))

    def picture(self, sample: Array) -> Image:
        """(3, H, W) float32 as `normalise` gives it -> (H, W, 3) uint8, BGR."""
        mean, std = self.in_pixels()
        rgb = sample.transpose(1, 2, 0) * std + mean
        return np.ascontiguousarray(np.clip(np.rint(rgb), 0, 255).astype(np.uint8)[..., ::-1])

    def in_pixels(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of the channels in RGB order, in 0..255, as `normalise` takes them; (3,) each."""
        return np.asarray(self.mean, np.float32) * np.float32(255), np.asarray(self.std, np.float32) * np.float32(255)

    def without_normalise(self) -> CropPreprocess:
        """What is left to do for a graph that normalises by itself."""
        return CropPreprocess(self.resize_short, self.crop)


KINDS: dict[str, type[CropPreprocess]] = {kind.KIND: kind for kind in (ImagePreprocess, CropPreprocess)}
"""By what `bundle.json` calls them."""


def read_preprocess(document: Mapping[str, Any]) -> CropPreprocess:
    """Read back what `as_dict` of any of them wrote.

    Raises:
        UsageError: It is of another kind.
    """
    kind = str(document.get("kind"))
    if kind not in KINDS:
        raise unknown_name("kind of preprocessing", kind, KINDS)
    return KINDS[kind].from_dict(document)


def is_picture(spec: TensorSpec) -> bool:
    """Whether a network's input is a normalised colour picture."""
    return spec.layout == "NCHW" and spec.dtype == "float32" and spec.shape[1] == 3


def pixels_of(spec: TensorSpec) -> TensorSpec:
    """The input that takes a picture's pixels where `spec` takes them normalised: (N, 3, H, W) -> (N, H, W, 3)."""
    batch, channels, height, width = spec.shape
    return replace(spec, shape=(batch, height, width, channels), dtype="uint8", layout="NHWC")


def _resize(image: Image, size: tuple[int, int]) -> Image:
    try:
        import cv2
    except ImportError:
        raise MissingDependency("resizing an image", "opencv-python-headless", "images") from None
    resized: Image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return resized
