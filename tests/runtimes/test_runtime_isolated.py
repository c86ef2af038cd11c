"""A model in a process of its own, which may crash."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import TensorSpec
from runtimes.isolated import Footprint, Isolated, Model
from runtimes.timing import TimingPlan
from runtimes.worker import peak_rss_bytes

Install = Callable[..., Path]
Source = Callable[..., str]


def footprint(graph: Path, runtime: str, **more: Any) -> Footprint:
    with Isolated(Model(runtime, {"main": graph}, **more)) as loaded:
        return loaded.footprint


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
    lean, fat = (footprint(graph, name) for name in ("lean", "fat"))
    assert len(ballast) == 128 << 20
    assert lean.peak_rss_bytes < 128 << 20
    assert fat.peak_rss_bytes - lean.peak_rss_bytes == pytest.approx(64 << 20, rel=0.2)


def test_a_cold_start_is_the_load_and_the_first_inference(install: Install, engine_source: Source, graph: Path) -> None:
    install("slow", "slow", engine_source("slow", "time.sleep(0.2)", "import time\ntime.sleep(1)"))
    spent = footprint(graph, "slow").cold_start_ms
    assert spent >= 200  # the load
    assert spent < 1000  # and not the import of the engine as well


def test_inputs_are_told_back(graph: Path) -> None:
    spec = TensorSpec("x", ("N", 2), "uint8", "NC")
    assert footprint(graph, "null", inputs={"main": (spec,)}).inputs == {"main": (spec,)}
    assert footprint(graph, "null").inputs == {"main": ()}


def test_what_an_engine_prints_is_not_in_the_way(install: Install, engine_source: Source, graph: Path) -> None:
    head = "import atexit\natexit.register(lambda: os.write(1, b'bye'))"
    load = "print('{\"loading\": 1}'); os.write(1, b'native\\n')"
    install("chatty", "chatty", engine_source("chatty", load, head))
    assert footprint(graph, "chatty").cold_start_ms > 0


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
        footprint(graph, "crashy")
    assert str(caught.value) == f"runtime 'crashy' crashed on {str(graph)!r}: {fault}"


def test_faults_of_the_child_are_raised_here(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"^no such file: '.*none'$"):
        footprint(tmp_path / "none", "null")
    with pytest.raises(UsageError, match="^runtime 'null' has no device 'gpu'; it has: cpu$"):
        footprint(graph, "null", plan=TimingPlan(device="gpu"))


def test_a_graph_may_be_given_relative_to_where_one_is(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(graph.parent)
    assert footprint(Path(graph.name), "null").cold_start_ms > 0


def test_the_kernels_own_figure_is_read(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t    1234 kB\n")
    assert peak_rss_bytes(status) == 1234 * 1024


def test_without_that_figure_getrusage_tells(tmp_path: Path) -> None:
    assert peak_rss_bytes(tmp_path / "none") > 1 << 20


def test_a_crash_in_the_middle_says_what_it_died_of(install: Install, engine_source: Source, graph: Path) -> None:
    source = engine_source("later", "self.calls = 0").replace("return NullSession()", "return Later()")
    later = """
class Later(NullSession):
    calls = 0
    def run(self, inputs):
        self.calls += 1
        if self.calls > 2:
            os.kill(os.getpid(), 11)
        return dict(inputs)
"""
    install("later", "later", source + later)
    with Isolated(Model("later", {"main": graph})) as loaded:
        assert loaded.run("main", {}) == {}
        with pytest.raises(EdgeKitError, match=r"^runtime 'later' crashed on '.*': its process was killed by SIGSEGV$"):
            loaded.time(0, 1)


def test_arrays_go_there_and_back_as_they_were(graph: Path) -> None:
    arrays = {
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "scalar": np.array(7, np.int64),
        "none": np.empty((0, 4), np.uint8),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "yes": np.array([True, False]),
    }
    with Isolated(Model("null", {"main": graph})) as loaded:
        back = loaded.session("main").run(arrays)
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_an_array_of_objects_is_never_sent(graph: Path) -> None:
    with (
        Isolated(Model("null", {"main": graph})) as loaded,
        pytest.raises(EdgeKitError, match="^tensor 'x' is object; only numbers can be sent$"),
    ):
        loaded.run("main", {"x": np.array([print], object)})


def test_a_fault_of_one_run_leaves_the_model_usable(write_graph: Callable[..., Path]) -> None:
    with Isolated(Model("onnx", {"main": write_graph()})) as loaded:
        with pytest.raises(BadData, match=r"^input 'x' must be \(N, 3\), got \(2, 4\)$"):
            loaded.run("main", {"x": np.ones((2, 4), np.float32)})
        answer = loaded.run("main", {"x": np.array([[-1, 0, 2]], np.float32)})
    assert answer["y"].tolist() == [[0, 0, 2]]


def test_processors_are_kept_to_and_unknown_ones_named(graph: Path, install: Install, engine_source: Source) -> None:
    install(
        "where", "where", engine_source("where", "print(sorted(os.sched_getaffinity(0)), file=sys.stderr); os.abort()")
    )
    first = min(os.sched_getaffinity(0))
    with pytest.raises(EdgeKitError, match=rf"\(\[{first}\]\)$"):
        footprint(graph, "where", plan=TimingPlan(cpus=(first,)))
    with pytest.raises(UsageError, match="^no processor 4096 here; there are: "):
        footprint(graph, "null", plan=TimingPlan(cpus=(4096,)))


def test_no_process_is_left_behind(graph: Path) -> None:
    loaded = Isolated(Model("null", {"main": graph}))
    child = loaded._child
    assert child is not None
    loaded.close()
    assert child.poll() is not None


def test_a_worker_ends_when_the_one_it_works_for_is_killed(graph: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from runtimes.isolated import Isolated, Model;"
        f"loaded = Isolated(Model('null', {{'main': Path({str(graph)!r})}})); print(loaded._child.pid, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = int(done.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"worker {pid} still runs")
