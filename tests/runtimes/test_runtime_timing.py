"""How latencies are taken, on a clock that the models under test set."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from edge_kit.core.records import Latency
from edge_kit.core.tensors import Array, Tensors, TensorSpec
from runtimes.null import NullRuntime
from runtimes.protocol import Session
from runtimes.timing import TimingPlan, measure_interleaved, measure_latency

X = {"x": np.zeros((2, 3), np.float32)}


class Clock:
    """Nanoseconds that pass only when a model runs."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []

    def __call__(self) -> int:
        return self.now


class Model:
    """Takes as long as it is told, call by call."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[str, ...] = ()

    def __init__(self, clock: Clock, name: str, times_ms: list[float]) -> None:
        self.clock, self.name, self.times_ms = clock, name, iter(times_ms)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.clock.now += round(next(self.times_ms) * 1e6)
        self.clock.calls.append(self.name)
        return dict(inputs)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("runtimes.timing.perf_counter_ns", made)
    return made


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("warmup", -1, "warmup must not be negative, got -1"),
        ("repeats", 0, "repeats must be at least 1, got 0"),
        ("threads", 0, "threads must be at least 1, got 0"),
        ("batch", -2, "batch must be at least 1, got -2"),
        ("device", "tpu", "device must be one of cpu, gpu, gpu:tensorrt, got 'tpu'"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        TimingPlan(**{field: value})


def test_a_latency_carries_its_whole_plan(clock: Clock) -> None:
    times = [1000.0, 1000.0, *(float(i) for i in range(101))]  # two to warm up, then 0..100 ms
    plan = TimingPlan(warmup=2, repeats=101, threads=3, batch=2)
    assert measure_latency(Model(clock, "m", times), X, plan, NullRuntime()) == Latency(
        p50_ms=50.0,
        p90_ms=90.0,
        p99_ms=99.0,
        runtime="null",
        runtime_version="1",
        device="cpu",
        threads=3,
        batch=2,
        warmup=2,
        repeats=101,
        input_shape={"x": [2, 3]},
    )


def test_models_take_turns_and_the_first_changes(clock: Clock) -> None:
    models = {name: (Model(clock, name, [1.0] * 4), X) for name in "abc"}
    measure_interleaved(models, TimingPlan(warmup=1, repeats=3), NullRuntime())
    assert "".join(clock.calls) == "abcbcacababc"


def test_each_model_keeps_its_own_times_in_order(clock: Clock) -> None:
    models: dict[str, tuple[Session, Tensors]] = {
        "a": (Model(clock, "a", [9, 1, 2, 3]), X),
        "b": (Model(clock, "b", [9, 4, 5, 6]), {"z": np.zeros(7)}),
    }
    samples = measure_interleaved(models, TimingPlan(warmup=1, repeats=3), NullRuntime())
    assert samples["a"].times_ms.tolist() == [1, 2, 3]
    assert samples["b"].times_ms.tolist() == [4, 5, 6]
    assert samples["b"].latency.p50_ms == 5
    assert samples["b"].latency.input_shape == {"z": [7]}


def test_a_call_shorter_than_a_tick_still_took_time(clock: Clock) -> None:
    samples = measure_interleaved({"a": (Model(clock, "a", [0.0]), X)}, TimingPlan(warmup=0, repeats=1), NullRuntime())
    assert samples["a"].times_ms.tolist() == [1e-6]


def test_progress_counts_the_warm_up_too(clock: Clock) -> None:
    seen: list[tuple[int, int]] = []
    measure_interleaved(
        {"a": (Model(clock, "a", [1.0] * 5), X)},
        TimingPlan(warmup=2, repeats=3),
        NullRuntime(),
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_the_garbage_collector_is_out_while_timing_and_back_after_a_fault(clock: Clock) -> None:
    states: list[bool] = []

    class Failing(Model):
        def run(self, inputs: Tensors) -> dict[str, Array]:
            states.append(gc.isenabled())
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        measure_latency(Failing(clock, "a", []), X, TimingPlan(), NullRuntime())
    assert states == [False]
    assert gc.isenabled()
