"""Where frames go: a video file, a file of JSON lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

from edge_kit.camera.frame import EMPTY, Frame
from edge_kit.camera.opencv import import_cv2
from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.images import Image

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
"""Those that the FFmpeg inside OpenCV's wheels encodes everywhere."""
LONGEST_HOLD_S = 2.0  # that a saved video shows one frame for, however long a stream was lost
SMALLEST_SIDE = 16  # below it encoders refuse


class Sink(Protocol):
    """What a pipeline writes to, with one thread.

    Attributes:
        name: For messages.
    """

    name: str

    def write(self, frame: Frame) -> bool:
        """Take one frame; False when no more is wanted."""
        ...

    def close(self) -> None:
        """Finish; once, also after a failure.

        Raises:
            EdgeKitError: What was written is not whole.
        """
        ...


class VideoSink:
    """Saves what is shown as a video that keeps the source's time.

    It is written beside its place and moved there when it is whole. A video has one size: that of its first frame;
    others are fitted into it.

    Args:
        fps: Of the video. A frame that comes late is preceded by the one before it once more, so that time is kept
            where frames were dropped.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise UsageError(f"a video is saved as {', '.join(CODECS)}, got {str(path)!r}")
        _check_folder(path)
        self.name = f"video {str(path)!r}"
        self._cv2 = import_cv2()
        self._path, self._fps = path, fps
        self._part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
        self._writer: Any = None
        self._size = (0, 0)
        self._start = 0.0
        self._last: Image = EMPTY
        self._written = 0

    def write(self, frame: Frame) -> bool:
        if self._writer is None:
            self._open(frame)
        due = round((frame.shot.seconds - self._start) * self._fps)
        if due < self._written:
            return True  # they come faster than the source said: one that has no place in time is left out
        held = min(due - self._written, round(LONGEST_HOLD_S * self._fps))
        for _ in range(held):
            self._put(self._last)
        self._start += (due - self._written) / self._fps  # a longer gap is cut: time goes on from here
        self._last = fit(frame.shown, self._size)
        self._put(self._last)
        return True

    def _put(self, image: Image) -> None:
        self._writer.write(image)
        self._written += 1

    def _open(self, frame: Frame) -> None:
        height, width = (
            max(side - side % 2, SMALLEST_SIDE) for side in frame.shown.shape[:2]
        )  # encoders cut odd sides
        self._size, self._start = (width, height), frame.shot.seconds
        codec = self._cv2.VideoWriter_fourcc(*CODECS[self._path.suffix.lower()])
        self._writer = self._cv2.VideoWriter(str(self._part), self._cv2.CAP_FFMPEG, codec, self._fps, self._size)
        if not self._writer.isOpened():
            raise EdgeKitError(f"{self.name} cannot be written, {width} x {height} at {self._fps:g} frames a second")

    def close(self) -> None:
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            # The encoder says nothing on a full disk: what can be read back is what was written.
            there = _frames_in(self._cv2, self._part)
            if there != self._written:
                raise EdgeKitError(f"{self.name} took {there} of {self._written} frames; is the disk full?")
            self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)


class JsonLinesSink:
    """One JSON document a line and frame; each line is whole as soon as it is there, so that it can be followed."""

    def __init__(self, path: Path) -> None:
        _check_folder(path)
        self.name = f"JSON lines {str(path)!r}"
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as fault:
            raise BadData(f"{self.name} cannot be written: {fault.strerror}") from None
        self._whole = 0

    def write(self, frame: Frame) -> bool:
        line = (json.dumps(as_document(frame), allow_nan=False) + "\n").encode()
        try:
            done = self._file.write(line)
        except OSError as fault:
            raise EdgeKitError(f"{self.name} cannot be written: {fault.strerror}") from None
        if done != len(line):
            self._file.truncate(self._whole)
            raise EdgeKitError(
                f"{self.name} took {done} of {len(line)} bytes of frame {frame.index}; is the disk full?"
            )
        self._whole += done
        return True

    def close(self) -> None:
        self._file.close()


def as_document(frame: Frame) -> dict[str, Any]:
    """What is known of a frame, as JSON; times in milliseconds."""
    document: dict[str, Any] = {"frame": frame.index, "seconds": round(frame.shot.seconds, 6)}
    if frame.shot.name:
        document["name"] = frame.shot.name
    if frame.shot.text:
        document["text"] = frame.shot.text
    ms = {name: round(value, 3) for name, value in frame.ms.items()}
    for place, run in zip(("", "against"), frame.runs, strict=False):
        told = {**run.model, "answer": run.answer}
        document.update({place: {**told, "inference_ms": round(run.ms, 3)}} if place else told)
    return {**document, "ms": ms}


def fit(image: Image, size: tuple[int, int]) -> Image:
    """A picture shrunk or grown into `size`, (width, height), with black beside it where the shapes differ."""
    width, height = size
    if image.shape[:2] == (height, width):
        return image
    cv2 = import_cv2()
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, min(width, round(image.shape[1] * scale))), max(1, min(height, round(image.shape[0] * scale))))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    fitted: Image = cv2.copyMakeBorder(
        small, top, height - inner[1] - top, left, width - inner[0] - left, cv2.BORDER_CONSTANT
    )
    return fitted


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise BadData(f"no such folder: {str(path.parent)!r}")
    if path.is_dir():
        raise BadData(f"{str(path)!r} is a folder; name a file")


def _frames_in(cv2: Any, path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    return count
