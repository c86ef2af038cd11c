"""A model in a process of its own, from the outside; `runtimes.worker` is the inside."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from edge_kit.core import errors
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.tensors import Array, Run, Tensors, TensorSpec
from runtimes.conditions import Conditions
from runtimes.faults import one_line
from runtimes.frames import FrameReport
from runtimes.hosts import Host, ThisMachine
from runtimes.inputs import Shapes
from runtimes.protocol import OperatorTime
from runtimes.registry import converts
from runtimes.timing import Timer, Times, TimingPlan
from runtimes.wire import HELLO, receive, send

T = TypeVar("T", bound="_Process")
LAST_WORDS = 4000
END_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Model:
    """What a process is to load.

    Attributes:
        runtime: Name of the engine.
        graphs: Files by graph name; a latency is of all of them, in this order.
        inputs: Of the graphs whose runtime cannot tell them, by graph name.
        plan: Threads, device, batch and processors.
        shapes: Full shapes by input name; those of inputs that the model does not have are left aside.
        workspace: Where conversions are kept; the user's own where None.
    """

    runtime: str
    graphs: Mapping[str, Path]
    inputs: Mapping[str, tuple[TensorSpec, ...]] = field(default_factory=dict)
    plan: TimingPlan = TimingPlan()
    shapes: Shapes = field(default_factory=dict)
    workspace: Path | None = None

    def request(self, host: Host) -> dict[str, Any]:
        """For a worker, after the files were brought to its host, in the form that its engine reads."""
        graphs = self.graphs
        if host.name and converts(self.runtime):
            graphs = _converted(self)
        return {
            "runtime": self.runtime,
            "graphs": {name: host.place(path) for name, path in graphs.items()},
            "inputs": {name: [asdict(spec) for spec in specs] for name, specs in self.inputs.items()},
            "threads": self.plan.threads,
            "device": self.plan.device,
            "batch": self.plan.batch,
            "cpus": list(self.plan.cpus),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "workspace": _text(self.workspace),
        }


@dataclass(frozen=True, slots=True)
class Footprint:
    """What it takes to have a model at all.

    Attributes:
        version: Of the engine.
        load_ms: Loading; the engine itself was imported before.
        first_ms: The first inference.
        peak_rss_bytes: Most memory that was resident by then, Python and the engine included.
        batch: Samples of one call.
        inputs: What each graph takes.
        outputs: What each graph gives.
        input_shape: As timed, by input name.
    """

    version: str
    load_ms: float
    first_ms: float
    peak_rss_bytes: int
    batch: int
    inputs: dict[str, tuple[TensorSpec, ...]]
    outputs: dict[str, tuple[str, ...]]
    input_shape: dict[str, list[int]]

    @property
    def cold_start_ms(self) -> float:
        """Loading and the first inference."""
        return self.load_ms + self.first_ms


class _Process:
    """A worker, and the requests it is sent; use as a context."""

    def __init__(self, model: Model, host: Host) -> None:
        self._model, self._host = model, host
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._child: subprocess.Popen[bytes] | None = None
        try:
            self._child = host.start(self._errors)
            self._greet()
        except BaseException:
            self.close()
            raise

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for pipe in (child.stdin, child.stdout) if child else ():
            if pipe:
                with suppress(OSError):  # what was not sent need not be
                    pipe.close()
        self._errors.close()

    def ask(self, do: str, tensors: Tensors | None = None, **request: Any) -> tuple[dict[str, Any], dict[str, Array]]:
        """Send one request and wait for its answer.

        Raises:
            EdgeKitError: What the worker raised, of the same class, or what its process died of.
        """
        assert self._child is not None and self._child.stdin is not None and self._child.stdout is not None
        try:
            send(self._child.stdin, {"do": do, **request}, tensors)
            answer, results = receive(self._child.stdout)
        except (EOFError, BrokenPipeError):
            raise EdgeKitError(self._died()) from None
        if "error" in answer:
            raise _rebuilt(answer["error"], answer["message"])
        return answer, results

    def _greet(self) -> None:
        """Wait for the worker, past what a login shell may print first."""
        assert self._child is not None and self._child.stdout is not None
        while (line := self._child.stdout.readline()) != HELLO:
            if not line:
                raise EdgeKitError(self._died())

    def _died(self) -> str:
        assert self._child is not None
        code = self._child.wait()
        self._errors.seek(0)
        words = self._errors.read()[-LAST_WORDS:].decode(errors="replace").strip().splitlines()
        said = f" ({one_line(words[-1])})" if words else ""
        graphs = ", ".join(repr(str(path)) for path in self._model.graphs.values())
        on = f" on {self._host.name}" if self._host.name else ""
        return f"runtime {self._model.runtime!r} crashed on {graphs}{on}: its process {_ending(code)}{said}"


class Isolated(_Process):
    """A loaded model in a process of its own.

    Raises:
        EdgeKitError: From any method: what the runtime raised, of the same class, or what its process died of.
    """

    def __init__(self, model: Model, host: Host | None = None) -> None:
        where = host or ThisMachine()
        request = model.request(where)
        super().__init__(model, where)
        try:
            self.footprint = _footprint(self.ask("load", **request)[0])
        except BaseException:
            self.close()
            raise

    def session(self, graph: str) -> IsolatedSession:
        """One of the graphs, to run on arrays of one's own."""
        return IsolatedSession(self, graph)

    def runs(self) -> dict[str, Run]:
        """Every graph as a function."""
        return {graph: self.session(graph).run for graph in self.footprint.inputs}

    def run(self, graph: str, inputs: Tensors) -> dict[str, Array]:
        """Run one graph."""
        return self.ask("run", inputs, graph=graph)[1]

    def time(self, untimed: int, timed: int) -> Times:
        """Time calls of the whole model, (timed,) milliseconds; a `runtimes.timing.Timer`."""
        return self.ask("time", untimed=untimed, timed=timed)[1]["ms"]

    def preprocess(self, settings: Mapping[str, Any], plan: TimingPlan) -> float | None:
        """Median time, in milliseconds, that a 640 x 480 picture takes to become an input; None without OpenCV.

        Args:
            settings: As a bundle keeps them.
        """
        told, _ = self.ask("preprocess", settings=dict(settings), untimed=plan.warmup, timed=plan.repeats)
        return None if told["ms"] is None else float(told["ms"])

    def picture_to_answer(self, graph: str, settings: Mapping[str, Any]) -> Timer:
        """What times a 640 x 480 picture on its way through preparation and one graph to the largest output's place.

        Args:
            settings: Of the preparation, as a bundle keeps them.
        """

        def time(untimed: int, timed: int) -> Times:
            asked = self.ask("picture_to_answer", graph=graph, settings=dict(settings), untimed=untimed, timed=timed)
            return asked[1]["ms"]

        return time

    def frames(self, fps: float, seconds: float) -> FrameReport:
        """Serve a camera; see `runtimes.frames`."""
        return FrameReport(**self.ask("frames", fps=fps, seconds=seconds)[0])

    def profile(self, calls: int) -> tuple[OperatorTime, ...] | None:
        """Time of every operator; None where the runtime cannot tell."""
        rows = self.ask("profile", calls=calls)[0]["operators"]
        return None if rows is None else tuple(OperatorTime(**row) for row in rows)

    def conditions(self) -> Conditions:
        """What its machine is busy with."""
        return Conditions(**self.ask("conditions")[0])


