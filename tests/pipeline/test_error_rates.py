"""A metric of which less is better is held to its limits from the other side."""

from dataclasses import asdict, replace

import pytest

from edge_kit.core.records import Metric
from edge_kit.pipeline.baseline import _score_check
from edge_kit.pipeline.checks import _drop, published_checks
from edge_kit.pipeline.subject import Subject
from edge_kit.zoo import Reference

ERRORS = Metric("sequence error rate", 22.0, "%", "lines test", 200, lower_is_better=True)
ACCURACY = Metric("accuracy", 78.0, "%", "lines test", 200)


@pytest.mark.parametrize(("before", "worse"), [(ERRORS, 24.0), (ACCURACY, 76.0)], ids=["errors", "accuracy"])
def test_what_is_lost_is_counted_in_the_metrics_own_direction(before: Metric, worse: float) -> None:
    assert before.lost(replace(before, value=worse)) == pytest.approx(2.0)
    assert replace(before, value=worse).lost(before) == pytest.approx(-2.0)
    assert f"{before.lost(before):g}" == "0", "and not -0"


def test_more_errors_fall_short_and_fewer_do_not() -> None:
    for value, ok in ((24.0, False), (22.4, True), (10.0, True)):
        models = {"fp32": {"metrics": [asdict(ERRORS)]}, "int8": {"metrics": [asdict(replace(ERRORS, value=value))]}}
        (check,) = _drop({"models": models}, 0.5)
        assert check.name == "int8 sequence error rate rise"
        assert check.ok is ok


def test_a_published_error_rate_is_a_ceiling() -> None:
    row = Reference("lines test", "sequence error rate", 22.3, "%", "a test")
    subject = Subject("x", "x", "read_text", "ocr_lines", "ocr_lines", True, None, {}, (row,))
    for value, ok in ((22.7, True), (23.0, False), (5.0, True)):
        (check,) = published_checks([asdict(replace(ERRORS, value=value))], True, subject, slack=0.5)
        assert (check.ok, check.sense) == (ok, "max")


@pytest.mark.parametrize(("before", "worse"), [(ERRORS, 60.0), (ACCURACY, 40.0)], ids=["errors", "accuracy"])
def test_a_baseline_alarms_when_errors_rise_and_not_when_they_fall(before: Metric, worse: float) -> None:
    def row(value: float) -> dict[str, object]:
        score = {"name": before.name, "value": value, "unit": "%", "metric": True}
        return {
            "score": {**score, "lower_is_better": before.lower_is_better},
            "parts": " ".join([f"{value:g}"] * 50),
        }

    assert _score_check("onnx", row(before.value), row(worse), True).ok is False
    assert _score_check("onnx", row(worse), row(before.value), True).ok is True
