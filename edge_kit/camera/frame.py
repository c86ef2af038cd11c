"""One picture on its way through the pipeline, and what each stage made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_kit.core.errors import UsageError
from edge_kit.core.images import Image
from edge_kit.core.tensors import Tensors

if TYPE_CHECKING:
    from edge_kit.camera.lineup import Cast

Answer = Mapping[str, Any]
"""What a demo reads from a network's outputs, as JSON holds it."""


@dataclass(frozen=True, slots=True)
class Region:
    """The part of a picture that a demo looks at, as shares of its width and height.

    Attributes:
        left: Where it begins, from the left.
        top: Likewise, from above.
    """

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        ends = (self.left + self.width, self.top + self.height)
        if min(self.left, self.top) < 0 or min(self.width, self.height) <= 0 or not max(ends) <= 1 + 1e-9:
            told = f"{self.left:g},{self.top:g},{self.width:g},{self.height:g}"
            raise UsageError(f"a region lies within 0,0,1,1 of the picture, left,top,width,height; got {told}")

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read `left,top,width,height`.

        Raises:
            UsageError: It is no such text.
        """
        try:
            left, top, width, height = (float(part) for part in text.split(","))
        except ValueError:
            raise UsageError(f"a region is left,top,width,height in shares of the picture, got {text!r}") from None
        return cls(left, top, width, height)

    def of(self, image: Image) -> Image:
        """That part of a picture, a view of it; a pixel at least."""
        height, width = image.shape[:2]
        x, y = min(int(self.left * width), width - 1), min(int(self.top * height), height - 1)
        right, bottom = round((self.left + self.width) * width), round((self.top + self.height) * height)
        return image[y : max(bottom, y + 1), x : max(right, x + 1)]


WHOLE = Region(0.0, 0.0, 1.0, 1.0)
EMPTY: Image = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Shot:
    """What a source gives.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        seconds: In the time of the source: of a live one since it was opened, of a file since its start.
        name: Of the file, where each picture is one.
        text: That was read, where a demo answers to that; its image is `EMPTY`.
    """

    image: Image
    seconds: float
    name: str = ""
    text: str = ""


@dataclass(slots=True)
class Run:
    """What one model made of a frame.

    Attributes:
        model: What it is: `bundle`, `runtime`, `precision`, as JSON holds it.
        outputs: Of its network.
        ms: That it took.
        answer: What the outputs say; set by `postprocess`.
    """

    model: Mapping[str, str]
    outputs: Tensors
    ms: float
    answer: Answer = field(default_factory=dict)


@dataclass(slots=True)
class Frame:
    """One frame; each stage adds to it.

    Attributes:
        index: Its place among those that the source gave, dropped ones counted.
        shot: As it was captured; no stage draws on it.
        captured: When, in seconds of the pipeline's clock.
        ms: What each stage took, by its name.
        cast: What runs on it: all that was chosen when `preprocess` began, and no other until it is drawn.
        inputs: Of the network, set by `preprocess`.
        runs: Of the model that was chosen, and behind it of the one it is held against; set by `inference`.
        shown: The picture with what is drawn on it, (H, W, 3) uint8, BGR; set by `draw`.
    """

    index: int
    shot: Shot
    captured: float
    ms: dict[str, float] = field(default_factory=dict)
    cast: Cast[Any] = field(init=False)
    inputs: Tensors = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    shown: Image = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        name: For the overlay and for messages.
        work: Given every frame, in order, by one thread of its own.
    """

    name: str
    work: Callable[[Frame], None]


def is_picture(image: Image) -> bool:
    """Whether it is (H, W, 3) uint8 and not empty; a driver that is starting up gives frames of 0 x 0."""
    return image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and 0 not in image.shape
