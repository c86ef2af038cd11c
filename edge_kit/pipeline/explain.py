"""Explains the graphs of a bundle, or one file: what keeps each from being fast, and what that costs here."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from convert.explain import Finding, find_causes
from convert.pricing import price, runs_in_int8
from convert.quantized import Quantized, read_model
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import EdgeKitError, UsageError
from edge_kit.core.images import PIXELS
from edge_kit.core.tensors import MAIN, TensorSpec
from edge_kit.core.workspace import Workspace
from edge_kit.pipeline.bundles import find_bundles
from edge_kit.tasks.own import OWN
from runtimes.inputs import Shapes
from runtimes.isolated import Isolated, Model
from runtimes.protocol import OperatorTime, Runtime
from runtimes.registry import get_runtime
from runtimes.targets import Target, this_machine
from runtimes.timing import TimingPlan

CALLS = 20
TOP = 10


@dataclass(frozen=True, slots=True)
class Subject:
    """One graph to explain.

    Attributes:
        name: For people.
        inputs: What it takes; None where the runtime can tell.
        remedy: The command that makes it anew for this machine; empty where there is none.
    """

    name: str
    path: Path
    inputs: tuple[TensorSpec, ...] | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How graphs are timed; batch 1 where an axis stays open."""

    runtime: str = "onnx"
    threads: int = 1
    device: str = "cpu"
    calls: int = CALLS


def explain(workspace: Workspace, name: str, conditions: Conditions, shapes: Shapes) -> dict[str, Any]:
    """Explain every INT8 graph of a bundle, or one `.onnx` file.

    Returns:
        JSON: the conditions and `graphs`, each with its `findings`, dearest first, and its `operators` by time.

    Raises:
        UsageError: The name is neither a bundle nor a file, or a number or shape does not fit.
        BadData: The file is missing, or not an ONNX file.
    """
    try:
        plan = TimingPlan(0, conditions.calls, conditions.threads, 1, conditions.device)
    except ValueError as error:
        raise UsageError(str(error)) from None
    runtime, target = get_runtime(conditions.runtime), this_machine()
    subjects = _subjects(workspace, name, target)
    return {
        "model": name,
        "target": target.name,
        "runtime": runtime.name,
        "runtime_version": runtime.version(),
        "device": plan.device,
        "threads": plan.threads,
        "calls": plan.repeats,
        "graphs": [_explain(subject, runtime, target, plan, shapes) for subject in subjects],
    }


def _subjects(workspace: Workspace, name: str, target: Target) -> list[Subject]:
    if name.endswith(".onnx"):
        return [Subject(name, Path(name))]
    place = Path(name)
    if place.is_file():
        raise UsageError(f"{name!r} is neither a bundle nor an .onnx file")
    bundle = Bundle(place) if place.is_dir() else find_bundles(workspace, [name])[0]
    manifest = bundle.manifest
    precision = "int8" if "int8" in manifest.graphs else next(iter(manifest.graphs))
    asked = bundle.receipt()["request"] if manifest.task == OWN else {}
    model = f"{asked['id']} --data {asked['data']}" if asked else manifest.id
    remedy = f"edge-kit compress {model} --target {target.name}"
    if bundle.takes_pixels():
        remedy += f" --input {PIXELS}"
    return [
        Subject(f"{bundle.path.name} {precision}/{graph}", bundle.graph(precision, graph), inputs, remedy)
        for graph, inputs in manifest.inputs.items()
    ]


def _explain(subject: Subject, runtime: Runtime, target: Target, plan: TimingPlan, shapes: Shapes) -> dict[str, Any]:
    model, renamed = read_model(subject.path)
    graph = Quantized(model)
    findings = find_causes(graph, target)
    times: tuple[OperatorTime, ...] = ()
    untimed = ""
    path = subject.path
    try:
        with tempfile.TemporaryDirectory() as folder:
            if renamed:  # a profile of nodes without a name tells nobody which they are
                path = Path(folder) / "named.onnx"
                onnx.save(model, str(path), save_as_external_data=_is_large(model))
            times = _profile(replace(subject, path=path), plan, runtime.name, shapes)
    except UsageError:
        raise
    except EdgeKitError as error:  # what the file alone tells still stands
        untimed = str(error).replace(str(path), str(subject.path))
    if times:
        findings = price(graph, findings, times, plan.device)
    slowest = sorted(times, key=lambda one: -one.ms)[:TOP]
    return {
        "name": subject.name,
        "quantized": graph.is_quantizing(),
        "remedy": subject.remedy,
        "size_bytes": subject.path.stat().st_size,
        "total_ms": sum(one.ms for one in times) if times else None,
        "int8_ms": sum(one.ms for one in times if runs_in_int8(one)) if times else None,
        "operator_count": len(times),
        "untimed": untimed,
        "findings": [asdict(_with_remedy(finding, subject)) for finding in findings],
        "kinds": _by_kind(times),
        "operators": [{**asdict(one), "node": graph.node_of(one.name) or ""} for one in slowest],
    }


def _by_kind(times: tuple[OperatorTime, ...]) -> list[dict[str, Any]]:
    """How many operators of each kind ran, and their time, the most first."""
    kinds: dict[str, list[float]] = defaultdict(list)
    for one in times:
        kinds[one.kind].append(one.ms)
    rows = [{"kind": kind, "count": len(spent), "ms": sum(spent)} for kind, spent in kinds.items()]
    return sorted(rows, key=lambda row: -row["ms"])


def _is_large(model: onnx.ModelProto) -> bool:
    return bool(model.ByteSize() > 2**31 - 2**20)  # protobuf's limit, and room for the names


def _profile(subject: Subject, plan: TimingPlan, runtime: str, shapes: Shapes) -> tuple[OperatorTime, ...]:
    """Time the operators of a graph, in a process of its own: engines can abort."""
    inputs = {MAIN: subject.inputs} if subject.inputs is not None else {}
    with Isolated(Model(runtime, {MAIN: subject.path}, inputs, plan, shapes)) as process:
        times = process.profile(plan.repeats)
    if times is None:
        raise EdgeKitError(f"runtime {runtime!r} cannot tell the time of its operators")
    return times


MADE_BY_COMPRESS = (
    "full-precision", "split-activations", "wrong-sign", "repeated-quantizers", "float-sums", "float-weights",
    "float-islands", "saturating-pairs", "unfused", "loose-quantizers", "reordered",
)  # fmt: skip
"""Findings that lowering a zoo model anew mends."""


def _with_remedy(finding: Finding, subject: Subject) -> Finding:
    if subject.remedy and finding.code in MADE_BY_COMPRESS:
        return replace(finding, fix=subject.remedy)
    if finding.code == "full-precision" and finding.operators:
        how = "edge-kit compress does both, of a model of `edge-kit zoo` by ID, of this file with --data SAMPLES"
        return replace(finding, fix=f"{finding.fix}: {how}")
    return finding
