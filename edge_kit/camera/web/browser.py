"""The camera of whoever looks at the page, as a source: JPEGs that a browser sends."""

from __future__ import annotations

import threading
import time

import numpy as np

from edge_kit.camera.frame import Shot
from edge_kit.camera.link import Drained, Link
from edge_kit.camera.opencv import import_cv2
from edge_kit.core.images import Image

MOST_BYTES = 2 << 20  # of one JPEG
MOST_PIXELS = 1920 * 1080
USUAL_FPS = 15.0
START, FRAME_HEADERS = b"\xff\xd8", {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # C4, C8, CC head tables


class BrowserSource:
    """A live source that one browser at a time fills."""

    live = True

    def __init__(self) -> None:
        self.name, self.fps, self.unread, self.notes = "a browser's camera", USUAL_FPS, 0, list[str]()
        self._cv2 = import_cv2()
        self._sent: Link[bytes] = Link(1, drop_oldest=True)
        self._claimed = threading.Lock()
        self._start: float | None = None

    def claim(self) -> bool:
        """Be the one who sends; False where somebody is already."""
        return self._claimed.acquire(blocking=False)

    def release(self) -> None:
        """Let another one send."""
        self._claimed.release()

    def offer(self, jpeg: bytes) -> str:
        """Take one frame; the newest counts.

        Returns:
            Why it was refused; empty where it was not.
        """
        size = jpeg_size(jpeg)
        if len(jpeg) > MOST_BYTES:
            return f"a frame has {MOST_BYTES:,} bytes at most, got {len(jpeg):,}"
        if size is None:
            return "a frame must be a JPEG"
        if size[0] * size[1] > MOST_PIXELS:  # asked before it is decoded: a small file can hold a huge picture
            return f"a frame has {MOST_PIXELS:,} pixels at most, got {size[1]} x {size[0]}"
        self._sent.put(jpeg)
        return ""

    def read(self) -> Shot | None:
        while True:
            try:
                jpeg = self._sent.take()
            except Drained:
                return None
            assert jpeg is not None  # it waits without a limit
            image: Image | None = self._cv2.imdecode(np.frombuffer(jpeg, np.uint8), self._cv2.IMREAD_COLOR)
            if image is None:
                self.unread += 1
                continue
            now = time.monotonic()
            self._start = now if self._start is None else self._start
            return Shot(image, now - self._start)

    def stop(self) -> None:
        self._sent.abandon()

    def close(self) -> None:
        """Nothing is open: the browser's connection is the server's."""


def jpeg_size(jpeg: bytes) -> tuple[int, int] | None:
    """Height and width as a JPEG's header gives them, without decoding it; None where it is none.

    Source: ITU-T T.81, B.1.1 and B.2.2.
    """
    if not jpeg.startswith(START):
        return None
    place = len(START)
    while place + 9 <= len(jpeg) and jpeg[place] == 0xFF:
        kind, length = jpeg[place + 1], int.from_bytes(jpeg[place + 2 : place + 4], "big")
        if kind == 0xFF:  # a fill byte before a marker
            place += 1
            continue
        if kind in FRAME_HEADERS:
            height, width = (int.from_bytes(jpeg[place + i : place + i + 2], "big") for i in (5, 7))
            return (height, width) if height and width else None
        place += 2 + length
    return None
