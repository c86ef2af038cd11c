"""Where frames come from by themselves: cameras and network streams, opened again when they are lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from edge_kit.camera.frame import Shot
from edge_kit.camera.opencv import import_cv2
from edge_kit.camera.sources import sane_fps
from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.images import Image

SCHEMES = ("rtsp", "rtsps", "http", "https")
TIMEOUT_MS = 5000  # of opening a stream, and of waiting for its next frame
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
PATIENCE_S = 60.0
MOST_NOTES = 20  # a stream that is lost every second shall not fill memory


class Reader(Protocol):
    """A camera or stream that is open.

    Attributes:
        fps: Frames a second, nominal.
    """

    fps: float

    def read(self) -> Image | None:
        """Wait for the next frame; None once it is lost."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Reconnecting:
    """A live source that is opened again when it is lost, with growing waits, until patience ends.

    The first opening is not tried again: who mistypes an address shall hear of it at once.

    Args:
        open_reader: Opens it; fails with `BadData`.
        patience_s: Without a frame, from the loss on, before the source is given up.
        first_wait_s: Before the second try to open it again; each further one is twice as long, up to `LONGEST_WAIT_S`.
    """

    live = True

    def __init__(
        self,
        open_reader: Callable[[], Reader],
        name: str,
        *,
        patience_s: float = PATIENCE_S,
        first_wait_s: float = FIRST_WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.unread, self.notes = name, 0, list[str]()
        self._open, self._patience, self._first_wait, self._clock = open_reader, patience_s, first_wait_s, clock
        self._stopped = threading.Event()
        self._reader: Reader | None = open_reader()
        self.fps = self._reader.fps
        self._start = clock()
        self._lost_at: float | None = None
        self._tries = 0

    def read(self) -> Shot | None:
        while not self._stopped.is_set():
            image = self._reader.read() if self._reader else None
            if image is not None:
                self._found()
                return Shot(image, self._clock() - self._start)
            if self._lost_at is None:
                self._lost_at, self._tries = self._clock(), 0
            self._drop()
            self._open_again()
        return None

    def _found(self) -> None:
        if self._lost_at is not None:
            away = self._clock() - self._lost_at
            if len(self.notes) < MOST_NOTES:
                self.notes.append(f"{self.name} was lost and came back after {away:.1f} s")
            self._lost_at = None

    def _open_again(self) -> None:
        """At once the first time, then with growing waits; also where each try opens and then gives no frame."""
        assert self._lost_at is not None
        wait = min(self._first_wait * 2 ** (self._tries - 1), LONGEST_WAIT_S) if self._tries else 0.0
        self._tries += 1
        if self._clock() + wait - self._lost_at > self._patience:
            raise EdgeKitError(
                f"{self.name} was lost and gave no frame for {self._patience:g} s, {self._tries - 1} times tried; "
                "see to it and start anew"
            )
        if not self._stopped.wait(wait):
            try:
                self._reader = self._open()
            except BadData:
                self._reader = None

    def _drop(self) -> None:
        if self._reader:
            self._reader.close()
            self._reader = None

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._drop()


class _Captured:
    """What OpenCV holds open."""

    def __init__(self, capture: Any, fps: float) -> None:
        self._capture, self.fps = capture, fps

    def read(self) -> Image | None:
        there, image = self._capture.read()
        return image if there else None

    def close(self) -> None:
        self._capture.release()


def camera(index: int) -> Reconnecting:
    """A camera of this machine.

    Raises:
        BadData: It cannot be opened; says which there are.
    """
    if index < 0:
        raise UsageError(f"a camera's index is 0 or more, got {index}")
    cv2 = import_cv2()

    def open_camera() -> Reader:
        capture = cv2.VideoCapture(index)
        if not capture.isOpened():
            there = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
            raise BadData(f"camera {index} cannot be opened; devices on this machine: {there}")
        return _Captured(capture, sane_fps(capture.get(cv2.CAP_PROP_FPS)))

    return Reconnecting(open_camera, f"camera {index}")


def stream(address: str, *, patience_s: float = PATIENCE_S) -> Reconnecting:
    """An RTSP or HTTP stream.

    Raises:
        BadData: It cannot be opened.
        UsageError: The address is of another kind.
    """
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise UsageError(
            f"a stream's address starts with {', '.join(f'{s}://' for s in SCHEMES)}, got {shown(address)!r}"
        )
    cv2 = import_cv2()
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]

    def open_stream() -> Reader:
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            raise BadData(f"stream {shown(address)!r} cannot be opened; is it running, and is the address right?")
        return _Captured(capture, sane_fps(capture.get(cv2.CAP_PROP_FPS)))

    return Reconnecting(open_stream, shown(address), patience_s=patience_s)


def shown(address: str) -> str:
    """An address without the name and password in it, to be printed."""
    before, at, behind = address.rpartition("@")
    return f"{before.partition('//')[0]}//{behind}" if at else address
