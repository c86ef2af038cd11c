"""What a short benchmark does not see: a board that gets hot, and frames that come too fast."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtimes.bench import BenchSettings, BenchTarget, Progress, loaded
from runtimes.frames import FrameReport
from runtimes.isolated import Isolated

POINTS = 60
SHORTEST_POINT = 0.5
SLOWED = 1.05
"""The end of a curve must be so much slower than its start to be called so."""


@dataclass(frozen=True, slots=True)
class Point:
    """A stretch of a sustained run.

    Attributes:
        second: When it ended, from the start.
        p50_ms: Of its calls.
        p99_ms: Of its calls.
        mhz: Frequency of the first core at its end; 0 where the system does not tell.
    """

    second: float
    p50_ms: float
    p99_ms: float
    mhz: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Latency of one model that runs without a pause.

    Attributes:
        points: In order of time.
        slowdown: Median of the last sixth over that of the first sixth.
        verdict: One line for people.
    """

    model: str
    runtime: str
    points: tuple[Point, ...]
    slowdown: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Camera:
    """How one model kept up with a camera."""

    model: str
    runtime: str
    report: FrameReport


def sustain(
    targets: Sequence[BenchTarget], settings: BenchSettings, seconds: float, progress: Progress
) -> tuple[Curve, ...]:
    """Run each model alone, without a pause, for so long."""
    curves = []
    for target in targets:
        with loaded([target], settings, progress) as (processes, _):
            for label, process in processes.items():
                points = _points(process, label, seconds, progress)
                slowdown = _slowdown(points)
                curves.append(Curve(target.model, target.runtime, points, slowdown, _say(label, slowdown, seconds)))
    return tuple(curves)


def serve(
    targets: Sequence[BenchTarget], settings: BenchSettings, fps: float, seconds: float, progress: Progress
) -> tuple[Camera, ...]:
    """Give each model alone the frames of a camera, for so long."""
    served = []
    for i, target in enumerate(targets):
        with loaded([target], settings, progress) as (processes, _):
            for label, process in processes.items():
                progress(f"{fps:g} frames a second for {label}", i, len(targets))
                process.time(settings.plan.warmup, 1)
                served.append(Camera(target.model, target.runtime, process.frames(fps, seconds)))
    return tuple(served)


def _points(process: Isolated, label: str, seconds: float, progress: Progress) -> tuple[Point, ...]:
    pace = float(np.median(process.time(2, 3)))
    stretch = max(SHORTEST_POINT, seconds / POINTS)
    calls = max(3, int(1000 * stretch / pace))
    start = time.monotonic()
    points: list[Point] = []
    while not points or points[-1].second < seconds:
        times = process.time(0, calls)
        p50, p99 = (float(value) for value in np.percentile(times, (50, 99)))
        second = time.monotonic() - start
        points.append(Point(second, p50, p99, process.conditions().mhz))
        progress(f"sustained run of {label}", int(second), int(max(second, seconds)))
    return tuple(points)


def _slowdown(points: Sequence[Point]) -> float:
    times = np.array([point.p50_ms for point in points])
    share = max(1, len(times) // 6)
    return float(np.median(times[-share:]) / np.median(times[:share]))


def _say(label: str, slowdown: float, seconds: float) -> str:
    over = f"over {seconds:.0f} s" if seconds < 120 else f"over {seconds / 60:.1f} minutes"
    if slowdown > SLOWED:
        return f"{label} ends {slowdown:.2f}x slower than it starts, {over}"
    return f"{label} keeps its speed {over} ({slowdown:.2f}x)"
