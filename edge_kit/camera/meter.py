"""How a pipeline is doing: while it runs, for the overlay, and when it has ended."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_kit.camera.frame import Frame

RECENT = 30  # frames that the overlay's figures are of: steady enough to read, and still moving
KEPT = 1000  # frames that the summary's figures are of, so that memory stays flat


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of the last `RECENT` frames.

    Attributes:
        fps: Frames a second that left the pipeline; 0 before the second one.
        ms: Median of each stage.
    """

    fps: float
    ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run went.

    Attributes:
        source: For people.
        frames: That went the whole way, or lines of text.
        dropped: Replaced by a newer one before any work was done on them; only live sources drop.
        unread: That the source could not give: broken, or of 0 x 0.
        seconds: From the first frame captured to the last one done.
        fps: Frames a second over the whole run.
        ms: Median of each stage over the last `KEPT` frames.
        latency_ms: From captured to done, waiting included, p50 and p99 of the same frames.
        ended: Why: `source ended`, `enough frames`, `interrupted` or `window closed`.
        notes: What went wrong and was survived, one line each.
        unit: What was counted: `frames` or `lines`.
    """

    source: str
    frames: int
    dropped: int
    unread: int
    seconds: float
    fps: float
    ms: Mapping[str, float]
    latency_ms: Mapping[str, float]
    ended: str
    notes: tuple[str, ...] = ()
    unit: str = "frames"

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


class Meter:
    """Hears of every frame that is done; asked by the drawing thread while others arrive."""

    def __init__(self) -> None:
        self.frames = 0
        self._lock = threading.Lock()
        self._first = self._last = 0.0
        self._done: deque[float] = deque(maxlen=RECENT)
        self._latency: deque[float] = deque(maxlen=KEPT)
        self._ms: dict[str, deque[float]] = {}

    def seen(self, frame: Frame, now: float) -> None:
        """Count a frame that is done at `now`, in seconds of the pipeline's clock."""
        with self._lock:
            self._first = self._first if self.frames else frame.captured
            self._last = now
            self.frames += 1
            self._done.append(now)
            self._latency.append(1000 * (now - frame.captured))
            for name, ms in frame.ms.items():
                self._ms.setdefault(name, deque(maxlen=KEPT)).append(ms)

    def now(self) -> Reading:
        """The figures to draw."""
        with self._lock:
            span = self._done[-1] - self._done[0] if len(self._done) > 1 else 0.0
            fps = (len(self._done) - 1) / span if span > 0 else 0.0
            recent = {name: list(values)[-RECENT:] for name, values in self._ms.items()}
        return Reading(fps, {name: float(np.median(values)) for name, values in recent.items()})

    def summary(
        self, source: str, dropped: int, unread: int, ended: str, notes: tuple[str, ...], unit: str = "frames"
    ) -> Summary:
        """The figures of the whole run."""
        seconds = self._last - self._first
        p50, p99 = (float(value) for value in np.percentile(self._latency or [0.0], (50, 99)))
        return Summary(
            source,
            self.frames,
            dropped,
            unread,
            seconds,
            self.frames / seconds if seconds > 0 else 0.0,
            {name: float(np.median(values)) for name, values in self._ms.items()},
            {"p50": p50, "p99": p99},
            ended,
            notes,
            unit,
        )
