"""A change for the worse is found; noise is not taken for one."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.errors import EdgeKitError
from edge_kit.pipeline.baseline import (
    FORMAT,
    _speed_check,
    in_several_processes,
    paired_difference,
    read_baseline,
    slowdown,
    update_baseline,
)
from edge_kit.pipeline.gate import Measured
from runtimes.compare import Verdict, compare

ENTRY = {
    "digest": "d",
    "size_bytes": 1000,
    "labels": ["a", "b"],
    "preprocess": {"kind": "crop"},
    "data": {"name": "set", "samples": 10, "targets": "t"},
    "runtimes": {
        "onnx": {
            "version": "1",
            "score": {"name": "top1", "value": 90.0, "unit": "%", "metric": True},
            "parts": "100 80",
            "speed": {"ratio": 2.0, "low": 1.95, "high": 2.05},
            "noise": "",
            "p50_ms": 1.0,
            "cpu": "c",
            "isa": "x86-vnni",
        }
    },
}


def measured(rng: np.random.Generator, slower: float) -> Verdict:
    """Latencies of FP32 and INT8 in 600 rounds with shared drift, stalls, and a process's own luck of 0.5 %."""
    drift = 1 + 0.05 * np.cumsum(rng.standard_normal(600)) / math.sqrt(600)
    full, small = (
        ms * drift * rng.lognormal(0, 0.03, 600) * (1 + (rng.random(600) < 0.02)) * rng.normal(1, 0.005)
        for ms in (2.0, 1.0 * slower)
    )
    return compare("fp32", full, "int8", small)


def row(speed: Verdict, noise: str = "", isa: str = "x86-vnni") -> dict[str, object]:
    numbers = {"ratio": speed.ratio, "low": speed.low, "high": speed.high}
    return {"version": "1", "speed": numbers, "noise": noise, "isa": isa}


def test_a_hundred_runs_without_a_change_give_no_alarm() -> None:
    rng = np.random.default_rng(1)
    before = row(measured(rng, 1.0))
    checks = [
        _speed_check("onnx", before, row(measured(rng, 1.0)), lambda _: (measured(rng, 1.0), "")) for _ in range(100)
    ]
    assert all(check.ok for check in checks)


def test_a_tenth_slower_is_found_nearly_always() -> None:
    rng = np.random.default_rng(2)
    before = row(measured(rng, 1.0))
    checks = [
        _speed_check("onnx", before, row(measured(rng, 1.1)), lambda _: (measured(rng, 1.1), "")) for _ in range(50)
    ]
    assert sum(check.ok is False for check in checks) >= 48
    assert "times that of the baseline, both held to FP32" in checks[0].note


def test_an_alarm_that_a_second_measurement_does_not_confirm_is_none() -> None:
    rng = np.random.default_rng(3)
    asked = []

    def again(runtime: str) -> tuple[Verdict, str]:
        asked.append(runtime)
        return measured(rng, 1.0), ""

    check = _speed_check("onnx", row(measured(rng, 1.0)), row(measured(rng, 1.3)), again)
    assert check.ok and asked == ["onnx"]


def as_measured(speed: Verdict, noise: str = "") -> Measured:
    return Measured("onnx", {}, None, (), {}, 1.0, speed, noise)


def test_a_baseline_covers_the_luck_of_its_processes() -> None:
    """One of them had its memory lie well, and seemed 4 % faster than it is: every later run would be an alarm."""
    ordinary = Verdict("", "", 2.0, 1.99, 2.01, "")
    lucky = replace(ordinary, ratio=2.08, low=2.07, high=2.09)
    assert _speed_check("onnx", row(lucky), row(ordinary), lambda _: (ordinary, "")).ok is False
    kept = in_several_processes(as_measured(lucky), lambda _: (ordinary, "")).speed
    assert kept is not None and (kept.ratio, kept.low, kept.high) == (2.0, 1.99, 2.09)
    assert _speed_check("onnx", row(kept), row(ordinary), lambda _: (ordinary, "")).ok is True
    slower = replace(ordinary, ratio=1.8, low=1.79, high=1.81)
    assert _speed_check("onnx", row(kept), row(slower), lambda _: (slower, "")).ok is False


def test_a_baseline_says_what_disturbed_any_of_its_processes() -> None:
    one = Verdict("", "", 2.0, 1.99, 2.01, "")
    answers = iter([(one, ""), (one, "1.0 cores were busy")])
    assert in_several_processes(as_measured(one), lambda _: next(answers)).noise == "1.0 cores were busy"


