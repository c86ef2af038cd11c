"""Latencies: one model alone, or several in turn so that drift hits all alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from edge_kit.core.records import Latency
from edge_kit.core.tensors import Tensors
from runtimes.protocol import Runtime, Session

DEVICES = ("cpu", "gpu", "gpu:tensorrt")

Progress = Callable[[int, int], None]
"""Called between rounds with how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class TimingPlan:
    """How a latency is taken; it is stored beside every number.

    Attributes:
        warmup: Calls made and thrown away before timing.
        repeats: Calls timed one by one.
        threads: That may work on one call.
        batch: Size of the open axis `N`.
        device: `cpu`, `gpu` (CUDA) or `gpu:tensorrt`.
    """

    warmup: int = 20
    repeats: int = 200
    threads: int = 1
    batch: int = 1
    device: str = "cpu"

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


@dataclass(frozen=True, slots=True)
class Samples:
    """Times of single calls.

    Attributes:
        times_ms: In the order of the rounds.
        latency: Their summary.
    """

    times_ms: NDArray[np.float64]
    latency: Latency


def measure_latency(session: Session, inputs: Tensors, plan: TimingPlan, runtime: Runtime) -> Latency:
    """Time one model alone."""
    return measure_interleaved({"": (session, inputs)}, plan, runtime)[""].latency


def measure_interleaved(
    sessions: Mapping[str, tuple[Session, Tensors]],
    plan: TimingPlan,
    runtime: Runtime,
    progress: Progress | None = None,
) -> dict[str, Samples]:
    """Time several models in turn, one call each a round.

    The order rotates from round to round: none is always the first after the progress bar was
    drawn, or always the one that finds the caches as the largest model left them.

    Args:
        sessions: Model and inputs by label.
    """
    names = list(sessions)
    times = {name: np.zeros(plan.repeats) for name in names}
    rounds = plan.warmup + plan.repeats
    with _no_collection():
        for i in range(rounds):
            turn = i % len(names) if names else 0
            for name in names[turn:] + names[:turn]:
                session, inputs = sessions[name]
                start = perf_counter_ns()
                session.run(inputs)
                spent = perf_counter_ns() - start
                if i >= plan.warmup:
                    # A coarse clock may not tick during a short call, and ratios are taken of this.
                    times[name][i - plan.warmup] = max(spent, 1) / 1e6
            if progress:
                progress(i + 1, rounds)
    return {name: Samples(times[name], _summary(times[name], sessions[name][1], plan, runtime)) for name in names}


def _summary(times_ms: NDArray[np.float64], inputs: Tensors, plan: TimingPlan, runtime: Runtime) -> Latency:
    p50, p90, p99 = (float(value) for value in np.percentile(times_ms, (50, 90, 99)))
    return Latency(
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        runtime=runtime.name,
        runtime_version=runtime.version(),
        device=plan.device,
        threads=plan.threads,
        batch=plan.batch,
        warmup=plan.warmup,
        repeats=plan.repeats,
        input_shape={name: list(array.shape) for name, array in inputs.items()},
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out: one full pass over a loaded Paddle would be the p99."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
