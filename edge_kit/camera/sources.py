"""Where frames come from when they wait for us: a video file, a folder of pictures, pictures made on the spot."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edge_kit.camera.frame import Shot
from edge_kit.camera.opencv import import_cv2
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.images import Image

PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
USUAL_FPS = 25.0  # of a video that does not say, or says nonsense
HIGHEST_FPS = 1000.0
MOST_BROKEN = 100  # frames in a row that a damaged video may lack and still be read on


class Source(Protocol):
    """What a pipeline reads from, with one thread.

    Attributes:
        name: For people.
        live: Whether frames come by themselves, so that waiting makes them old.
        fps: Frames a second, nominal.
        unread: Frames that could not be given so far.
        notes: What went wrong and was survived, one line each.
    """

    name: str
    live: bool
    fps: float
    unread: int
    notes: list[str]

    def read(self) -> Shot | None:
        """Wait for the next frame; None at the end.

        Raises:
            EdgeKitError: The source died.
        """
        ...

    def stop(self) -> None:
        """From another thread: a `read` that waits shall end soon."""
        ...

    def close(self) -> None:
        """Let go of the device or file; after the last `read`."""
        ...


class VideoFile:
    """Every frame of a video file that can be decoded, in order."""

    live = False

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise BadData(f"no such video: {str(path)!r}")
        self._cv2 = import_cv2()
        self._capture: Any = self._cv2.VideoCapture(str(path), self._cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise BadData(f"{str(path)!r} is no video that OpenCV can read")
        self.name, self.unread, self.notes = path.name, 0, list[str]()
        self.fps = sane_fps(self._capture.get(self._cv2.CAP_PROP_FPS))
        self._count = int(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT))
        self._place, self._seconds = 0, -1 / self.fps

    def read(self) -> Shot | None:
        for broken in range(MOST_BROKEN + 1):
            there, image = self._capture.read()
            if there:
                self.unread += broken
                self._place += broken + 1
                # A phone films at no fixed rate, so a frame's own time counts; where a file has none, the nominal rate.
                said = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
                self._seconds = said if said > self._seconds else self._seconds + (broken + 1) / self.fps
                return Shot(image, self._seconds)
            if self._place + broken >= self._count:
                break  # as many as the file says it has
        if 0 < self._place < self._count:
            self.notes.append(
                f"{self.name} says that it has {self._count} frames; no more than {self._place} were read"
            )
        return None

    def stop(self) -> None:
        """A file does not wait."""

    def close(self) -> None:
        self._capture.release()


class ImageFolder:
    """The pictures of a folder and those below it, by name.

    Args:
        fps: That they are taken to come at.
    """

    live = False

    def __init__(self, folder: Path, fps: float = USUAL_FPS) -> None:
        if not folder.is_dir():
            raise BadData(f"no such folder: {str(folder)!r}")
        self._cv2 = import_cv2()
        self._folder = folder
        self._paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
        if not self._paths:
            raise BadData(f"{str(folder)!r} holds no picture ({', '.join(PICTURES)})")
        self.name, self.fps, self.unread, self.notes = folder.name, fps, 0, list[str]()
        self._place = 0

    def read(self) -> Shot | None:
        while self._place < len(self._paths):
            path = self._paths[self._place]
            self._place += 1
            image = self._decode(path)
            if image is not None:
                return Shot(image, (self._place - 1) / self.fps, str(path.relative_to(self._folder)))
            self.unread += 1
            if self.unread == 1:
                self.notes.append(f"{str(path)!r} cannot be decoded, left out")
        return None

    def _decode(self, path: Path) -> Image | None:
        try:
            image: Image | None = self._cv2.imread(str(path), self._cv2.IMREAD_COLOR)
        except self._cv2.error:  # a picture that says it has more pixels than OpenCV allows
            return None
        return image

    def stop(self) -> None:
        """A folder does not wait."""

    def close(self) -> None:
        """Nothing is open between two pictures."""


class Made:
    """Pictures that a function makes: for trying things out, and for tests.

    Args:
        make: The picture of that number.
        count: How many; 0 does not end.
    """

    live = False

    def __init__(
        self, make: Callable[[int], Image], count: int = 0, fps: float = USUAL_FPS, name: str = "made"
    ) -> None:
        if count < 0:
            raise UsageError(f"a source gives 0 frames (all) or more, got {count}")
        self._make, self._count, self._place = make, count or math.inf, 0
        self.name, self.fps, self.unread, self.notes = name, fps, 0, list[str]()

    def read(self) -> Shot | None:
        if self._place >= self._count:
            return None
        self._place += 1
        return Shot(self._make(self._place - 1), (self._place - 1) / self.fps)

    def stop(self) -> None:
        """Making a picture takes no waiting."""

    def close(self) -> None:
        """Nothing is open."""


def sane_fps(said: float) -> float:
    """Frames a second as a container or a driver says them; drivers say 0, broken files anything."""
    return float(said) if 0 < said <= HIGHEST_FPS else USUAL_FPS
