"""How the last pictures of a game become a network's input; kept in the bundle, so that boards do as training did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.errors import BadData
from edge_kit.core.images import resize_image
from edge_kit.core.tensors import Array

FRAMES = "frames"  # input of a graph that takes them


@dataclass(frozen=True, slots=True)
class FrameStack:
    """Shrinks grey pictures to one size and lays the last few over each other, the newest last.

    Attributes:
        side: Of the square that the graph takes, in pixels.
        stack: Pictures that it takes at once.
        game: That they are of, empty before a data set gave its own; see `edge_kit.data.environments`.
    """

    KIND: ClassVar[str] = "frames"

    side: int = 84
    stack: int = 4
    game: str = ""

    def __post_init__(self) -> None:
        if self.side < 1 or self.stack < 1:
            raise ValueError(f"side and stack must be at least 1, got {self.side} and {self.stack}")

    def __call__(self, histories: Sequence[Sequence[NDArray[np.uint8]]]) -> dict[str, Array]:
        """Prepare one batch.

        Args:
            histories: Of each sample the pictures (H, W) uint8 since its game began, at least the last `stack`.

        Returns:
            `frames` (N, stack, side, side) float32 in 0..255; black where a game is younger than that.

        Raises:
            BadData: A picture is none.
        """
        out = np.zeros((len(histories), self.stack, self.side, self.side), np.float32)
        for i, history in enumerate(histories):
            last = history[-self.stack :]
            for place, picture in enumerate(last, self.stack - len(last)):
                out[i, place] = self.fit(picture)
        return {FRAMES: out}

    def fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) uint8, grey -> (side, side)."""
        if picture.ndim != 2 or picture.dtype != np.uint8 or 0 in picture.shape:
            raise BadData(f"a frame must be (H, W) uint8 and not empty, got {picture.shape} {picture.dtype}")
        return picture if picture.shape == (self.side, self.side) else resize_image(picture, (self.side, self.side))

    def as_dict(self) -> dict[str, Any]:
        """For `bundle.json`."""
        return {"kind": self.KIND, "range": [0, 255], **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> FrameStack:
        """Read back what `as_dict` wrote."""
        return cls(int(document["side"]), int(document["stack"]), str(document["game"]))
