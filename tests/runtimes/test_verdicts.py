"""Whether verdicts can be believed: a real model against itself, and against itself made slower on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_kit.core.bundle import Bundle
from runtimes.bench import BenchSettings, BenchTarget, bench_models
from runtimes.compare import Verdict
from runtimes.timing import TimingPlan
from tests.conftest import Result

SETTINGS = BenchSettings(TimingPlan(seconds=1.0))  # as `edge-kit bench` has it
COMPARISONS = 100
MOST_FALSE = 5

SLOWER = """
from time import perf_counter_ns

from runtimes.ort import OnnxRuntime, OnnxSession


class SlowSession(OnnxSession):
    def run(self, inputs):
        start = perf_counter_ns()
        results = super().run(inputs)
        end = start + 1.05 * (perf_counter_ns() - start)
        while perf_counter_ns() < end:
            pass
        return results


class Engine(OnnxRuntime):
    name = "slower"

    def load(self, graph, *, threads=1, device="cpu"):
        return SlowSession(super().load(graph, threads=threads, device=device)._session)
"""


@pytest.fixture(scope="module")
def int8(mobilenetv2_run: Result) -> Path:
    return Bundle(Path(mobilenetv2_run.json["bundle"])).graph("int8", "main")


def verdict(graph: Path, second: str) -> Verdict:
    targets = [
        BenchTarget.of_graph("one", graph, group="g"),
        BenchTarget.of_graph("two", graph, group="g", runtime=second, precision="" if second != "onnx" else "again"),
    ]
    [found] = bench_models(targets, SETTINGS).verdicts
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_model_against_itself_is_hardly_ever_told_to_differ(int8: Path) -> None:
    told = [verdict(int8, "onnx").verdict for _ in range(COMPARISONS)]
    false = [one for one in told if not one.startswith("no difference")]
    print(*false, f"{len(false)} of {COMPARISONS}", sep="\n")
    assert len(false) <= MOST_FALSE, false


@pytest.mark.slow
def test_five_percent_put_in_on_purpose_is_found(int8: Path, install: Callable[..., Path]) -> None:
    install("slower", "slower", SLOWER)
    for _ in range(5):
        found = verdict(int8, "slower")
        assert found.high < 1, found.verdict
        assert found.low - 0.03 < 1 / 1.05 < found.high + 0.03, found.verdict
