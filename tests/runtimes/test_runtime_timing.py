"""How latencies are taken, on a clock that the models under test set."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from runtimes.timing import Times, TimingPlan, interleave, time_calls


class Clock:
    """Nanoseconds that pass only when a model runs."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []

    def __call__(self) -> int:
        return self.now


class Model:
    """Takes as long as it is told, call by call; the last time is for all calls after it."""

    def __init__(self, clock: Clock, name: str, times_ms: list[float]) -> None:
        self.clock, self.name, self.times_ms = clock, name, times_ms

    def __call__(self) -> None:
        self.clock.now += round((self.times_ms.pop(0) if len(self.times_ms) > 1 else self.times_ms[0]) * 1e6)
        self.clock.calls.append(self.name)

    def timer(self, untimed: int, timed: int) -> Times:
        return time_calls(self, untimed, timed)


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
        ("seconds", float("nan"), "seconds must not be negative, got nan"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        TimingPlan(**{field: value})


def test_calls_that_warm_up_are_thrown_away(clock: Clock) -> None:
    assert time_calls(Model(clock, "m", [1000, 1000, 1, 2, 3]), 2, 3).tolist() == [1, 2, 3]


def test_models_take_turns_and_the_first_changes(clock: Clock) -> None:
    models = {name: Model(clock, name, [20.0]).timer for name in "abc"}
    interleave(models, TimingPlan(warmup=0, repeats=3))
    # three calls each to learn the pace; then rounds of one call thrown away and one timed
    assert "".join(clock.calls) == "aaabbbccc" + "aabbcc" + "bbccaa" + "ccaabb"


def test_turns_of_quick_models_are_longer_and_all_alike(clock: Clock) -> None:
    models = {name: Model(clock, name, [pace]) for name, pace in (("a", 4.0), ("b", 1.0))}
    times = interleave({name: model.timer for name, model in models.items()}, TimingPlan(warmup=0, repeats=4))
    assert "".join(clock.calls) == "aaabbb" + "aaabbb" + "bbbaaa"  # two timed calls of 4 ms within 10 ms
    assert {name: list(one) for name, one in times.items()} == {"a": [4.0] * 4, "b": [1.0] * 4}


def test_each_model_keeps_its_own_times_in_order(clock: Clock) -> None:
    pace = [20.0, 20.0, 20.0]
    models = {
        "a": Model(clock, "a", [9, *pace, 9, 1, 9, 2, 9, 3]).timer,
        "b": Model(clock, "b", [9, *pace, 9, 4, 9, 5, 9, 6]).timer,
    }
    times = interleave(models, TimingPlan(warmup=1, repeats=3))
    assert times["a"].tolist() == [1, 2, 3]
    assert times["b"].tolist() == [4, 5, 6]


def test_timing_goes_on_until_its_time_is_up(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtimes.timing.time.monotonic", lambda: clock.now / 1e9)
    times = interleave({"a": Model(clock, "a", [50.0]).timer}, TimingPlan(warmup=0, repeats=1, seconds=1.0))
    assert len(times["a"]) == 10  # each with a call that is thrown away


def test_a_call_shorter_than_a_tick_still_took_time(clock: Clock) -> None:
    assert time_calls(Model(clock, "a", [0.0]), 0, 1).tolist() == [1e-6]


def test_progress_counts_timed_calls_of_one_model(clock: Clock) -> None:
    seen: list[tuple[int, int]] = []
    plan = TimingPlan(warmup=2, repeats=3)
    interleave({"a": Model(clock, "a", [20.0]).timer}, plan, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_garbage_collector_is_out_while_timing_and_back_after_a_fault() -> None:
    states: list[bool] = []

    def failing() -> None:
        states.append(gc.isenabled())
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        time_calls(failing, 1, 1)
    assert states == [False]
    assert gc.isenabled()
