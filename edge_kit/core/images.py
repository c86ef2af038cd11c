"""How a picture becomes a network's input; kept in the bundle, so that the board does what training did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData, MissingDependency, unknown_name
from edge_kit.core.tensors import Array, TensorSpec

Image = NDArray[np.uint8]
Channels = tuple[float, float, float]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


INTERPOLATIONS = ("linear", "cubic", "area")  # as OpenCV's INTER_ constants; `area` averages what it shrinks
ORDERS = ("RGB", "BGR")
FLOAT, PIXELS = "float", "uint8-nhwc"
"""What a graph takes of a picture: prepared values, or the camera's own bytes; `--input` calls them so."""


class PicturePreprocess(ABC):
    """From a picture to one sample of a network's input; a class below for each way to make the size fit.

    Attributes:
        KIND: What `bundle.json` calls this way.
    """

    __slots__ = ()
    KIND: ClassVar[str]

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""

    @classmethod
    @abstractmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PicturePreprocess:
        """Read back what `as_dict` wrote."""

    @abstractmethod
    def fit(self, image: Image) -> Image:
        """Make the size that of the network's input; (H, W, 3) uint8, BGR."""

    def finish(self, image: Image) -> Array:
        """What is left to do once a picture has the network's size: nothing, the graph takes its pixels."""
        return np.ascontiguousarray(image)

    def picture(self, sample: Array) -> Image:
        """What `finish` was given, from what it gave; (H, W, 3) uint8, BGR."""
        return np.ascontiguousarray(sample, np.uint8)

    def __call__(self, image: Image) -> Array:
        """Prepare one picture.

        Args:
            image: (H, W, 3) uint8, BGR as OpenCV reads it. OpenCV is needed only where the size must change.

        Returns:
            One sample of the network's input, without the batch axis.
        """
        return self.finish(self.fit(image))


