"""Latency, size, cold start and memory of several models on several runtimes, and which is faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.errors import BadData, EdgeKitError, unknown_name
from edge_kit.core.images import KINDS
from edge_kit.core.records import Latency
from edge_kit.core.tensors import MAIN, Reader, Tensors, TensorSpec
from runtimes.compare import Verdict, compare
from runtimes.conditions import noise
from runtimes.hosts import Host
from runtimes.inputs import Shapes
from runtimes.isolated import Footprint, Isolated, Model
from runtimes.protocol import OperatorTime
from runtimes.timing import Times, TimingPlan, interleave, time_calls

Progress = Callable[[str, int, int], None]
"""Called with what is under way, how much of it is done, and of how much."""

PLACEMENT_CALLS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One answer to be read.

    Attributes:
        reader: That reads it.
        inputs: Of a real sample: a detector finds other things in noise, and more of them.
    """

    reader: Reader
    inputs: Tensors


@dataclass(frozen=True, slots=True)
class BenchTarget:
    """One model on one runtime.

    Attributes:
        model: What it is called.
        graphs: The files that the runtime loads, by graph name; a latency is of all of them.
        inputs: What each graph takes; graphs whose runtime can tell may be left out.
        files: Other files of the model, such as external weights; `size_bytes` counts them.
        group: Targets that share one are timed in turn and compared; empty for one on its own.
        precision: `fp32`, `int8`.
        runtime: Name of the engine.
        threads: That may work on one call.
        preprocess: How a picture becomes its input, as its bundle says; empty where it takes none.
        reading: How its outputs become an answer, where something tells.
    """

    model: str
    graphs: Mapping[str, Path]
    inputs: Mapping[str, tuple[TensorSpec, ...]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    group: str = ""
    precision: str = ""
    runtime: str = "onnx"
    threads: int = 1
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    reading: Reading | None = None

    @classmethod
    def of_graph(cls, model: str, graph: Path, **more: Any) -> BenchTarget:
        """A model of one graph."""
        return cls(model, {MAIN: graph}, **more)

    @property
    def label(self) -> str:
        """As verdicts call it; no two targets of a report share one."""
        return f"{self.runtime} {self.model}" + (f" on {self.threads} threads" if self.threads > 1 else "")


@dataclass(frozen=True, slots=True)
class Placed:
    """Operators that ran in one place in one precision, as the engine calls them; empty where it does not say."""

    place: str
    precision: str
    operators: int


@dataclass(frozen=True, slots=True)
class BenchRow:
    """What was measured of one target; see `runtimes.isolated.Footprint` for the loading.

    Attributes:
        throughput: Samples a second, from the mean of all calls.
        placement: How many operators ran where; None where the runtime cannot tell.
        preprocess_ms: Making a 640 x 480 picture the input, which `latency` does not count; None where the
            model takes no pictures, or OpenCV is not there.
        postprocess_ms: Reading the answer to a real sample from the outputs, which `latency` does not count
            either; None where nothing tells how, or the model is on a board.
    """

    model: str
    runtime: str
    latency: Latency
    size_bytes: int
    cold_start_ms: float
    peak_rss_bytes: int
    load_ms: float
    first_ms: float
    throughput: float
    placement: tuple[Placed, ...] | None
    preprocess_ms: float | None = None
    postprocess_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A model that a runtime could not run, and why."""

    model: str
    runtime: str
    reason: str


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What `edge-kit bench` measured; rows in the order of the targets.

    Attributes:
        noise: What disturbed the machine meanwhile; empty where it was quiet.
        machine: Its address (empty for this one), processor and cores, and its GPU where one was at work.
        operators: Time of every operator by label, where it was asked for.
    """

    rows: tuple[BenchRow, ...]
    verdicts: tuple[Verdict, ...]
    skipped: tuple[Skipped, ...] = ()
    noise: tuple[str, ...] = ()
    operators: dict[str, tuple[OperatorTime, ...]] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """How targets are measured.

    Attributes:
        plan: Threads are each target's own.
        shapes: Full shapes by input name, for the targets that have that input.
        host: Where they run; this machine where None.
        tolerant: A runtime that cannot run a model is reported and passed over.
        profile_calls: Calls to take the time of every operator from; 0 for none.
        workspace: Where conversions are kept.
    """

    plan: TimingPlan = TimingPlan()
    shapes: Shapes = field(default_factory=dict)
    host: Host | None = None
    tolerant: bool = False
    profile_calls: int = 0
    workspace: Path | None = None

    def model(self, target: BenchTarget) -> Model:
        """What a process is to load for one target."""
        plan = replace(self.plan, threads=target.threads)
        return Model(target.runtime, target.graphs, target.inputs, plan, self.shapes, self.workspace)


def bench_models(
    targets: Sequence[BenchTarget], settings: BenchSettings, progress: Progress | None = None
) -> BenchReport:
    """Measure models, each in a process of its own, those of a group in turn.

    Raises:
        UsageError: A shape fits no target, leaves an axis open, or the device is not there.
        EdgeKitError: An engine is missing, or cannot load or run one of the graphs.
    """
    _check_labels(targets)
    progress = progress or _silent
    reports = [_bench_group(group, settings, progress) for group in groups(targets)]
    inputs = {name for _, known in reports for name in known}
    for name in settings.shapes if inputs else ():
        if name not in inputs:
            raise unknown_name("input", name, inputs)
    merged = [report for report, _ in reports]
    order = {(target.model, target.runtime, target.threads): i for i, target in enumerate(targets)}
    rows = [row for report in merged for row in report.rows]
    return BenchReport(
        rows=tuple(sorted(rows, key=lambda row: order[row.model, row.runtime, row.latency.threads])),
        verdicts=tuple(verdict for report in merged for verdict in report.verdicts),
        skipped=tuple(one for report in merged for one in report.skipped),
        noise=tuple(dict.fromkeys(line for report in merged for line in report.noise)),
        operators={label: times for report in merged for label, times in report.operators.items()},
        machine=next((report.machine for report in merged if report.machine), {}),
    )


def groups(targets: Sequence[BenchTarget]) -> list[list[BenchTarget]]:
    """Targets by their group, in order; one without a group is alone."""
    found: dict[tuple[str, str], list[BenchTarget]] = {}
    for target in targets:
        key = (target.group, "" if target.group else target.label)
        found.setdefault(key, []).append(target)
    return list(found.values())


@contextmanager
def loaded(
    group: Sequence[BenchTarget], settings: BenchSettings, progress: Progress
) -> Iterator[tuple[dict[str, Isolated], tuple[Skipped, ...]]]:
    """Every target of a group that its runtime can load, by label, each in a process of its own."""
    skipped = []
    with ExitStack() as stack:
        processes: dict[str, Isolated] = {}
        for i, target in enumerate(group):
            progress(f"loading {target.label}", i, len(group))
            try:
                processes[target.label] = stack.enter_context(Isolated(settings.model(target), settings.host))
            except EdgeKitError as fault:
                if not settings.tolerant:
                    raise
                skipped.append(Skipped(target.model, target.runtime, str(fault)))
        yield processes, tuple(skipped)


def _bench_group(group: list[BenchTarget], settings: BenchSettings, progress: Progress) -> tuple[BenchReport, set[str]]:
    """Measure one group; also the names of all inputs, to hold the user's shapes against."""
    with loaded(group, settings, progress) as (processes, skipped):
        here = [target for target in group if target.label in processes]
        if not here:
            return BenchReport((), (), skipped), set()
        first = next(iter(processes.values()))
        before = first.conditions()
        label = f"timing {', '.join(processes)}"
        timers = {name: process.time for name, process in processes.items()}
        times = interleave(timers, settings.plan, lambda done, total: progress(label, done, total))
        busy = max(target.threads for target in here)
        found = noise(before, first.conditions(), busy)
        host = settings.host.name if settings.host else ""
        machine = {"host": host, "cpu": before.cpu, "cores": before.cores, "gpu": before.gpu}
        calls = settings.profile_calls or PLACEMENT_CALLS
        operators = {name: process.profile(calls) for name, process in processes.items()}
        footprints = {name: process.footprint for name, process in processes.items()}
        before_it = {
            target.label: processes[target.label].preprocess(target.preprocess, settings.plan)
            for target in here
            if target.preprocess.get("kind") in KINDS
        }
        behind_it = {target.label: _reading_ms(processes[target.label], target, settings) for target in here}
    rows = [
        replace(
            _row(target, times, footprints, operators, settings.plan),
            preprocess_ms=before_it.get(target.label),
            postprocess_ms=behind_it[target.label],
        )
        for target in here
    ]
    verdicts = [compare(a.label, times[a.label], b.label, times[b.label]) for a, b in pairs(here)]
    kept = {name: one for name, one in operators.items() if one is not None} if settings.profile_calls else {}
    inputs = {spec.name for one in footprints.values() for specs in one.inputs.values() for spec in specs}
    return BenchReport(tuple(rows), tuple(verdicts), skipped, found, kept, machine), inputs


def _reading_ms(process: Isolated, target: BenchTarget, settings: BenchSettings) -> float | None:
    """Median time of reading an answer, in this process; None where nothing tells how or it would be elsewhere."""
    if target.reading is None or settings.host is not None:
        return None
    reader = target.reading.reader
    try:
        outputs = reader.infer(process.runs(), target.reading.inputs)
        times = time_calls(partial(reader.read, outputs), settings.plan.warmup, settings.plan.repeats)
    except EdgeKitError:  # a reader that does not know such outputs
        return None
    return float(np.median(times))


def pairs(group: Sequence[BenchTarget]) -> list[tuple[BenchTarget, BenchTarget]]:
    """Which of a group to compare: those that differ in one thing.

    A precision with the one before it on the same runtime, a number of threads likewise, and a runtime
    with the first that ran the same model.
    """
    found = []
    for i, b in enumerate(group):
        for differs, nearest in (("precision", -1), ("threads", -1), ("runtime", 0)):
            others = {"precision", "threads", "runtime"} - {differs}
            like = [a for a in group[:i] if all(getattr(a, one) == getattr(b, one) for one in others)]
            like = [a for a in like if getattr(a, differs) != getattr(b, differs)]
            if like:
                found.append((like[nearest], b))
    return found


def latency_of(runtime: str, times: Times, footprint: Footprint, plan: TimingPlan) -> Latency:
    """Summary of the times of one model."""
    p50, p90, p99 = (float(value) for value in np.percentile(times, (50, 90, 99)))
    return Latency(
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        runtime=runtime,
        runtime_version=footprint.version,
        device=plan.device,
        threads=plan.threads,
        batch=footprint.batch,
        warmup=plan.warmup,
        repeats=len(times),
        input_shape=footprint.input_shape,
        cpus=list(plan.cpus),
    )


def _row(
    target: BenchTarget,
    times: Mapping[str, Times],
    footprints: Mapping[str, Footprint],
    operators: Mapping[str, tuple[OperatorTime, ...] | None],
    plan: TimingPlan,
) -> BenchRow:
    footprint, mine, ran = footprints[target.label], times[target.label], operators[target.label]
    return BenchRow(
        model=target.model,
        runtime=target.runtime,
        latency=latency_of(target.runtime, mine, footprint, replace(plan, threads=target.threads)),
        size_bytes=sum(_size(path) for path in (*target.graphs.values(), *target.files)),
        cold_start_ms=footprint.cold_start_ms,
        peak_rss_bytes=footprint.peak_rss_bytes,
        load_ms=footprint.load_ms,
        first_ms=footprint.first_ms,
        throughput=1000 * footprint.batch / float(mine.mean()),
        placement=None if ran is None else placement(ran),
    )


def placement(operators: Sequence[OperatorTime]) -> tuple[Placed, ...]:
    """How many operators ran where, in which precision; the most first."""
    counted = Counter((one.place, one.precision) for one in operators)
    return tuple(Placed(place, precision, count) for (place, precision), count in counted.most_common())


def _check_labels(targets: Sequence[BenchTarget]) -> None:
    labels = [target.label for target in targets]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"two targets are called {label!r}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as fault:
        raise BadData(f"cannot read {str(path)!r}: {fault.strerror}") from fault


def _silent(what: str, done: int, total: int) -> None:
    pass