def test_an_alarm_needs_all_processes_to_agree() -> None:
    ordinary, unlucky = Verdict("", "", 2.0, 1.99, 2.01, ""), Verdict("", "", 1.9, 1.89, 1.91, "")
    answers = iter([(unlucky, ""), (ordinary, "")])
    assert _speed_check("onnx", row(ordinary), row(unlucky), lambda _: next(answers)).ok is True
    assert next(answers, None) is None


@pytest.mark.parametrize("when", ["then", "now"])
def test_on_a_noisy_machine_only_a_large_change_is_one(when: str) -> None:
    rng = np.random.default_rng(4)
    noise = {"then": "", "now": "", when: "0.9 cores were busy with other work"}
    before = row(measured(rng, 1.0), noise["then"])
    for slower, ok in ((1.2, True), (1.6, False)):
        now = row(measured(rng, slower), noise["now"])
        check = _speed_check("onnx", before, now, lambda _, s=slower: (measured(rng, s), ""))
        assert check.ok is ok
        assert f"{when}: 0.9 cores were busy" in check.note


def test_another_instruction_set_is_not_comparable() -> None:
    one = Verdict("", "", 2.0, 1.95, 2.05, "")
    check = _speed_check("onnx", row(one), row(one, isa="x86-avx2"), lambda _: pytest.fail("nothing to confirm"))
    assert check.ok is None
    assert check.note == "not comparable: the baseline was measured on x86-vnni, this machine is x86-avx2"


def test_a_slowdown_is_that_of_the_ratios() -> None:
    found = slowdown(Verdict("", "", 2.0, 2.0, 2.0, ""), Verdict("", "", 1.6, 1.6, 1.6, ""))
    assert (found.value, found.low, found.high) == pytest.approx((1.25, 1.25, 1.25))


def parts(wrong: int, size: int = 1000, side: int = 5) -> list[float]:
    """Share of right answers in parts of `side`, with so many wrong ones at even distances."""
    right = np.ones(size)
    right[np.linspace(0, size - 1, wrong).astype(int)] = 0
    return [float(value) for value in 100 * right.reshape(-1, side).mean(axis=1)]


def test_equal_scores_differ_by_nothing() -> None:
    found = paired_difference(parts(28), parts(28))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("wrong", "worse"), [(29, False), (31, False), (48, True), (100, True)])
def test_a_few_samples_more_are_no_change_and_many_are(wrong: int, worse: bool) -> None:
    """28 of 1,000 were wrong before; four deviations of what changes are needed."""
    lost = [100 - 20.0 * (i < wrong - 28) for i in range(200)]
    found = paired_difference([100.0] * 200, lost)
    assert found.value == pytest.approx(-(wrong - 28) / 10)
    assert (found.high < 0) is worse


def test_samples_that_swap_sides_are_no_change() -> None:
    before, after = [100.0] * 200, [100.0] * 200
    for i in range(20):
        (before if i % 2 else after)[i] = 80.0
    found = paired_difference(before, after)
    assert found.low < 0 < found.high and found.value == 0


def test_a_file_is_written_beside_what_it_held(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    update_baseline(path, {"one": ENTRY})
    update_baseline(path, {"two": ENTRY})
    assert list(read_baseline(path)) == ["one", "two"]
    assert path.read_bytes().endswith(b"}\n")


def test_a_baseline_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match="does not exist yet; make it: add --update-baseline$"):
        read_baseline(tmp_path / "b.json")


def broken(change: str) -> str:
    entry = json.loads(json.dumps(ENTRY))
    if change == "parts":
        entry["runtimes"]["onnx"]["parts"] = "100 x"
    elif change == "nan":
        entry["runtimes"]["onnx"]["speed"]["low"] = math.nan
    else:
        del entry[change]
    return json.dumps({"format": FORMAT, "bundles": {"m": entry}})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 9, "bundles": {}}', '{"format": 1, "bundles": {"m": 3}}', "[" * 100_000]
    + [broken(one) for one in ("parts", "nan", "labels", "data", "runtimes", "size_bytes")],
    ids=range(12),
)
def test_a_broken_baseline_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(EdgeKitError) as caught:
        read_baseline(tmp_path / "b.json")
    assert str(caught.value).endswith("make it again with --update-baseline") and "\n" not in str(caught.value)
