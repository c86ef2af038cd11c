"""Small sources, stages and sinks that tests put together."""

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge_kit.camera.frame import Frame, Shot, Stage


def picture(number: int, height: int = 32, width: int = 48) -> np.ndarray:
    """A picture that tells its number after a video codec, too: an even grey."""
    return np.full((height, width, 3), 20 + 3 * (number % 60), np.uint8)


class Script:
    """A source that gives what a function says, and fails where it raises."""

    def __init__(self, make: Callable[[int], np.ndarray | None], *, live: bool = False, fps: float = 25.0) -> None:
        self.name, self.live, self.fps, self.unread, self.notes = "script", live, fps, 0, list[str]()
        self._make, self.reads, self.closed, self.stopped = make, 0, 0, False

    def read(self) -> Shot | None:
        image = None if self.stopped else self._make(self.reads)
        self.reads += 1
        return None if image is None else Shot(image, (self.reads - 1) / self.fps)

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed += 1


def pictures(count: int) -> Callable[[int], np.ndarray | None]:
    return lambda number: picture(number) if number < count else None


class Collect:
    """A sink that keeps the places of what it was given."""

    name = "collect"

    def __init__(self, enough: int = 0, fault: Exception | None = None) -> None:
        self.places: list[int] = []
        self.frames: list[Frame] = []
        self.closed = 0
        self._enough, self._fault = enough, fault

    def write(self, frame: Frame) -> bool:
        if self._fault and len(self.places) == self._enough:
            raise self._fault
        self.places.append(frame.index)
        self.frames.append(frame)
        return self._fault is not None or len(self.places) != self._enough

    def close(self) -> None:
        self.closed += 1


def sleeping(name: str, ms: float) -> Stage:
    return Stage(name, lambda frame: time.sleep(ms / 1000))


def write_video(path: Path, count: int = 60, fps: float = 25.0, size: tuple[int, int] = (48, 32)) -> Path:
    codec = cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, size)
    for number in range(count):
        writer.write(picture(number, size[1], size[0]))
    writer.release()
    return path


def read_video(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, image = capture.read()
        if not there:
            capture.release()
            return frames
        frames.append(image)


def shown(number: int, seconds: float, height: int = 32, width: int = 48) -> Frame:
    """A frame as it comes to a sink."""
    image = picture(number, height, width)
    return Frame(number, Shot(image, seconds), 0.0, shown=image)
