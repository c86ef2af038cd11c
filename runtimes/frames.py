"""A camera that does not wait: which frames a model is too slow for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class FrameReport:
    """How a model kept up with frames that come at a fixed rate; the newest is taken, those it missed are lost.

    Attributes:
        fps: Frames a second that came.
        seconds: For how long.
        served: Frames that were run.
        dropped: Frames that were replaced by a newer one before the model was free.
        p50_ms: From a frame's arrival to its answer, half of those served.
        p99_ms: The same, 99 % of those served.
        busy: Share of the time that the model was running, 0..1.
    """

    fps: float
    seconds: float
    served: int
    dropped: int
    p50_ms: float
    p99_ms: float
    busy: float


def serve_frames(
    call: Callable[[], object],
    fps: float,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> FrameReport:
    """Run a model on the frames of a camera.

    Args:
        call: Runs one frame.
        clock: Seconds.
    """
    frames = max(1, int(fps * seconds))
    start = clock()
    delays: list[float] = []
    running = 0.0
    frame = 0
    while frame < frames:
        arrival = start + frame / fps
        wait = arrival - clock()
        if wait > 0:
            sleep(wait)
        began = clock()
        call()
        now = clock()
        running += now - began
        delays.append(1000 * (now - arrival))
        newest = int((now - start) * fps)
        frame = max(frame + 1, newest)
    p50, p99 = (float(value) for value in np.percentile(delays, (50, 99)))
    spent = clock() - start
    return FrameReport(fps, seconds, len(delays), frames - len(delays), p50, p99, min(1.0, running / spent))
