"""A graph's cold start and peak memory, taken in a process of its own.

Memory that an engine once took stays with its process, so each graph gets a fresh one; and an
engine that aborts takes only that process with it. `measure_fresh` is the parent's side of
`python -m runtimes.probe`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from edge_kit.core.errors import BadData, EdgeKitError, UsageError
from edge_kit.core.tensors import TensorSpec, random_inputs
from runtimes.faults import one_line
from runtimes.inputs import Shapes, settle
from runtimes.registry import get_runtime
from runtimes.timing import TimingPlan

SEED = 20
ERRORS: dict[str, type[EdgeKitError]] = {"UsageError": UsageError, "BadData": BadData}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What it takes to have a graph at all.

    Attributes:
        cold_start_ms: Loading it and the first inference; the engine itself was imported before.
        peak_rss_bytes: Most memory that was resident, Python and the engine included.
        inputs: What the graph takes; empty where the runtime cannot tell.
    """

    cold_start_ms: float
    peak_rss_bytes: int
    inputs: tuple[TensorSpec, ...]


def measure_fresh(
    graph: Path,
    runtime: str,
    plan: TimingPlan,
    shapes: Shapes,
    inputs: tuple[TensorSpec, ...] | None = None,
) -> Footprint:
    """Load a graph in a fresh process and run it once.

    Args:
        shapes: Those of inputs that the graph does not have are left aside.
        inputs: Of the graph, where the runtime cannot tell them.

    Raises:
        EdgeKitError: What the runtime raised, or the signal that its process died of.
    """
    command = [sys.executable, "-m", "runtimes.probe", str(graph.absolute()), runtime]
    command += [str(plan.threads), f"--device={plan.device}", f"--batch={plan.batch}"]
    command += [f"--shape={name}={','.join(map(str, size))}" for name, size in shapes.items()]
    if inputs is not None:
        command.append(f"--inputs={json.dumps([asdict(spec) for spec in inputs])}")
    # The child must find the code that runs here, wherever it was started and however it was found.
    paths = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    done = subprocess.run(
        command,
        cwd=Path(__file__).resolve().parents[1],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    # An engine that crashes while its process ends has measured all the same.
    if not done.stdout.strip():
        raise EdgeKitError(f"runtime {runtime!r} crashed on {str(graph)!r}: {_last_words(done)}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise ERRORS.get(answer["error"], EdgeKitError)(answer["message"])
    specs = tuple(_spec(row) for row in answer["inputs"])
    return Footprint(answer["cold_start_ms"], answer["peak_rss_bytes"], specs)


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    said = f" ({one_line(lines[-1])})" if lines else ""
    if done.returncode >= 0:
        return f"its process exited with {done.returncode}{said}"
    try:
        name = signal.Signals(-done.returncode).name
    except ValueError:  # a real-time signal has no name
        name = f"signal {-done.returncode}"
    hint = "; the machine may be out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}{said}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line of JSON: a footprint, or the error that there is none."""
    # Engines print on stdout, some of them on the way out; the answer must be alone there.
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        try:
            document = _footprint(_arguments(argv))
        except EdgeKitError as fault:
            document = {"error": type(fault).__name__, "message": str(fault)}
        answer.write(json.dumps(document) + "\n")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m runtimes.probe", description=__doc__)
    parser.add_argument("graph", type=Path)
    parser.add_argument("runtime")
    parser.add_argument("threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--shape", action="append", default=[], help="NAME=1,3,224,224")
    parser.add_argument("--inputs", type=json.loads, help="input specs, a JSON list")
    return parser.parse_args(argv)


def _footprint(arguments: argparse.Namespace) -> dict[str, Any]:
    runtime = get_runtime(arguments.runtime)
    start = perf_counter_ns()
    session = runtime.load(arguments.graph, threads=arguments.threads, device=arguments.device)
    loading = perf_counter_ns() - start
    declared = arguments.inputs
    specs = session.inputs if declared is None else tuple(_spec(row) for row in declared)
    shapes = dict(_shape(text) for text in arguments.shape)
    settled = settle(specs, arguments.batch, shapes)
    inputs = random_inputs(settled.specs, settled.batch, SEED)
    start = perf_counter_ns()
    session.run(inputs)
    running = perf_counter_ns() - start
    return {
        "cold_start_ms": (loading + running) / 1e6,
        "peak_rss_bytes": peak_rss_bytes(),
        "inputs": [asdict(spec) for spec in specs],
    }


def _spec(row: dict[str, Any]) -> TensorSpec:
    return TensorSpec(row["name"], tuple(row["shape"]), row["dtype"], row["layout"])


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")  # names of inputs may hold a `=`, sizes do not
    return name, tuple(int(size) for size in sizes.split(",") if size)


def peak_rss_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Tell the most memory of this process that was ever resident."""
    try:
        # Preferred to getrusage: on Linux its figure starts at that of the parent process.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
