"""Between one pipeline and many browsers: each frame is encoded once, and who is slow misses some."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge_kit.camera.demo import Demo
from edge_kit.camera.frame import Frame
from edge_kit.camera.lineup import Lineup
from edge_kit.camera.meter import Meter
from edge_kit.camera.opencv import import_cv2
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.images import Image

MOST_CLIENTS = 32
JPEG_QUALITY = 80
WIDEST = 1280  # pixels of a picture that is sent: a page shows no more, and encoding takes its time


@dataclass(frozen=True, slots=True)
class Picture:
    """What a browser is sent.

    Attributes:
        number: Rises with each.
        jpeg: With everything drawn on it.
        state: JSON: speed, models, answers, differences.
    """

    number: int
    jpeg: bytes
    state: str


class Client:
    """One browser that watches; lives in the server's event loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self._loop, self._news = hub, asyncio.get_running_loop(), asyncio.Event()

    async def after(self, number: int) -> Picture | None:
        """The newest picture once there is one after `number`; None when no more come."""
        while True:
            self._news.clear()
            picture = self._hub.latest
            if picture is not None and picture.number > number:
                return picture
            if self._hub.ended:
                return None
            await self._news.wait()

    def wake(self) -> None:
        """From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the server has ended before the pipeline
            return


class Hub:
    """A sink that browsers read from.

    Attributes:
        latest: The newest picture; none is made while nobody watches.
        ended: No more come.
    """

    name = "browser"

    def __init__(self, meter: Meter, lineup: Lineup[Demo], *, most_clients: int = MOST_CLIENTS) -> None:
        self.latest: Picture | None = None
        self.ended = False
        self._meter, self._lineup, self._most = meter, lineup, most_clients
        self._cv2 = import_cv2()
        self._clients: set[Client] = set()
        self._lock = threading.Lock()

    def write(self, frame: Frame) -> bool:
        with self._lock:
            clients = list(self._clients)
        if clients:
            number = self.latest.number + 1 if self.latest else 1
            self.latest = Picture(number, self._encode(frame.shown), self._state(frame))
            for client in clients:
                client.wake()
        return True

    def close(self) -> None:
        self.ended = True
        with self._lock:
            for client in self._clients:
                client.wake()

    @contextmanager
    def join(self) -> Iterator[Client | None]:
        """One more browser; None where there are enough."""
        client = Client(self)
        with self._lock:
            room = len(self._clients) < self._most
            if room:
                self._clients.add(client)
        try:
            yield client if room else None
        finally:
            with self._lock:
                self._clients.discard(client)

    def watching(self) -> int:
        """How many browsers there are."""
        with self._lock:
            return len(self._clients)

    def _encode(self, image: Image) -> bytes:
        height, width = image.shape[:2]
        if width > WIDEST:
            size = (WIDEST, max(1, round(height * WIDEST / width)))
            image = self._cv2.resize(image, size, interpolation=self._cv2.INTER_AREA)
        done, jpeg = self._cv2.imencode(".jpg", image, [self._cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise EdgeKitError(f"a picture of {image.shape} cannot be made a JPEG")
        return bytes(jpeg.tobytes())

    def _state(self, frame: Frame) -> str:
        reading = self._meter.now()
        runs = [{**run.model, "ms": round(run.ms, 3), "answer": run.answer} for run in frame.runs]
        document = {"frame": frame.index, "fps": round(reading.fps, 2), "ms": reading.ms, "runs": runs}
        return json.dumps({**document, **{"compared": dict(self._lineup.differing())}}, allow_nan=False)
