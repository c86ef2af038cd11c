"""Cold start and memory, each taken in a process that may crash."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import TensorSpec
from runtimes.probe import measure_fresh, peak_rss_bytes
from runtimes.timing import TimingPlan

Install = Callable[..., Path]
Source = Callable[..., str]
PLAN = TimingPlan(warmup=0, repeats=1)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.bin"
    path.write_bytes(b"weights")
    return path


def test_memory_is_that_of_the_graph_and_not_of_this_process(
    install: Install, engine_source: Source, graph: Path
) -> None:
    head = "import numpy"
    install("lean", "lean", engine_source("lean", head=head))
    install("fat", "fat", engine_source("fat", "self.kept = numpy.ones(8 << 20)", head))  # 64 MiB, written
    ballast = bytearray(os.urandom(1 << 20) * 128)  # 128 MiB here must not count there
    lean, fat = (measure_fresh(graph, name, PLAN, {}) for name in ("lean", "fat"))
    assert len(ballast) == 128 << 20
    assert lean.peak_rss_bytes < 128 << 20
    assert fat.peak_rss_bytes - lean.peak_rss_bytes == pytest.approx(64 << 20, rel=0.2)


def test_a_cold_start_is_the_load_and_the_first_inference(install: Install, engine_source: Source, graph: Path) -> None:
    install("slow", "slow", engine_source("slow", "time.sleep(0.2)", "import time\ntime.sleep(1)"))
    spent = measure_fresh(graph, "slow", PLAN, {}).cold_start_ms
    assert spent >= 200  # the load
    assert spent < 1000  # and not the import of the engine as well


def test_inputs_are_told_back(graph: Path) -> None:
    spec = TensorSpec("x", ("N", 2), "uint8", "NC")
    assert measure_fresh(graph, "null", PLAN, {}, (spec,)).inputs == (spec,)
    assert measure_fresh(graph, "null", PLAN, {}).inputs == ()


def test_what_an_engine_prints_is_not_in_the_way(install: Install, engine_source: Source, graph: Path) -> None:
    head = "import atexit\natexit.register(lambda: os.write(1, b'bye'))"
    load = "print('{\"loading\": 1}'); os.write(1, b'native\\n')"
    install("chatty", "chatty", engine_source("chatty", load, head))
    assert measure_fresh(graph, "chatty", PLAN, {}).cold_start_ms > 0


@pytest.mark.parametrize(
    ("load", "fault"),
    [
        ("os.abort()", "its process was killed by SIGABRT"),
        (
            "sys.stderr.write('a\\nFATAL: no such op\\n'); sys.stderr.flush(); os.abort()",
            "its process was killed by SIGABRT (FATAL: no such op)",
        ),
        (
            "os.kill(os.getpid(), 9)",
            "its process was killed by SIGKILL; the machine may be out of memory",
        ),
        ("os._exit(3)", "its process exited with 3"),
        ("raise RuntimeError('boom')", "its process exited with 1 (RuntimeError: boom)"),
    ],
)
def test_a_crash_is_one_line_that_says_what_it_died_of(
    install: Install, engine_source: Source, graph: Path, load: str, fault: str
) -> None:
    install("crashy", "crashy", engine_source("crashy", load))
    with pytest.raises(EdgeKitError) as caught:
        measure_fresh(graph, "crashy", PLAN, {})
    assert str(caught.value) == f"runtime 'crashy' crashed on {str(graph)!r}: {fault}"


def test_faults_of_the_child_are_raised_here(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"^no such file: '.*none'$"):
        measure_fresh(tmp_path / "none", "null", PLAN, {})
    with pytest.raises(UsageError, match="^runtime 'null' has no device 'gpu'; it has: cpu$"):
        measure_fresh(graph, "null", TimingPlan(device="gpu"), {})


def test_a_graph_may_be_given_relative_to_where_one_is(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(graph.parent)
    assert measure_fresh(Path(graph.name), "null", PLAN, {}).cold_start_ms > 0


def test_the_kernels_own_figure_is_read(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t    1234 kB\n")
    assert peak_rss_bytes(status) == 1234 * 1024


def test_without_that_figure_getrusage_tells(tmp_path: Path) -> None:
    assert peak_rss_bytes(tmp_path / "none") > 1 << 20
