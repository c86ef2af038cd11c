"""A camera on a clock that the model under test sets."""

from __future__ import annotations

import pytest

from runtimes.frames import FrameReport, serve_frames


def served(fps: float, seconds: float, call_seconds: float) -> FrameReport:
    now = 100.0

    def pass_time(spent: float) -> None:
        nonlocal now
        now += spent

    return serve_frames(lambda: pass_time(call_seconds), fps, seconds, lambda: now, pass_time)


def test_a_quick_model_drops_nothing_and_waits_for_frames() -> None:
    report = served(10, 5, 0.05)
    assert (report.served, report.dropped) == (50, 0)
    assert report.p50_ms == pytest.approx(50)
    assert report.busy == pytest.approx(0.5, abs=0.02)


def test_a_model_of_two_and_a_half_frames_serves_two_in_five() -> None:
    report = served(10, 100, 0.25)
    assert report.served + report.dropped == 1000
    assert report.served == pytest.approx(400, abs=3)
    assert report.busy == 1
    # the newest frame is up to one frame old when the model takes it
    assert 250 <= report.p50_ms <= report.p99_ms <= 350 + 1e-6
