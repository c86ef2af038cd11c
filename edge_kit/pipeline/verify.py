"""Holds a bundle to what it says of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import CheckError, EdgeKitError, UsageError
from edge_kit.core.records import Check
from edge_kit.core.tensors import random_inputs
from edge_kit.pipeline.baseline import (
    Again,
    compare_with,
    entry_of,
    in_several_processes,
    read_baseline,
    update_baseline,
)
from edge_kit.pipeline.bench import runtimes_of
from edge_kit.pipeline.bundles import all_bundles
from edge_kit.pipeline.checks import Limits
from edge_kit.pipeline.gate import Measured, full_precision_checks, limit_checks, measure_on, scene_checks, time_again
from edge_kit.pipeline.limits import GateLimits, LimitsFile, check_models, find_limits, read_limits
from edge_kit.pipeline.outpost import sentinel_checks
from edge_kit.pipeline.parity import REFERENCE as ONNX_RUNTIME
from edge_kit.pipeline.parity import BundleScene, check_row, open_scene, parity_matrix
from edge_kit.pipeline.runner import Reporter, Runner
from runtimes.board import Board
from runtimes.deploy import load_bundle
from runtimes.targets import TARGETS, Target, this_machine

SEED = 0


NOT_MEASURED = (" parity ", " from pixels ", "pruned work ratio")
"""In the names of recorded checks that need what a bundle does not hold: the Paddle network, or what was pruned."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What bundles are held to besides what they say of themselves.

    Attributes:
        limits: From the user's file.
        flags: From the command line; they have precedence.
        runtimes: To measure on.
        data: To measure on; the mini set where None.
        baseline: Entries by name of the bundle; None where there is nothing to compare with.
        kept: What is measured becomes a baseline itself.
    """

    limits: LimitsFile = LimitsFile()
    flags: GateLimits = GateLimits()
    runtimes: tuple[str, ...] = (ONNX_RUNTIME,)
    data: Path | None = None
    baseline: Mapping[str, Any] | None = None
    kept: bool = False

    def limits_of(self, bundle: Bundle, runtime: str) -> GateLimits:
        """Flags, then the file, then what the bundle was made under."""
        receipt = bundle.receipt()
        usual = GateLimits(max_drop=Limits().drop(bool(receipt["request"]["prune"])))
        recorded = GateLimits.recorded(receipt["limits"]).over(usual)
        return self.flags.over(self.limits.of((bundle.path.name, bundle.manifest.id), runtime)).over(recorded)


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What the user asked for.

    Attributes:
        runtime: Names of engines, as typed; None for ONNX Runtime, and no comparison of engines.
        data: To measure on; the mini set where None.
        limits: The file of limits; `edge-kit.toml` of the current folder where None.
        baseline: The file to compare with.
        update: Write the baseline instead.
        sentinel: By the samples in the bundle.
        on: The board that the sentinel runs on.
        python: The interpreter there.
    """

    runtime: str | None = None
    data: Path | None = None
    limits: Path | None = None
    flags: GateLimits = GateLimits()
    baseline: Path | None = None
    update: bool = False
    sentinel: bool = False
    on: str | None = None
    python: str = "python3"

    def __post_init__(self) -> None:
        if self.update and self.baseline is None:
            raise UsageError("--update-baseline needs the file to write: add --baseline FILE")
        if self.on and not self.sentinel:
            raise UsageError("--on runs the sentinel on a board: add --sentinel; `edge-kit bench --on` measures there")
        if self.sentinel and (self.baseline or self.data):
            raise UsageError("--sentinel needs no data and has answers of its own; leave out --data and --baseline")


def verify_all(
    bundles: Sequence[Bundle], request: VerifyRequest, runner: Runner, reporter: Reporter
) -> list[dict[str, Any]]:
    """Check bundles as asked for; JSON, a report each.

    Raises:
        EdgeKitError: A file of the user's cannot be read, or there is no data to measure on.
    """
    file = find_limits(request.limits)
    limits = read_limits(file) if file else LimitsFile()
    if file:
        names = [bundle.path.name for bundle in (*bundles, *all_bundles(runner.workspace))]
        check_models(file, limits, [*names, *(bundle.manifest.id for bundle in bundles)], _zoo_names)
    runtimes = runtimes_of(request.runtime) if request.runtime else (ONNX_RUNTIME,)
    compared = read_baseline(request.baseline) if request.baseline and not request.update else None
    gate = Gate(limits, request.flags, runtimes, request.data, compared, request.update)
    measures = not request.sentinel and bool(file or request.baseline or request.flags != GateLimits())
    reports, entries = [], {}
    for bundle in bundles:
        began = time.monotonic()
        report = verify_bundle(bundle, measured_anew=measures)
        sound = report["checks"][0]["ok"]
        if request.sentinel and sound:
            report["checks"] += _sentinel(bundle, gate, request, runner, reporter)
        if measures and sound:
            entry = pass_gate(report, bundle, gate, runner, reporter)
            sound = entry is not None
            entries[bundle.path.name] = entry
        if request.runtime and not request.sentinel and sound:
            _add_parity(report, bundle, runtimes, request.data, runner, reporter)
        reports.append({**report, "seconds": time.monotonic() - began})
    if request.update and request.baseline:
        _write_baseline(request.baseline, entries)
    return reports


def _zoo_names() -> list[str]:
    from edge_kit.zoo import MODELS, load_all

    load_all()
    return MODELS.names()


