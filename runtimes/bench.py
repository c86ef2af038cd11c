"""Latency, size, cold start and memory of several graphs on one runtime, and which is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from edge_kit.core.errors import BadData, unknown_name
from edge_kit.core.records import Latency
from edge_kit.core.tensors import Tensors, TensorSpec, random_inputs
from runtimes.compare import Verdict, compare
from runtimes.inputs import Shapes, settle
from runtimes.probe import SEED, Footprint, measure_fresh
from runtimes.protocol import Runtime, Session
from runtimes.registry import get_runtime
from runtimes.timing import Samples, TimingPlan, measure_interleaved

Progress = Callable[[str, int, int], None]
"""Called with what is under way, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class BenchTarget:
    """One graph to measure.

    Attributes:
        model: Its label; no two of a report share one.
        graph: The file that the runtime loads.
        inputs: What it takes; None where the runtime can tell.
        files: Other files of the model, such as external weights; `size_bytes` counts them.
        group: Targets that share one are timed in turn and compared; empty for one on its own.
        precision: `fp32`, `int8`: neighbours in a group are compared where theirs differ.
    """

    model: str
    graph: Path
    inputs: tuple[TensorSpec, ...] | None = None
    files: tuple[Path, ...] = ()
    group: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class BenchRow:
    """What was measured of one target; see `runtimes.probe.Footprint` for the last two."""

    model: str
    runtime: str
    latency: Latency
    size_bytes: int
    cold_start_ms: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What `edge-kit bench` measured; rows in the order of the targets."""

    rows: tuple[BenchRow, ...]
    verdicts: tuple[Verdict, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


def bench_graphs(
    targets: Sequence[BenchTarget],
    runtime_name: str,
    plan: TimingPlan,
    progress: Progress | None = None,
    shapes: Shapes | None = None,
) -> BenchReport:
    """Measure graphs on one runtime.

    Each is loaded in a process of its own first: one that makes the engine crash ends there.

    Args:
        shapes: Full shapes by input name, for the targets that have that input.

    Raises:
        UsageError: A shape fits no target, leaves an axis open, or the device is not there.
        EdgeKitError: The engine is missing, or cannot load or run one of the graphs.
    """
    _check_labels(targets)
    runtime = get_runtime(runtime_name)
    shapes = shapes or {}
    footprints: dict[str, Footprint] = {}
    for i, target in enumerate(targets):
        if progress:
            progress(f"cold start of {target.model}", i, len(targets))
        footprints[target.model] = measure_fresh(target.graph, runtime_name, plan, shapes, target.inputs)
    _check_shapes(shapes, footprints)
    samples: dict[str, Samples] = {}
    verdicts: list[Verdict] = []
    for group in _groups(targets):
        samples |= _time_group(group, runtime, plan, progress, shapes)
        verdicts += [
            compare(a.model, samples[a.model], b.model, samples[b.model])
            for a, b in pairwise(group)
            if a.precision != b.precision
        ]
    rows = (_row(target, samples[target.model], footprints[target.model]) for target in targets)
    return BenchReport(tuple(rows), tuple(verdicts))


def _check_labels(targets: Sequence[BenchTarget]) -> None:
    models = [target.model for target in targets]
    for model in models:
        if models.count(model) > 1:
            raise ValueError(f"two targets are called {model!r}")


def _check_shapes(shapes: Shapes, footprints: dict[str, Footprint]) -> None:
    known = {spec.name for footprint in footprints.values() for spec in footprint.inputs}
    for name in shapes:
        if name not in known:
            raise unknown_name("input", name, known)


def _groups(targets: Sequence[BenchTarget]) -> list[list[BenchTarget]]:
    """Targets by their group, in order; one without a group is alone."""
    groups: dict[tuple[str, str], list[BenchTarget]] = {}
    for target in targets:
        key = (target.group, "" if target.group else target.model)
        groups.setdefault(key, []).append(target)
    return list(groups.values())


def _time_group(
    group: list[BenchTarget],
    runtime: Runtime,
    plan: TimingPlan,
    progress: Progress | None,
    shapes: Shapes,
) -> dict[str, Samples]:
    sessions: dict[str, tuple[Session, Tensors]] = {}
    batches: dict[str, int] = {}
    for target in group:
        session = runtime.load(target.graph, threads=plan.threads, device=plan.device)
        specs = session.inputs if target.inputs is None else target.inputs
        settled = settle(specs, plan.batch, shapes)
        inputs = random_inputs(settled.specs, settled.batch, SEED)
        sessions[target.model], batches[target.model] = (session, inputs), settled.batch
    label = f"timing {', '.join(sessions)}"
    timed = measure_interleaved(
        sessions,
        plan,
        runtime,
        (lambda done, total: progress(label, done, total)) if progress else None,
    )
    return {name: replace(one, latency=replace(one.latency, batch=batches[name])) for name, one in timed.items()}


def _row(target: BenchTarget, samples: Samples, footprint: Footprint) -> BenchRow:
    return BenchRow(
        model=target.model,
        runtime=samples.latency.runtime,
        latency=samples.latency,
        size_bytes=sum(_size(path) for path in (target.graph, *target.files)),
        cold_start_ms=footprint.cold_start_ms,
        peak_rss_bytes=footprint.peak_rss_bytes,
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as fault:
        raise BadData(f"cannot read {str(path)!r}: {fault.strerror}") from fault
