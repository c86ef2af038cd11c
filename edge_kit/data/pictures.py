"""Samples in a folder of pictures, for a graph that takes one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.images import IMAGENET_MEAN, IMAGENET_STD, Image, ImagePreprocess
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from edge_kit.data.dataset import FORMATS, DataFormat, OpenOptions
from edge_kit.data.imagenet import picture_fault
from edge_kit.data.unlabelled import Unlabelled
from runtimes.inputs import show

SUFFIXES = (".jpg", ".jpeg", ".png")
RESIZE = 256 / 224  # shorter side over crop, the evaluation protocol of ImageNet

Channels = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PictureInput:
    """How a picture becomes the one input of a graph.

    Attributes:
        spec: (N, 3, H, W) or (N, H, W, 3), float32 or uint8; H and W are numbers.
        resize: Shorter side before the centre is cut, in pixels; None stretches the whole picture to H x W.
        mean: Of the channels in RGB order, in 0..1; a uint8 input takes the picture as it is.
        std: Likewise.
    """

    spec: TensorSpec
    resize: int | None
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD

    @classmethod
    def of(
        cls,
        inputs: tuple[TensorSpec, ...],
        resize: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> PictureInput:
        """What the user asked for, ImageNet's protocol where he did not.

        Raises:
            UsageError: The graph does not take one picture, or a setting does not fit it.
        """
        spec = inputs[0]
        if len(inputs) != 1 or len(spec.shape) != 4 or spec.dtype not in ("float32", "uint8") or not _axes(spec):
            taken = ", ".join(f"{one.name} {show(one.shape)} {one.dtype}" for one in inputs)
            raise UsageError(f"a folder of images fits a graph of one input (N, 3, H, W) or (N, H, W, 3); this takes "
                             f"{taken}: pass --data FILE.npz")  # fmt: skip
        height, width = _sides(spec)
        if spec.dtype == "uint8" and (mean or std):
            raise UsageError(f"input {spec.name!r} is uint8 and takes pictures as they are; leave out --mean and --std")
        if resize is not None and (height != width or resize < height):
            raise UsageError(
                f"--resize {resize} does not fit a graph of {height} x {width}; it is at least its square side"
            )
        if resize is None and height == width:
            resize = round(height * RESIZE)
        return cls(spec, resize, _channels("--mean", mean, IMAGENET_MEAN), _channels("--std", std, IMAGENET_STD))

    def __call__(self, image: Image) -> Array:
        """(H, W, 3) uint8 BGR, any size -> one sample of the input."""
        height, width = _sides(self.spec)
        if self.resize is None:
            fitted = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        else:
            fitted = self._square().fit(image)
        if self.spec.dtype == "uint8":
            made: Array = fitted[..., ::-1].transpose(2, 0, 1)  # (H, W, 3) BGR -> (3, H, W) RGB
        else:
            made = self._square().normalise(fitted)
        return np.ascontiguousarray(made if _axes(self.spec) == "NCHW" else made.transpose(1, 2, 0))

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`; what boards prepare themselves has the kind `image`."""
        plain = self.resize is not None and _axes(self.spec) == "NCHW" and self.spec.dtype == "float32"
        document = {**self._square().as_dict(), "resize_short": self.resize, "layout": _axes(self.spec)}
        return self._square().as_dict() if plain else {**document, "kind": "own image", "size": list(_sides(self.spec))}

    def told(self) -> str:
        """In a line, for people."""
        height, width = _sides(self.spec)
        fit = f"shorter side to {self.resize}, centre" if self.resize else "stretched to"
        values = "as uint8" if self.spec.dtype == "uint8" else f"mean {_list(self.mean)}, deviation {_list(self.std)}"
        return f"pictures: {fit} {height} x {width}, RGB, {values}"

    def _square(self) -> ImagePreprocess:
        side = _sides(self.spec)[0]
        return ImagePreprocess(self.resize or side, side, self.mean, self.std)


class PictureSamples(Unlabelled):
    """See `Dataset` for the methods.

    Attributes:
        bad: Why each file left out was left out.
    """

    def __init__(self, folder: Path, prepare: PictureInput, options: OpenOptions) -> None:
        self.preprocess = self.prepare = prepare
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not paths:
            raise BadData(f"{str(folder)!r} holds no picture ({', '.join(SUFFIXES)}); pass a folder that does")
        faults = {path: picture_fault(path) for path in paths}
        self.bad = [f"{str(path.relative_to(folder))!r} ({fault})" for path, fault in faults.items() if fault]
        self._paths = [path for path, fault in faults.items() if not fault]
        if len(self.bad) > options.max_bad or not self._paths:
            raise BadData(
                f"{len(self.bad)} of {len(paths)} pictures in {str(folder)!r} cannot be read, first: {self.bad[0]}; "
                f"allowed {options.max_bad}: mend them or pass --max-bad {len(self.bad)}"
            )
        super().__init__(options.name, len(self._paths), (prepare.spec,))

    def digest(self) -> str:
        digest = hashlib.sha256(repr(self.prepare).encode())
        for path in self._paths:
            state = path.stat()
            digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def read(self, places: Sequence[int]) -> Tensors:
        return {self.prepare.spec.name: np.stack([self.prepare(decode(self._paths[i])) for i in places])}

    def count_blank(self) -> int:
        """How many of the pictures for calibration are of one value throughout, as black ones are."""
        images = (decode(self._paths[i]) for i in self.calibration_places(self.train_size()))
        return sum(1 for image in images if image.min() == image.max())


def _channels(option: str, given: Sequence[float] | None, usual: Channels) -> Channels:
    if given is None:
        return usual
    if len(given) != 3 or not all(0 <= value <= 1 for value in given) or (option == "--std" and 0 in given):
        shown = ",".join(f"{value:g}" for value in given)
        raise UsageError(f"{option} takes three numbers in 0..1, red first, as in {_list(usual, ',')}; got {shown}")
    return (given[0], given[1], given[2])


def _axes(spec: TensorSpec) -> str:
    """`NCHW` or `NHWC`; empty where neither fits."""
    if spec.shape[1] == 3:
        return "NCHW"
    return "NHWC" if spec.shape[3] == 3 else ""


def _sides(spec: TensorSpec) -> tuple[int, int]:
    height, width = spec.shape[2:] if _axes(spec) == "NCHW" else spec.shape[1:3]
    return int(height), int(width)


def _list(channels: Channels, separator: str = "/") -> str:
    return separator.join(f"{value:g}" for value in channels)


def decode(path: Path) -> Image:
    """Read a picture; (H, W, 3) uint8 BGR."""
    image: Image | None = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise BadData(f"picture {str(path)!r} cannot be decoded; mend it or take it away")
    return image


FORMATS.add("images", DataFormat("images", PictureSamples))
