"""What the harness measures is what the engine does: held to the engine in a bare loop, in the same run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_kit.core.tensors import MAIN
from edge_kit.core.workspace import Workspace
from runtimes.compare import compare
from runtimes.conversion import own_form
from runtimes.isolated import Isolated, Model
from runtimes.registry import get_runtime, reads
from runtimes.timing import Timer, Times, TimingPlan, interleave
from tests.conftest import Cli

MODELS = ("mobilenetv1", "mobilenetv2", "resnet50")
ENGINES = ("onnx", "openvino", "ncnn", "mnn", "paddle")
SIDE = 224
PLAN = TimingPlan(warmup=10, repeats=60, seconds=3)
PAIRS = 3
TOOL_PAIRS = 15
CLOSE = 0.03

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def graphs(session_cli: Cli) -> dict[tuple[str, str], Path]:
    """Files of every model by engine, with random weights; the table of all engines is printed on the way."""
    found = {}
    for model in MODELS:
        store = session_cli.workspace / f"bare-{model}"
        done = session_cli("bench", model, "--runtime", "all", "--repeats", "40", "--workspace", str(store))
        assert done.code == 0, done.err
        print(done.out)
        [made] = [path for path in (store / "stages").glob("untrained-*") if path.is_dir()]
        for engine in ENGINES:
            graph = made / f"main{reads(engine)[0]}"
            found[model, engine] = own_form(get_runtime(engine), graph, Workspace(store))
    return found


@contextmanager
def bare(engine: str, graph: Path) -> Iterator[Timer]:
    loops = Path(__file__).with_name("bare_loops.py")
    command = [sys.executable, str(loops), engine, str(graph), str(SIDE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin and child.stdout

        def timer(untimed: int, timed: int) -> Times:
            assert child.stdin and child.stdout
            child.stdin.write(f"{untimed} {timed}\n")
            child.stdin.flush()
            return np.array(json.loads(child.stdout.readline()))

        yield timer
        child.stdin.close()


def held_to_bare_loop(engine: str, graph: Path) -> float:
    """Bare over harness: the median of several pairs of processes, as no two of one model are equally fast."""
    found = []
    for _ in range(PAIRS):
        with Isolated(Model(engine, {MAIN: graph})) as harness, bare(engine, graph) as loop:
            times = interleave({"bare": loop, "harness": harness.time}, PLAN)
        found.append(compare("bare", times["bare"], "harness", times["harness"]))
    shown = ", ".join(f"{one.ratio:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in found)
    ratio = float(np.median([one.ratio for one in found]))
    print(f"bare over harness {ratio:.3f}, the median of {shown}")
    return ratio


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", MODELS)
def test_the_harness_measures_the_engine(model: str, engine: str, graphs: dict[tuple[str, str], Path]) -> None:
    print(f"{model} on {engine}:", end=" ")
    ratio = held_to_bare_loop(engine, graphs[model, engine])
    assert abs(ratio - 1) <= CLOSE


@pytest.mark.parametrize("model", MODELS)
def test_openvino_is_as_fast_as_its_own_benchmark_says(model: str, graphs: dict[tuple[str, str], Path]) -> None:
    graph = graphs[model, "openvino"]
    tool = ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))]
    tool += [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(graph), "-d", "CPU"]
    tool += ["-api", "sync", "-hint", "none", "-nthreads", "1", "-nstreams", "1", "-infer_precision", "f32", "-t", "1"]
    tool += ["-shape", f"image[1,3,{SIDE},{SIDE}]", "-ip", "f32"]  # left alone, it would take bytes for a picture
    theirs, ours = [], []
    for _ in range(TOOL_PAIRS):
        said = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
        # What the engine says a call took: about 0.1 ms less than passes until it returns.
        [median] = re.findall(r"Median:\s+([\d.]+) ms", said)
        theirs.append(float(median))
        with Isolated(Model("openvino", {MAIN: graph})) as harness:
            ours.append(float(np.median(harness.time(20, 80 if model != "resnet50" else 15))))
    ratio = float(np.median(np.divide(theirs, ours)))
    print(f"{model}: benchmark_app {np.median(theirs):.2f} ms, harness {np.median(ours):.2f} ms, ratio {ratio:.3f}")
    assert abs(ratio - 1) <= CLOSE
