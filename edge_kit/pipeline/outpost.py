"""Checks a bundle by its sentinel pack: no data set, a few seconds, here or on a board."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from edge_kit.core.bundle import FULL, SMALL, Bundle
from edge_kit.core.errors import EdgeKitError, MissingDependency
from edge_kit.core.progress import Progress
from edge_kit.core.records import Check
from edge_kit.pipeline.gate import held, latency_check, size_checks, timed
from edge_kit.pipeline.limits import GateLimits
from edge_kit.pipeline.model_files import ModelFiles
from edge_kit.pipeline.parity import FLOAT_LIMIT
from edge_kit.pipeline.sentinel import Deviation, Pack, deviation, read_pack
from runtimes.hosts import Host
from runtimes.isolated import Isolated
from runtimes.timing import TimingPlan

PLAN = TimingPlan(repeats=100, seconds=0.5)
MORE_FLIPS = 5.0
"""Points above where it was made: other kernels round in another way, and the pack looks for samples on the edge."""
MORE_ERROR = 1.5
"""Times that where it was made: OpenVINO's kernels against ONNX Runtime's gave 1.03 on MobileNetV2."""


def sentinel_checks(
    bundle: Bundle, runtime: str, limits: GateLimits, workspace: Path, host: Host | None, progress: Progress
) -> list[Check]:
    """Answers of both precisions against those in the pack, what INT8's grids cut off, and latency.

    Raises:
        EdgeKitError: There is no pack, the board cannot be reached, or FP32 cannot run there.
    """
    pack = read_pack(bundle)
    where = f"on {runtime}" + (f" on {host.name}" if host else "")
    files = ModelFiles.of_bundle(bundle)
    with ExitStack() as stack:
        running = {p: stack.enter_context(Isolated(files.model(runtime, p, workspace), host)) for p in (FULL, SMALL)}
        answers = {p: pack.run(one.runs()) for p, one in running.items()}
        _, speed, disturbed = timed(running, PLAN, progress, attempts=1)
    full, small = (deviation(pack.outputs, answers[p]) for p in (FULL, SMALL))
    on_calls = f"{pack.calls} inputs of the sentinel, {where}"
    checks = [Check.at_most(f"sentinel: {FULL} error", full.error, FLOAT_LIMIT, note=f"relative, {on_calls}")]
    checks += _answer_checks(small, deviation(pack.outputs, pack.made), limits, on_calls)
    checks.append(_cut_off(bundle, pack, limits))
    checks.append(
        latency_check(
            f"sentinel: {SMALL} latency ratio", speed, limits.max_latency_ratio, f"{where}; {disturbed}".strip("; ")
        )
    )
    return [*checks, *size_checks(bundle, limits)]


def _answer_checks(small: Deviation, made: Deviation, limits: GateLimits, note: str) -> list[Check]:
    """INT8's answers held to limits, else to those where it was made."""
    checks = []
    if small.flips is not None and made.flips is not None:
        limit = made.flips + MORE_FLIPS if limits.max_flips is None else limits.max_flips
        told = f"other classes than FP32, {made.flips:.3g} % where it was made; {note}"
        checks.append(Check.at_most(f"sentinel: {SMALL} flips", small.flips, limit, "%", told))
    told = f"relative, {made.error:.3g} where it was made; {note}"
    limit = max(MORE_ERROR * made.error, FLOAT_LIMIT)
    return [*checks, Check.at_most(f"sentinel: {SMALL} error", small.error, limit, note=told)]


def _cut_off(bundle: Bundle, pack: Pack, limits: GateLimits) -> Check:
    """Saturation, from the files alone: it is the same on every machine, so it is looked at here."""
    name = f"sentinel: {SMALL} cut off"
    try:
        from convert.cutoff import measure_cut_off
    except ImportError:
        lacking = MissingDependency("what INT8 cuts off", "onnx", "cpu")
        return Check(name, None, None, None, note=str(lacking))
    try:
        found = [
            measure_cut_off(bundle.graph(FULL, graph), bundle.graph(SMALL, graph), pack.feeds(graph))
            for graph in bundle.manifest.inputs
        ]
    except EdgeKitError as fault:
        return Check(name, None, None, None, note=str(fault))
    worst = max(found, key=lambda one: one.worst_share)
    tensors = sum(one.tensors for one in found)
    share = sum(one.share * one.tensors for one in found) / max(tensors, 1)
    most = f", most in {worst.worst!r}: {worst.worst_share:.3g} %" if worst.worst else ""
    note = f"of activations, beyond the grids of {tensors} tensors{most}"
    return held(name, share, limits.max_cut_off, "%", note)
