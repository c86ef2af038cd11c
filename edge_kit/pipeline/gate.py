"""Measures a bundle anew on this machine and holds it to the user's limits."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from edge_kit.core.bundle import FULL, SMALL, Bundle
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.files import sha256_json
from edge_kit.core.progress import Progress, silent
from edge_kit.core.records import Check, Latency, Metric
from edge_kit.core.tensors import Graphs, Tensors
from edge_kit.data import Dataset
from edge_kit.pipeline.checks import USUAL_AGREEMENT, Limits, published_checks
from edge_kit.pipeline.limits import GateLimits
from edge_kit.pipeline.parity import BundleScene
from edge_kit.tasks import Task
from runtimes.bench import latency_of
from runtimes.compare import Verdict, compare
from runtimes.conditions import Conditions, noise, others
from runtimes.isolated import Isolated
from runtimes.timing import Times, TimingPlan, interleave

BLOCKS = 200  # parts of the evaluation set that are scored one by one
NARROW = 0.02  # half the interval of a latency ratio; wider, and it is measured on
ATTEMPTS = 4
QUIET = 0.15  # cores that other work may keep busy meanwhile
PLAN = TimingPlan(seconds=0.5)


@dataclass(frozen=True, slots=True)
class Measured:
    """A bundle on one runtime.

    Attributes:
        metrics: By precision; empty where the task has none.
        agreement: Of INT8 with FP32 on this runtime.
        blocks: The first metric of INT8 on each of `BLOCKS` parts of the set, or the agreement where there is none.
        latency: By precision, the two taken in turn.
        p95_ms: Of INT8.
        speed: FP32 beside INT8; above 1 INT8 is faster.
        noise: What disturbed the machine while it was timed; empty where it was quiet.
        reason: Why this runtime cannot run it; all else is empty then.
    """

    runtime: str
    metrics: Mapping[str, tuple[Metric, ...]]
    agreement: Metric | None
    blocks: tuple[float, ...]
    latency: Mapping[str, Latency]
    p95_ms: float
    speed: Verdict | None
    noise: str = ""
    reason: str = ""

    @property
    def score(self) -> Metric | None:
        """What `blocks` are parts of."""
        return self.metrics[SMALL][0] if self.metrics.get(SMALL) else self.agreement


def measure_on(scene: BundleScene, runtime: str, plan: TimingPlan = PLAN) -> Measured:
    """Score and time FP32 and INT8 of a bundle; a runtime that cannot run it says why."""
    try:
        with ExitStack() as stack:
            running = {p: stack.enter_context(scene.process(runtime, p)) for p in (FULL, SMALL)}
            times, speed, disturbed = timed(running, plan, scene.progress)
            runs = {p: one.runs() for p, one in running.items()}
            footprints = {p: one.footprint for p, one in running.items()}
            metrics = {p: scene.task.evaluate(run, scene.dataset, scene.progress) for p, run in runs.items()}
            size = scene.dataset.eval_size()
            agreement = scene.task.agreement(runs[FULL], runs[SMALL], scene.dataset, size)
            blocks = tuple(_blocks(scene.task, runs, scene.dataset, scene.progress))
    except EdgeKitError as fault:
        return Measured(runtime, {}, None, (), {}, math.nan, None, reason=str(fault))
    latency = {p: latency_of(runtime, times[p], footprints[p], plan) for p in times}
    p95 = float(np.percentile(times[SMALL], 95))
    return Measured(runtime, metrics, agreement, blocks, latency, p95, speed, disturbed)


def timed(
    running: Mapping[str, Isolated], plan: TimingPlan, progress: Progress, attempts: int = ATTEMPTS
) -> tuple[dict[str, Times], Verdict, str]:
    """Times by precision in turn, their ratio, and what disturbed them; longer where it is too noisy to tell."""
    timers = {name: one.time for name, one in running.items()}
    parts: list[dict[str, Times]] = []
    before = running[FULL].conditions()
    while True:
        note = "timing on, it is noisy" if parts else "timing"
        parts.append(interleave(timers, plan, partial(progress, note=note)))
        times = {name: np.concatenate([part[name] for part in parts]) for name in timers}
        speed = compare(FULL, times[FULL], SMALL, times[SMALL])
        if len(parts) == attempts or half_width(speed) <= NARROW:
            return times, speed, _noise(before, running[FULL].conditions(), plan.threads)


def _noise(before: Conditions, after: Conditions, busy: int) -> str:
    """Load before it began is no noise: in CI that is our own work; what ran meanwhile is."""
    beside = others(before, after, busy)
    found = [f"{beside:.1f} cores were busy with other work"] if beside > QUIET else []
    return "; ".join([*found, *noise(replace(before, load=0.0), after, busy)])


def time_again(scene: BundleScene, runtime: str, plan: TimingPlan = PLAN) -> tuple[Verdict, str]:
    """The ratio once more, in processes of its own: luck with one of them is not taken for a change."""
    with ExitStack() as stack:
        running = {p: stack.enter_context(scene.process(runtime, p)) for p in (FULL, SMALL)}
        _, speed, disturbed = timed(running, plan, scene.progress)
    return speed, disturbed


def half_width(speed: Verdict) -> float:
    """Half the interval of a ratio, as a logarithm."""
    return math.log(speed.high / speed.low) / 2


class _Part:
    """Some samples of a data set: as much of `Dataset` as scoring asks for."""

    def __init__(self, whole: Dataset, batch: Tensors) -> None:
        self.name, self.published, self.labels, self.sizes = whole.name, whole.published, whole.labels, whole.sizes
        self._batch = batch

    def eval_size(self) -> int:
        return len(next(iter(self._batch.values())))

    def eval_batches(self, batch: int) -> Iterator[Tensors]:
        for start in range(0, self.eval_size(), batch):
            yield {name: value[start : start + batch] for name, value in self._batch.items()}


def _blocks(task: Task, runs: Mapping[str, Graphs], dataset: Dataset, progress: Progress) -> Iterator[float]:
    """The score of INT8 part by part, so that two bundles can be compared sample by sample, whatever the metric."""
    size = dataset.eval_size()
    side = math.ceil(size / BLOCKS)
    for i, batch in enumerate(dataset.eval_batches(side)):
        part = cast(Dataset, _Part(dataset, batch))
        metrics = task.evaluate(runs[SMALL], part, silent)
        score = metrics[0] if metrics else task.agreement(runs[FULL], runs[SMALL], part, size)
        progress(min(i * side, size), size, "part by part")
        yield float(score.value)


def targets_digest(dataset: Dataset, inputs: set[str]) -> str:
    """Of what the evaluation set says is right, sample by sample.

    Args:
        inputs: Names of what graphs take, which depends on who decodes a picture and is left out.
    """
    digests: dict[str, Any] = {}
    for batch in dataset.eval_batches(50):
        for name in batch.keys() - inputs:
            digests.setdefault(name, hashlib.sha256()).update(np.ascontiguousarray(batch[name]).tobytes())
    return sha256_json({name: one.hexdigest() for name, one in digests.items()})


def scene_checks(scene: BundleScene) -> list[Check]:
    """Whether the bundle means by its inputs and classes what the data set does."""
    manifest, dataset = scene.bundle.manifest, scene.dataset
    labels = first_difference(list(manifest.labels), list(dataset.labels))
    prepared = first_difference(dict(manifest.preprocess), dataset.preprocess.as_dict())
    return [
        Check("labels", None, None, not labels, note=_told(labels, "bundle", dataset.name)),
        Check("preprocessing", None, None, not prepared, note=_told(prepared, "bundle", "model")),
    ]


def _told(difference: tuple[str, Any, Any] | None, one: str, other: str) -> str:
    if difference is None:
        return f"of the {one} and of {other} alike"
    place, mine, others = difference
    return f"{place} is {mine!r} in the {one} and {others!r} in {other}"


def first_difference(mine: Any, others: Any, place: str = "") -> tuple[str, Any, Any] | None:
    """Where two JSON documents differ first, and what stands there; None where they are equal."""
    mine, others = (json.loads(json.dumps(one)) for one in (mine, others))
    if isinstance(mine, dict) and isinstance(others, dict):
        pairs = {key: (mine.get(key), others.get(key)) for key in [*mine, *others]}
        found = (first_difference(a, b, f"{place}.{key}".strip(".")) for key, (a, b) in pairs.items())
    elif isinstance(mine, list) and isinstance(others, list) and len(mine) == len(others):
        found = (first_difference(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(mine, others, strict=True)))
    else:
        return None if mine == others else (place or "it", mine, others)
    return next((one for one in found if one), None)


def limit_checks(bundle: Bundle, measured: Measured, limits: GateLimits) -> list[Check]:
    """What was measured on one runtime, held to limits; a number without a limit is shown."""
    on = f"on {measured.runtime}"
    if measured.reason or measured.speed is None or measured.agreement is None:
        return [Check(f"{SMALL} {on}", None, None, None, note=measured.reason)]
    checks = []
    if measured.metrics[FULL]:
        full, small = measured.metrics[FULL][0], measured.metrics[SMALL][0]
        note = f"{full.value:.2f} to {small.value:.2f} on {small.samples} samples of {small.dataset}"
        checks.append(held(f"{SMALL} {full.loss_name} {on}", full.lost(small), limits.max_drop, "points", note))
    agreement = measured.agreement
    note = f"with FP32 on {agreement.samples} samples of {agreement.dataset}"
    unit = agreement.unit
    least = limits.min_agreement if unit in USUAL_AGREEMENT else None  # of others a small one may be the better
    checks.append(held(f"{SMALL} {agreement.name} {on}", agreement.value, least, unit, note, sense="min"))
    return [*checks, *_latency_checks(measured, measured.speed, limits), *size_checks(bundle, limits)]


def _latency_checks(measured: Measured, speed: Verdict, limits: GateLimits) -> list[Check]:
    on, plan = f"on {measured.runtime}", measured.latency[SMALL]
    told = f"{plan.runtime} {plan.runtime_version}, {plan.threads} thread(s), {plan.repeats} calls in turn"
    note = f"p50 {plan.p50_ms:.3f} of {measured.latency[FULL].p50_ms:.3f} ms, {told}"
    return [
        latency_check(f"{SMALL} latency ratio {on}", speed, limits.max_latency_ratio, note),
        held(f"{SMALL} p95 {on}", measured.p95_ms, limits.max_p95_ms, "ms", told),
    ]


def latency_check(name: str, speed: Verdict, limit: float | None, note: str) -> Check:
    """INT8 over FP32; it falls short where all of the interval does, so that noise does not decide."""
    low, high = 1 / speed.high, 1 / speed.low
    check = held(name, 1 / speed.ratio, limit, "", f"[{low:.3f}, {high:.3f}]; {note}")
    return check if limit is None else replace(check, ok=low <= limit)


def size_checks(bundle: Bundle, limits: GateLimits) -> list[Check]:
    """Bytes of the INT8 graphs."""
    small, full = (bundle.size_bytes(precision) for precision in (SMALL, FULL))
    note = f"{small:,} of {full:,} bytes"
    return [
        held(f"{SMALL} size ratio", small / full, limits.max_size_ratio, "", note),
        held(f"{SMALL} size", small / 1e6, limits.max_size_mb, "MB", f"{small:,} bytes"),
    ]


def full_precision_checks(scene: BundleScene, measured: Measured) -> list[Check]:
    """Full precision against its published rows."""
    metrics = [asdict(one) for one in measured.metrics.get(FULL, ())]
    return published_checks(metrics, scene.dataset.published, scene.subject, slack=Limits().reference_slack)


def held(name: str, value: float, limit: float | None, unit: str, note: str, sense: str = "max") -> Check:
    """A value against its limit, or only shown where there is none."""
    if limit is None:
        return Check(name, value, None, None, unit, sense, note)
    make = Check.at_most if sense == "max" else Check.at_least
    return make(name, value, limit, unit, note)
