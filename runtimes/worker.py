"""Loads one model and runs it for a bench, in a process of its own: `python -m runtimes.worker`.

On a board this, NumPy and the engine are enough. An engine that crashes takes only this process with it,
memory is that of one model, and engines that cannot share a process need not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import IO, Any

import numpy as np

from edge_kit.core.errors import EdgeKitError, MissingDependency, UsageError
from edge_kit.core.images import read_preprocess
from edge_kit.core.tensors import Array, Tensors, TensorSpec, random_inputs
from runtimes.conditions import look
from runtimes.frames import serve_frames
from runtimes.inputs import settle
from runtimes.protocol import Profiling, Runtime, Session
from runtimes.registry import get_runtime
from runtimes.timing import time_calls
from runtimes.wire import HELLO, receive, send

SEED = 20
CAMERA = (480, 640, 3)  # height, width and channels of a webcam's picture
Answer = tuple[dict[str, Any], Tensors]


class Worker:
    """One model, and what a bench may ask of it; a method a request."""

    def __init__(self) -> None:
        self._runtime: Runtime
        self._graphs: dict[str, Path] = {}
        self._sessions: dict[str, Session] = {}
        self._feeds: dict[str, dict[str, Array]] = {}
        self._settings: dict[str, Any] = {}

    def load(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """Load every graph and run it once on random inputs; the engine is imported before the clock starts."""
        _pin(request["cpus"] or _common_processors(request["threads"]))
        self._runtime = get_runtime(request["runtime"])
        self._settings = {"threads": request["threads"], "device": request["device"]}
        self._graphs = {name: _own_form(self._runtime, path, request) for name, path in request["graphs"].items()}
        loading, sessions = _clocked(self._load_graphs)
        self._sessions = sessions
        self._feeds, batch = self._random_feeds(request)
        running, _ = _clocked(self._call)
        specs = {name: self._specs(request, name) for name in self._graphs}
        told = {
            "version": self._runtime.version(),
            "load_ms": loading,
            "first_ms": running,
            "peak_rss_bytes": peak_rss_bytes(),
            "batch": batch,
            "inputs": {name: [asdict(spec) for spec in given] for name, given in specs.items()},
            "outputs": {name: list(session.outputs) for name, session in sessions.items()},
            "input_shape": {k: list(v.shape) for feed in self._feeds.values() for k, v in feed.items()},
        }
        return told, {}

    def convert(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """Give every graph in the form that the engine reads, for a board that cannot make it."""
        runtime = get_runtime(request["runtime"])
        return {
            "graphs": {name: str(_own_form(runtime, path, request)) for name, path in request["graphs"].items()}
        }, {}

    def run(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """Run one graph on the arrays of the request."""
        return {}, self._sessions[request["graph"]].run(tensors)

    def time(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """Time calls of the whole model: every graph once."""
        return {}, {"ms": time_calls(self._call, request["untimed"], request["timed"])}

    def preprocess(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """Time what makes a camera's picture an input; null where OpenCV, which it takes, is not installed."""
        prepare, picture = read_preprocess(request["settings"]), _camera_picture()
        try:
            times = time_calls(partial(prepare, picture), request["untimed"], request["timed"])
        except MissingDependency:
            return {"ms": None}, {}
        return {"ms": float(np.median(times))}, {}

    def picture_to_answer(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """Time a camera's picture on its way through preparation and graph to the place of the largest output."""
        prepare, picture = read_preprocess(request["settings"]), _camera_picture()
        session = self._sessions[request["graph"]]
        name, output = session.inputs[0].name, session.outputs[0]

        def call() -> int:
            return int(session.run({name: prepare(picture)[None]})[output].argmax())

        return {}, {"ms": time_calls(call, request["untimed"], request["timed"])}

    def frames(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """Serve a camera of a given frame rate."""
        return asdict(serve_frames(self._call, request["fps"], request["seconds"])), {}

    def profile(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """Time of every operator, graph by graph; null where the runtime cannot tell."""
        if not isinstance(self._runtime, Profiling):
            return {"operators": None}, {}
        operators = [
            asdict(one)
            for name, graph in self._graphs.items()
            for one in self._runtime.profile(graph, self._feeds[name], calls=request["calls"], **self._settings)
        ]
        return {"operators": operators}, {}

    def conditions(self, request: dict[str, Any], tensors: Tensors) -> Answer:
        """What the machine is busy with now."""
        return asdict(look(gpu=self._settings["device"] != "cpu")), {}

    def _load_graphs(self) -> dict[str, Session]:
        return {name: self._runtime.load(path, **self._settings) for name, path in self._graphs.items()}

    def _call(self) -> None:
        for name, session in self._sessions.items():
            session.run(self._feeds[name])

    def _specs(self, request: dict[str, Any], graph: str) -> tuple[TensorSpec, ...]:
        declared = request["inputs"].get(graph)
        if declared is None:
            return self._sessions[graph].inputs
        return tuple(TensorSpec.from_dict(row) for row in declared)

    def _random_feeds(self, request: dict[str, Any]) -> tuple[dict[str, dict[str, Array]], int]:
        shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
        feeds, batch = {}, request["batch"]
        for name in self._graphs:
            settled = settle(self._specs(request, name), request["batch"], shapes)
            feeds[name] = random_inputs(settled.specs, settled.batch, SEED)
            batch = settled.batch
        return feeds, batch


def _own_form(runtime: Runtime, graph: str, request: dict[str, Any]) -> Path:
    from edge_kit.core.workspace import Workspace
    from runtimes.conversion import own_form

    place = request.get("workspace")
    return own_form(runtime, Path(graph), Workspace(Path(place)) if place else None)


def _pin(cpus: list[int]) -> None:
    """Keep this process, and the threads the engine will start, on some processors."""
    if not cpus:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("this system cannot pin a process to processors; leave out --cpus")
    there = sorted(os.sched_getaffinity(0))
    missing = sorted(set(cpus) - set(there))
    if missing:
        raise UsageError(f"no processor {missing[0]} here; there are: {', '.join(map(str, there))}")
    os.sched_setaffinity(0, cpus)


def _common_processors(threads: int) -> list[int]:
    """The same for every worker with as many threads: two cores of one machine are seldom equally quiet.

    Left to the system, a model against itself was told to differ in 18 of 56 comparisons; on one core, in 0 of 69.
    """
    return sorted(os.sched_getaffinity(0))[-threads:] if hasattr(os, "sched_getaffinity") else []


def _camera_picture() -> Array:
    return np.random.default_rng(SEED).integers(0, 256, CAMERA, np.uint8)


def _clocked(work: Callable[[], Any]) -> tuple[float, Any]:
    start = perf_counter_ns()
    result = work()
    return (perf_counter_ns() - start) / 1e6, result


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


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until the other side ends."""
    worker = Worker()
    while True:
        try:
            request, tensors = receive(requests)
        except EOFError:
            return
        ask = getattr(worker, request["do"])
        try:
            send(answers, *ask(request, tensors))
        except EdgeKitError as fault:
            send(answers, {"error": type(fault).__name__, "message": str(fault)})


def main() -> None:
    """Speak on what were standard input and output; engines print on the latter, which must not be in the way."""
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        answers.write(HELLO)
        answers.flush()
        with suppress(KeyboardInterrupt, BrokenPipeError):  # the other side has gone, or was interrupted with us
            serve(requests, answers)
    sys.stderr.flush()
    os._exit(0)  # engines may crash while they are torn down; the work is done


if __name__ == "__main__":
    main()