class NormalisedPreprocess(PicturePreprocess):
    """What follows a picture's size where the network takes floats: mean and deviation of its channels.

    Attributes:
        mean: Of the channels in RGB order, in 0..1.
        std: Likewise.
        channel_order: Of the network's input, `RGB` or `BGR`.
    """

    __slots__ = ()
    mean: Channels
    std: Channels
    channel_order: str

    @abstractmethod
    def without_normalise(self) -> PicturePreprocess:
        """What is left to do for a graph that normalises by itself."""

    def finish(self, image: Image) -> Array:
        """As `normalise`."""
        return self.normalise(image)

    def normalise(self, image: Image) -> NDArray[np.float32]:
        """(H, W, 3) uint8 BGR -> (3, H, W) float32 in `channel_order`, less the mean, over the deviation."""
        mean, std = (one[::-1] for one in self.in_pixels())
        bgr = (image.astype(np.float32) - mean) / std
        ordered = bgr if self.channel_order == "BGR" else bgr[..., ::-1]
        return np.ascontiguousarray(ordered.transpose(2, 0, 1))

    def picture(self, sample: Array) -> Image:
        """(3, H, W) float32 as `normalise` gives it -> (H, W, 3) uint8, BGR."""
        mean, std = (one[::-1] for one in self.in_pixels())
        ordered = sample.transpose(1, 2, 0)
        bgr = (ordered if self.channel_order == "BGR" else ordered[..., ::-1]) * std + mean
        pixels: Image = np.clip(np.rint(bgr), 0, 255).astype(np.uint8)
        return pixels

    def in_pixels(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation of the channels in RGB order, in 0..255, as `normalise` takes them; (3,) each."""
        return np.asarray(self.mean, np.float32) * np.float32(255), np.asarray(self.std, np.float32) * np.float32(255)


@dataclass(frozen=True, slots=True)
class CropPreprocess(PicturePreprocess):
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

    def fit(self, image: Image) -> Image:
        """Resize the shorter side and cut the centre; (crop, crop, 3) uint8, BGR."""
        _check_picture(image)
        height, width = image.shape[:2]
        if min(height, width) != self.resize_short:
            scale = self.resize_short / min(height, width)
            size = (
                max(round(width * scale), self.resize_short),
                max(round(height * scale), self.resize_short),
            )
            image = resize_image(image, size)
            height, width = image.shape[:2]
        top, left = (height - self.crop) // 2, (width - self.crop) // 2
        return image[top : top + self.crop, left : left + self.crop]


@dataclass(frozen=True, slots=True)
class ImagePreprocess(NormalisedPreprocess, CropPreprocess):
    """Resize, crop and normalise.

    Attributes:
        mean: Of the channels in RGB order, in 0..1.
        std: Likewise.
        channel_order: Of the network's input, `RGB` or `BGR`.

    Source: the evaluation protocol of PaddlePaddle/models release/1.6, PaddleCV/image_classification.
    """

    KIND: ClassVar[str] = "image"

    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    channel_order: str = "RGB"

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return _normalised_dict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ImagePreprocess:
        """Read back what `as_dict` wrote."""
        return cls(int(document["resize_short"]), int(document["crop"]), *_read_normalisation(document))

    def without_normalise(self) -> CropPreprocess:
        """What is left to do for a graph that normalises by itself."""
        return CropPreprocess(self.resize_short, self.crop)


@dataclass(frozen=True, slots=True)
class StretchPreprocess(PicturePreprocess):
    """Stretch the whole picture to a square, whatever its aspect; all there is to do for a graph that takes pixels.

    Attributes:
        side: Of the network's input, in pixels.
        interpolation: One of `INTERPOLATIONS`.
    """

    KIND: ClassVar[str] = "stretch"

    side: int
    interpolation: str = "linear"

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"side must be at least 1, got {self.side}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {self.interpolation!r}")

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "channel_order": "BGR", "range": [0, 255], **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StretchPreprocess:
        """Read back what `as_dict` wrote."""
        return cls(int(document["side"]), str(document["interpolation"]))

    def fit(self, image: Image) -> Image:
        """(side, side, 3) uint8, BGR."""
        _check_picture(image)
        size = (self.side, self.side)
        return image if image.shape[:2] == size else resize_image(image, size, self.interpolation)


@dataclass(frozen=True, slots=True)
class SquarePreprocess(NormalisedPreprocess, StretchPreprocess):
    """Stretch to a square and normalise.

    Attributes:
        mean: Of the channels in RGB order, in 0..1.
        std: Likewise.
        channel_order: Of the network's input, `RGB` or `BGR`.

    Source: the evaluation protocols of PaddlePaddle/models release/1.6, PaddleCV/ssd and PaddleCV/yolov3.
    """

    KIND: ClassVar[str] = "square"

    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    channel_order: str = "RGB"

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return _normalised_dict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> SquarePreprocess:
        """Read back what `as_dict` wrote."""
        return cls(int(document["side"]), str(document["interpolation"]), *_read_normalisation(document))

    def without_normalise(self) -> StretchPreprocess:
        """What is left to do for a graph that normalises by itself."""
        return StretchPreprocess(self.side, self.interpolation)


def _normalised_dict(preprocess: ImagePreprocess | SquarePreprocess) -> dict[str, Any]:
    order = {"channel_order": preprocess.channel_order, "range": [0, 255]}
    return {"kind": preprocess.KIND, **order, **asdict(preprocess)}


def _read_normalisation(document: Mapping[str, Any]) -> tuple[Channels, Channels, str]:
    mean, std = (tuple(float(x) for x in document[key]) for key in ("mean", "std"))
    order = str(document.get("channel_order", "RGB"))
    if len(mean) != 3 or len(std) != 3 or order not in ORDERS:
        raise ValueError(f"mean and std have three channels, RGB or BGR, got {mean} and {std}, {order!r}")
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), order


KINDS: dict[str, type[PicturePreprocess]] = {
    kind.KIND: kind for kind in (ImagePreprocess, CropPreprocess, SquarePreprocess, StretchPreprocess)
}
"""By what `bundle.json` calls them."""

PIXEL_KINDS = frozenset(name for name, kind in KINDS.items() if not issubclass(kind, NormalisedPreprocess))
"""Those of graphs that take pixels."""


def read_preprocess(document: Mapping[str, Any]) -> PicturePreprocess:
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


def resize_image(image: Image, size: tuple[int, int], interpolation: str = "linear") -> Image:
    """Resize a picture to (width, height).

    Args:
        interpolation: One of `INTERPOLATIONS`.

    Raises:
        MissingDependency: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise MissingDependency("resizing an image", "opencv-python-headless", "images") from None
    resized: Image = cv2.resize(image, size, interpolation=getattr(cv2, f"INTER_{interpolation.upper()}"))
    return resized


def _check_picture(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise BadData(f"an image must be (H, W, 3) uint8 and not empty, got {image.shape} {image.dtype}")