def _write_baseline(path: Path, entries: Mapping[str, dict[str, Any] | None]) -> None:
    unsound = [name for name, entry in entries.items() if entry is None]
    if unsound:
        raise CheckError(
            f"baseline {str(path)!r} was not written: {', '.join(unsound)} is not what it says; see verify"
        )
    update_baseline(path, entries)


def _sentinel(
    bundle: Bundle, gate: Gate, request: VerifyRequest, runner: Runner, reporter: Reporter
) -> list[dict[str, Any]]:
    checks = []
    board = Board(request.on, request.python) if request.on else None
    for runtime in gate.runtimes:
        reporter.started(f"sentinel on {runtime}")
        limits = gate.limits_of(bundle, runtime)
        checks += sentinel_checks(bundle, runtime, limits, runner.workspace.root, board, reporter.progress)
    return [asdict(check) for check in dict.fromkeys(checks)]


def _add_parity(
    report: dict[str, Any],
    bundle: Bundle,
    runtimes: Sequence[str],
    data: Path | None,
    runner: Runner,
    reporter: Reporter,
) -> None:
    rows = parity_matrix(bundle, runtimes, data, runner, reporter)
    report["parity"] = [asdict(row) for row in rows]
    report["checks"] += [asdict(check_row(row, rows)) for row in rows]


def verify_bundle(bundle: Bundle, *, measured_anew: bool = False) -> dict[str, Any]:
    """Check integrity, answers and target on this machine, and repeat what the receipt recorded.

    Args:
        measured_anew: Leave out what a gate measures again.

    Returns:
        JSON: `bundle`, `digest` and `checks`; those from the receipt say when and where they were made.
    """
    checks = [_integrity(bundle)]
    if checks[0].ok:
        checks += [_answers(bundle, precision) for precision in bundle.manifest.graphs]
        checks.append(_target(bundle))
        recorded = bundle.receipt()
        where = f"recorded on {recorded['machine']['cpu']}"
        for one in recorded["checks"]:
            if not measured_anew or any(part in one["name"] for part in NOT_MEASURED):
                checks.append(Check(**{**one, "note": f"{one['note']}; {where}"}))
    return {
        "bundle": str(bundle.path),
        "digest": bundle.digest,
        "checks": [asdict(check) for check in checks],
    }


def pass_gate(
    report: dict[str, Any], bundle: Bundle, gate: Gate, runner: Runner, reporter: Reporter
) -> dict[str, Any] | None:
    """Measure a bundle anew, and add what was found to its report.

    Returns:
        Its entry for a baseline; None where it is of other classes or inputs than the data.
    """
    scene = open_scene(bundle, gate.data, runner, reporter)
    checks = scene_checks(scene)
    entry = None
    if all(check.ok for check in checks):
        measured = []
        for runtime in gate.runtimes:
            reporter.started(f"measuring on {runtime}")
            measured.append(measure_on(scene, runtime))
            checks += limit_checks(bundle, measured[-1], gate.limits_of(bundle, runtime))
        checks += full_precision_checks(scene, measured[0])
        again = partial(time_again, scene)
        entry = entry_of(scene, [in_several_processes(one, again) for one in measured] if gate.kept else measured)
        report["measured"] = [{**asdict(one), "blocks": None} for one in measured]
        if gate.baseline is not None:
            checks += _against_baseline(gate.baseline, scene, measured, again)
    report["checks"] += [asdict(check) for check in dict.fromkeys(checks)]
    return entry


def _against_baseline(
    baseline: Mapping[str, Any], scene: BundleScene, measured: list[Measured], again: Again
) -> list[Check]:
    entry = baseline.get(scene.bundle.path.name)
    if entry is None:
        return [Check("baseline", None, None, None, note="it is not in the baseline; --update-baseline takes it in")]
    return compare_with(entry, scene, measured, again)


def _integrity(bundle: Bundle) -> Check:
    try:
        bundle.verify()
    except EdgeKitError as error:
        return Check("files unchanged", None, None, False, note=str(error))
    return Check("files unchanged", None, None, True, note="SHA-256 of every file")


def _answers(bundle: Bundle, precision: str) -> Check:
    """Every graph loads and gives finite numbers of the right names."""
    name = f"{precision} graphs answer"
    try:
        sessions = load_bundle(bundle, precision=precision)
        for graph, session in sessions.items():
            outputs = session.run(random_inputs(bundle.manifest.inputs[graph], 1, SEED))
            if set(outputs) != set(bundle.manifest.outputs[graph]):
                return Check(name, None, None, False, note=f"{graph} gives {sorted(outputs)}")
            if not all(np.isfinite(value).all() for value in outputs.values()):
                return Check(name, None, None, False, note=f"{graph} gives numbers that are not finite")
    except EdgeKitError as error:
        return Check(name, None, None, False, note=str(error))
    return Check(name, None, None, True, note="finite, by name, random input")


def _target(bundle: Bundle) -> Check:
    """Whether the INT8 graphs compute the same on this machine as where they were checked."""
    made_for, here = TARGETS[bundle.manifest.target], this_machine()
    note = f"made for {made_for.name}, this machine is {here.name}"
    return Check("int8 arithmetic", None, None, _safe(made_for, here), note=note)


def _safe(made_for: Target, here: Target) -> bool:
    """A graph kept from saturating runs anywhere; one that is not needs kernels that cannot saturate."""
    return made_for.saturating_pairs or not (here.saturating_pairs and made_for.unsigned_activations)