class IsolatedSession:
    """One graph of an isolated model, as a session like any other."""

    def __init__(self, isolated: Isolated, graph: str) -> None:
        self._isolated, self._graph = isolated, graph
        self.inputs = isolated.footprint.inputs[graph]
        self.outputs = isolated.footprint.outputs[graph]

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch and wait for it."""
        return self._isolated.run(self._graph, inputs)


def _converted(model: Model) -> dict[str, Path]:
    """The graphs in the form that the engine reads, made in a process of this machine."""
    here = ThisMachine()
    with _Process(model, here) as process:
        graphs = {name: here.place(path) for name, path in model.graphs.items()}
        told, _ = process.ask("convert", runtime=model.runtime, graphs=graphs, workspace=_text(model.workspace))
    return {name: Path(path) for name, path in told["graphs"].items()}


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal has no name
        name = f"signal {-code}"
    hint = "; the machine may be out of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _rebuilt(kind: str, message: str) -> EdgeKitError:
    found = getattr(errors, kind, EdgeKitError)
    # A class with a constructor of its own cannot be rebuilt from its message.
    if not (isinstance(found, type) and issubclass(found, EdgeKitError) and found.__init__ is EdgeKitError.__init__):
        return EdgeKitError(message)
    return found(message)


def _footprint(told: dict[str, Any]) -> Footprint:
    specs = {graph: tuple(TensorSpec.from_dict(row) for row in rows) for graph, rows in told.pop("inputs").items()}
    outputs = {graph: tuple(names) for graph, names in told.pop("outputs").items()}
    return Footprint(inputs=specs, outputs=outputs, **told)
