"""Latencies: several models in turn, so that drift hits all alike."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

DEVICES = ("cpu", "gpu", "gpu:tensorrt")

Times = NDArray[np.float64]
"""Milliseconds of single calls, in order."""

Timer = Callable[[int, int], Times]
"""Makes so many calls that are thrown away, then so many that are timed one by one."""

Progress = Callable[[int, int], None]
"""Called between rounds with how many calls are done, and of how many."""

TURN_MS = 10.0
LONGEST_TURN = 5
PACE_CALLS = 3


@dataclass(frozen=True, slots=True)
class TimingPlan:
    """How a latency is taken; it is stored beside every number.

    Attributes:
        warmup: Calls made and thrown away before timing.
        repeats: Calls timed one by one, at least.
        threads: That may work on one call.
        batch: Size of the open axis `N`.
        device: `cpu` or `gpu`.
        seconds: Timing goes on for at least so long for each model.
        cpus: Processors that the engine may use; empty for the last ones, as many as there are threads.
    """

    warmup: int = 20
    repeats: int = 200
    threads: int = 1
    batch: int = 1
    device: str = "cpu"
    seconds: float = 0.0
    cpus: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ValueError(f"warmup must not be negative, got {self.warmup}")
        for name, value in (
            ("repeats", self.repeats),
            ("threads", self.threads),
            ("batch", self.batch),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {self.device!r}")
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"seconds must not be negative, got {self.seconds}")


def time_calls(call: Callable[[], object], untimed: int, timed: int) -> Times:
    """Time single calls of one model; this is all that stands between a number and the engine."""
    times = np.empty(timed)
    with _no_collection():
        for _ in range(untimed):
            call()
        for i in range(timed):
            start = perf_counter_ns()
            call()
            times[i] = perf_counter_ns() - start
    # A coarse clock may not tick during a short call, and ratios are taken of this.
    return np.maximum(times, 1) / 1e6


def interleave(timers: Mapping[str, Timer], plan: TimingPlan, progress: Progress | None = None) -> dict[str, Times]:
    """Time several models in turn, a few calls each a round.

    A turn starts with a call that is thrown away, as the caches hold what the model before it left. It is
    long enough to be worth the change and short enough that rounds are many. The order rotates from round
    to round: none is always the first, or always the one after the largest.

    Returns:
        As many times for each; the same index is the same moment.
    """
    names = list(timers)
    paces = {name: float(np.median(timers[name](plan.warmup, PACE_CALLS))) for name in names}
    turn = min(LONGEST_TURN, max(1, int(TURN_MS / max(paces.values(), default=1.0))), plan.repeats)
    times: dict[str, list[Times]] = {name: [] for name in names}
    done = shift = 0
    total = plan.repeats
    end = time.monotonic() + plan.seconds * len(names)
    while done < plan.repeats or time.monotonic() < end:
        for name in names[shift:] + names[:shift]:
            times[name].append(timers[name](1, turn))
        shift = (shift + 1) % len(names)
        done += turn
        if progress:
            total = max(total, done)
            progress(done, total)
    return {name: np.concatenate(parts) for name, parts in times.items()}


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out: one full pass over a loaded engine would be the p99."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
