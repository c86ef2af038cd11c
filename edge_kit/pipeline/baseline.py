"""A file that the user commits: what bundles were, so that a change for the worse is found and noise is not.

It is written on purpose only (`--update-baseline`). Latencies are kept as the ratio to the bundle's own FP32 graph,
measured in turn, so that machines may differ; metrics part by part of the evaluation set, so that the two runs are
compared sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_kit.core.bundle import SMALL, Bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import read_json, write_json
from edge_kit.core.records import Check
from edge_kit.pipeline.checks import USUAL_AGREEMENT
from edge_kit.pipeline.gate import Measured, first_difference, half_width, targets_digest
from edge_kit.pipeline.parity import BundleScene
from runtimes.compare import Verdict
from runtimes.targets import cpu_name, this_machine

FORMAT = 1
SURE = 2.6
"""Deviations: of 200 comparisons of equal models, one lies farther off, and the latency is then measured again."""
SMALLEST = 0.02
"""A slowdown below this is none: chosen, not measured; a new process of the same model is never quite as fast."""
NOISY = 0.30
"""The same on a machine with other work: what it does to memory hits FP32 and INT8 unequally (measured: 1.26 times)."""
PROCESSES = 3
"""Pairs of processes that a baseline's ratio is taken in, and that must all agree before an alarm is given: where its
memory comes to lie is luck of a whole process, which no interval of calls within it shows."""

Again = Callable[[str], tuple[Verdict, str]]
"""Measures the ratio of FP32 to INT8 on a runtime once more, and tells what disturbed it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference and how far it may be off."""

    value: float
    low: float
    high: float


def read_baseline(path: Path) -> dict[str, Any]:
    """The entries of a baseline by name of the bundle.

    Raises:
        UsageError: There is no such file yet.
        BadData: It is not one of ours.
    """
    if not path.is_file():
        raise UsageError(f"baseline {str(path)!r} does not exist yet; make it: add --update-baseline")
    try:
        document = read_json(path)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}, this edge-kit reads {FORMAT}")
        bundles: dict[str, Any] = dict(document["bundles"])
        for entry in bundles.values():
            _check_entry(entry)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fault = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BadData(
            f"baseline {str(path)!r} cannot be read ({fault}); make it again with --update-baseline"
        ) from None
    return bundles


def _check_entry(entry: Mapping[str, Any]) -> None:
    """Look for all that `compare_with` reads."""
    int(entry["size_bytes"]), list(entry["labels"]), dict(entry["preprocess"])
    str(entry["data"]["targets"]), int(entry["data"]["samples"]), str(entry["data"]["name"])
    for row in entry["runtimes"].values():
        numbers = [row["score"]["value"], *(row["speed"][key] for key in ("ratio", "low", "high")), *_parts(row)]
        if not all(math.isfinite(float(number)) for number in numbers):
            raise ValueError("a number in it is not finite")
        str(row["score"]["name"]), bool(row["score"]["metric"]), str(row["isa"]), str(row["noise"]), str(row["version"])


def update_baseline(path: Path, entries: Mapping[str, Any]) -> None:
    """Write the entries of these bundles, and keep those of others."""
    before = read_baseline(path) if path.is_file() else {}
    merged = {**before, **entries}
    write_json(path, {"format": FORMAT, "bundles": {name: merged[name] for name in sorted(merged)}})


def entry_of(scene: BundleScene, measured: Sequence[Measured]) -> dict[str, Any]:
    """What a baseline keeps of a bundle, as JSON."""
    manifest = scene.bundle.manifest
    return {
        "digest": scene.bundle.digest,
        "size_bytes": scene.bundle.size_bytes(SMALL),
        "labels": list(manifest.labels),
        "preprocess": dict(manifest.preprocess),
        "data": {
            "name": scene.dataset.name,
            "samples": scene.dataset.eval_size(),
            "targets": targets_digest(scene.dataset, _inputs(scene.bundle)),
        },
        "runtimes": {one.runtime: _row(one) for one in measured if one.speed and one.score},
    }


def _inputs(bundle: Bundle) -> set[str]:
    return {spec.name for specs in bundle.manifest.inputs.values() for spec in specs}


def _row(one: Measured) -> dict[str, Any]:
    assert one.speed and one.score  # the caller looked
    latency = one.latency[SMALL]
    return {
        "version": latency.runtime_version,
        "score": {
            "name": one.score.name,
            "value": one.score.value,
            "unit": one.score.unit,
            "lower_is_better": one.score.lower_is_better,
            "metric": bool(one.metrics[SMALL]),
        },
        "parts": " ".join(f"{value:g}" for value in one.blocks),  # a list would fill hundreds of lines
        "speed": {"ratio": one.speed.ratio, "low": one.speed.low, "high": one.speed.high},
        "noise": one.noise,
        "p50_ms": latency.p50_ms,
        "cpu": cpu_name(),
        "isa": this_machine().name,
    }


def _parts(row: Mapping[str, Any]) -> list[float]:
    return [float(value) for value in row["parts"].split()]


def compare_with(
    entry: Mapping[str, Any], scene: BundleScene, measured: Sequence[Measured], again: Again
) -> list[Check]:
    """Everything that may have become worse.

    Args:
        again: Called before an alarm is given.
    """
    now = entry_of(scene, measured)
    checks = [_same(f"baseline: {key}", entry[key], now[key]) for key in ("labels", "preprocess")]
    data = _same("baseline: evaluation set", entry["data"], now["data"])
    note = f"{now['size_bytes']:,} bytes, {entry['size_bytes']:,} in the baseline"
    checks += [data, Check.at_most(f"baseline: {SMALL} bytes", now["size_bytes"], entry["size_bytes"], "", note)]
    for runtime, row in now["runtimes"].items():
        before = entry["runtimes"].get(runtime)
        if before is None:
            checks.append(Check(f"baseline: {SMALL} on {runtime}", None, None, None, note="not in the baseline"))
            continue
        checks.append(_score_check(runtime, before, row, comparable=data.ok is True))
        checks.append(_speed_check(runtime, before, row, again))
    return checks


def _same(name: str, before: Any, now: Any) -> Check:
    difference = first_difference(before, now)
    if difference is None:
        return Check(name, None, None, True, note="as in the baseline")
    place, was, has = difference
    return Check(name, None, None, False, note=f"{place} was {was!r}, is {has!r}")


def _score_check(runtime: str, before: Mapping[str, Any], now: Mapping[str, Any], comparable: bool) -> Check:
    score, was = now["score"], before["score"]
    name, unit = f"baseline: {SMALL} {score['name']} on {runtime}", score["unit"]
    lower = score.get("lower_is_better", False)
    sense = "max" if lower else "min"
    old, new = _parts(before), _parts(now)
    if not score["metric"] and unit not in USUAL_AGREEMENT:
        note = f"{was['value']:.4g} in the baseline; which way is better is not known of it"
        return Check(name, score["value"], was["value"], None, unit, sense, note)
    if not comparable or len(old) != len(new) or was["name"] != score["name"]:
        note = f"not comparable: {was['name']} {was['value']:.2f} was measured on other samples"
        return Check(name, score["value"], was["value"], None, unit, sense, note)
    change = paired_difference(old, new)
    note = f"{was['value']:.2f} in the baseline; {change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"
    ok = change.low <= 0 if lower else change.high >= 0
    return Check(name, score["value"], was["value"], ok, unit, sense, note)


def paired_difference(before: Sequence[float], now: Sequence[float]) -> Interval:
    """How much a score changed over the same parts of a set, and the interval of a change that samples like them show.

    Equal parts cancel, so that few samples tell a lot; one part more is taken to have fallen, and one to have risen, by
    as much as the largest change, as an interval of few changes is too narrow otherwise.

    Source: Agresti and Min 2005, Simple improved confidence intervals for comparing matched proportions.
    """
    change = np.asarray(now) - np.asarray(before)
    largest = float(np.abs(change).max())
    widened = np.concatenate([change, [largest / 2, -largest / 2]])
    spread = SURE * float(widened.std(ddof=1)) / math.sqrt(len(widened))
    middle = float(change.mean())
    return Interval(middle, middle - spread, middle + spread)


def in_several_processes(first: Measured, again: Again) -> Measured:
    """What was measured, with the middle ratio of several pairs of processes and the interval that covers theirs."""
    if first.speed is None:
        return first
    others = [again(first.runtime) for _ in range(PROCESSES - 1)]
    speeds = [first.speed, *(speed for speed, _ in others)]
    middle = float(np.median([speed.ratio for speed in speeds]))
    low, high = min(speed.low for speed in speeds), max(speed.high for speed in speeds)
    disturbed = next((noise for noise in (first.noise, *(noise for _, noise in others)) if noise), "")
    return replace(first, speed=replace(first.speed, ratio=middle, low=low, high=high), noise=disturbed)


def _speed_check(runtime: str, before: Mapping[str, Any], now: Mapping[str, Any], again: Again) -> Check:
    name = f"baseline: {SMALL} time on {runtime}"
    if before["isa"] != now["isa"]:
        note = f"not comparable: the baseline was measured on {before['isa']}, this machine is {now['isa']}"
        return Check(name, None, None, None, note=note)
    was, speed, disturbed = _verdict(before["speed"]), _verdict(now["speed"]), now["noise"]
    slower = slowdown(was, speed)
    for _ in range(PROCESSES - 1):
        if slower.low <= _most(before, disturbed):
            break
        another, more = again(runtime)
        slower = min(slower, slowdown(was, another), key=lambda one: one.low)
        disturbed = disturbed or more
    limit = _most(before, disturbed)
    versions = "" if before["version"] == now["version"] else f"; version {before['version']} to {now['version']}"
    noisy = "".join(f"; {when}: {what}" for when, what in (("then", before["noise"]), ("now", disturbed)) if what)
    note = f"[{slower.low:.3f}, {slower.high:.3f}] times that of the baseline, both held to FP32{versions}{noisy}"
    return Check(name, slower.value, limit, slower.low <= limit, "x", "max", note)


def _most(before: Mapping[str, Any], disturbed: str) -> float:
    return 1 + (NOISY if disturbed or before["noise"] else SMALLEST)


def _verdict(speed: Mapping[str, float]) -> Verdict:
    return Verdict("", "", speed["ratio"], speed["low"], speed["high"], "")


def slowdown(before: Verdict, now: Verdict) -> Interval:
    """How many times slower INT8 has become, its FP32 being the clock."""
    change = math.log(before.ratio / now.ratio)
    spread = math.hypot(half_width(before), half_width(now)) * SURE / 1.96
    return Interval(math.exp(change), math.exp(change - spread), math.exp(change + spread))
