"""Verdicts on times whose truth is known, as they were made up."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtimes.compare import Verdict, compare

Times = NDArray[Any]
Noise = Callable[[np.random.Generator, int], tuple[Times, Times]]

ROUNDS = 200
RUNS = 200
# A right 95 % interval misses 10 of 200; more than 20 has a chance of 1 in 1,000.
MOST_MISSES = 20


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than in use, so that there is time for enough runs to see the error rate."""
    monkeypatch.setattr("runtimes.compare.RESAMPLES", 200)


def remembering(rng: np.random.Generator, rounds: int, keep: float, deviation: float) -> Times:
    """Noise of which `keep` is carried over to the next round."""
    series = np.empty(rounds)
    series[0] = rng.normal(0, deviation)
    for i in range(1, rounds):
        series[i] = keep * series[i - 1] + rng.normal(0, deviation * math.sqrt(1 - keep**2))
    return series


def white(rng: np.random.Generator, rounds: int) -> tuple[Times, Times]:
    return rng.normal(0, 0.03, rounds), rng.normal(0, 0.03, rounds)


def own_memory(rng: np.random.Generator, rounds: int) -> tuple[Times, Times]:
    return remembering(rng, rounds, 0.9, 0.05), remembering(rng, rounds, 0.9, 0.05)


def shared_drift(rng: np.random.Generator, rounds: int) -> tuple[Times, Times]:
    drift = remembering(rng, rounds, 0.97, 0.1)
    return drift + rng.normal(0, 0.02, rounds), drift + rng.normal(0, 0.02, rounds)


def stalls(rng: np.random.Generator, rounds: int) -> tuple[Times, Times]:
    def one() -> Times:
        start = rng.random(rounds) < 0.04
        stalled = np.convolve(start, np.ones(8))[:rounds] > 0  # each lasts 8 rounds, at 1.5 x
        times: Times = np.where(stalled, math.log(1.5), 0) + rng.normal(0, 0.02, rounds)
        return times

    return one(), one()


def verdicts(noise: Noise, slower: float, rounds: int = ROUNDS) -> list[Verdict]:
    """Verdicts on b, which takes `slower` times as long as a, over independent runs."""
    rng = np.random.default_rng(7)
    made = []
    for _ in range(RUNS):
        a, b = noise(rng, rounds)
        made.append(compare("a", 10 * np.exp(a), "b", 10 * slower * np.exp(b)))
    return made


@pytest.mark.parametrize("noise", [white, own_memory, shared_drift, stalls])
def test_a_model_against_itself_is_no_difference(noise: Noise) -> None:
    wrong = [one for one in verdicts(noise, 1.0) if "no difference" not in one.verdict]
    assert len(wrong) <= MOST_MISSES


@pytest.mark.parametrize("noise", [white, shared_drift])
def test_five_percent_slower_is_found_every_time(noise: Noise) -> None:
    for one in verdicts(noise, 1.05):
        assert one.verdict.startswith("b is 1.0") and "x slower than a [" in one.verdict
        assert one.low < one.ratio < one.high < 1


@pytest.mark.parametrize("noise", [white, own_memory, shared_drift, stalls])
def test_the_interval_holds_the_truth(noise: Noise) -> None:
    held = [one.low <= 1 / 1.3 <= one.high for one in verdicts(noise, 1.3)]
    assert sum(held) >= RUNS - MOST_MISSES


def test_a_sure_difference_under_one_percent_is_none() -> None:
    times = 10 + np.random.default_rng(0).normal(0, 0.001, ROUNDS)
    one = compare("a", times, "b", times * 1.005)
    assert one.high < 1
    assert one.verdict == "no difference between a and b [1.00, 1.00]"


def test_the_faster_is_said_to_be_faster_and_the_slower_slower() -> None:
    times = np.full(ROUNDS, 10.0)
    fp32, int8 = times * 1.43, times
    assert compare("fp32", fp32, "int8", int8).verdict == ("int8 is 1.43x faster than fp32 [1.43, 1.43]")
    slower = compare("int8", int8, "fp32", fp32)
    assert slower.verdict == "fp32 is 1.43x slower than int8 [1.43, 1.43]"
    assert slower.ratio == pytest.approx(1 / 1.43)


def test_the_same_times_give_the_same_verdict() -> None:
    a, b = (10 * np.exp(times) for times in white(np.random.default_rng(1), ROUNDS))
    assert compare("a", a, "b", b) == compare("a", a, "b", b)


def test_a_handful_of_rounds_gives_no_verdict() -> None:
    one = compare("a", np.array([4.0, 6, 5]), "b", np.array([2.0, 2, 5]))
    assert (one.ratio, one.low, one.high) == (2.5, 1.0, 3.0)
    assert one.verdict == "no verdict on a and b: 3 rounds, at least 20 needed"


@pytest.mark.parametrize("rounds", [0, 3])
def test_times_of_other_rounds_are_not_compared(rounds: int) -> None:
    with pytest.raises(ValueError, match=f"^rounds must be the same: a has {rounds} and b 0$"):
        compare("a", np.ones(rounds), "b", np.ones(0))
