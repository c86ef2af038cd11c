"""What checks say of graphs that are stored in INT8 and computed in float."""

import pytest

from edge_kit.core.records import Check
from edge_kit.pipeline.checks import Limits, check_all
from edge_kit.pipeline.subject import Subject

SUBJECT = Subject("m", "M", "tag_text", "lac", "mini-lac", False, None, {})


def latency_check(p50: float, quantized: dict[str, int], limit: float = 1.0) -> Check:
    plan = {"runtime": "onnx", "runtime_version": "1", "threads": 1, "batch": 1, "repeats": 100}
    models = {
        name: {"metrics": [], "size_bytes": size, "latency": {**plan, "p50_ms": time}}
        for name, size, time in (("fp32", 100, 1.0), ("int8", 25, p50))
    }
    facts = {
        "parity": {}, "models": models, "published_data": False, "agreement": {}, "differences": {},
        "engine": "onnx", "lowering": {"main": {"quantized": quantized}},
    }  # fmt: skip
    checks = check_all(facts, SUBJECT, 0, Limits(max_latency_ratio=limit))
    return next(check for check in checks if check.name == "int8 latency ratio")


def test_graphs_that_are_only_stored_in_int8_need_not_be_faster_and_the_reason_is_told() -> None:
    check = latency_check(1.02, {})
    assert check.ok is None
    assert "stored in INT8 and computed in float" in check.note
    assert latency_check(0.98, {}).ok is True


@pytest.mark.parametrize(("quantized", "limit"), [({"Gemm": 1}, 1.0), ({}, 0.9)])
def test_graphs_that_compute_in_int8_and_limits_that_were_asked_for_are_held(
    quantized: dict[str, int], limit: float
) -> None:
    assert latency_check(1.02, quantized, limit).ok is False
