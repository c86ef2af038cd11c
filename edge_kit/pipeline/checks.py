"""Holds what was measured to limits; where a number cannot be compared, says so instead of passing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge_kit.core.bundle import FULL, SMALL
from edge_kit.core.records import Check, Metric
from edge_kit.pipeline.subject import Subject

NOT_SHIPPED = "int8-whole"  # INT8 with no layer in float, where that lost too much

USUAL_AGREEMENT = {"%": 95.0, "dB": 20.0}
"""By unit: same answers, and the outputs over what quantization added to them, 20 dB being a tenth."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a compressed model must keep to.

    Attributes:
        max_drop: Of the headline metric against full precision, in its unit; None for 0.5, or 2 of a pruned network.
        max_size_ratio: INT8 bytes over full precision bytes.
        max_latency_ratio: INT8 p50 over full precision p50.
        max_parity: Relative difference between Paddle and exported full precision outputs.
        min_agreement: Of INT8 with full precision where there is no metric; None for `USUAL_AGREEMENT`.
        reference_slack: How far below its published row a metric may lie on the published data set.
    """

    max_drop: float | None = None
    max_size_ratio: float = 0.30
    max_latency_ratio: float = 1.0
    max_parity: float = 1e-4
    min_agreement: float | None = None
    reference_slack: float = 0.5

    def drop(self, pruned: bool) -> float:
        """The drop allowed to a network, pruned or not."""
        usual = 2.0 if pruned else 0.5
        return usual if self.max_drop is None else self.max_drop


def check_all(facts: Mapping[str, Any], subject: Subject, share: float, limits: Limits) -> tuple[Check, ...]:
    """Every check that the facts allow.

    Args:
        facts: Of the pipeline, as JSON.
        share: Of the multiply-accumulates that pruning was to remove; 0 without pruning.
    """
    found = (
        *_parity(facts, limits),
        *published_checks(
            facts["models"]["fp32"]["metrics"], facts["published_data"], subject, slack=limits.reference_slack
        ),
        *_drop(facts, limits.drop(bool(share))),
        *_agreement(facts, limits),
        *_pruning(facts, share),
        *_ratios(facts, limits),
    )
    return tuple(_shown(check) if check.name.startswith(f"{NOT_SHIPPED} ") else check for check in found)


def _shown(check: Check) -> Check:
    """A check of what does not ship: shown, not held to."""
    return replace(check, ok=None, note=f"not shipped: {check.note}")


def _parity(facts: Mapping[str, Any], limits: Limits) -> list[Check]:
    return [
        Check.at_most(
            f"{version} parity {graph}/{one['output']}",
            one["max_rel"],
            limits.max_parity,
            note=f"Paddle against ONNX Runtime, relative, {one['samples']} samples",
        )
        for version, graphs in facts["parity"].items()
        for graph, outputs in graphs.items()
        for one in outputs
    ] + [
        Check.at_most(
            f"{version} from pixels {graph}/{one['output']}",
            one["max_rel"],
            limits.max_parity,
            note=f"pixels against NumPy normalising them first, relative, {one['samples']} samples",
        )
        for version, graphs in facts.get("camera", {}).items()
        for graph, outputs in graphs.items()
        for one in outputs
    ]


def published_checks(
    metrics: Sequence[Mapping[str, Any]], published_data: bool, subject: Subject, *, of: str = FULL, slack: float
) -> list[Check]:
    """Published rows: full precision is held to them on the published data set; else they are only shown.

    Args:
        metrics: As JSON.
        of: The precision of the graphs that were scored.
        slack: How much worse than its row a metric may be.
    """
    measured = {metric["name"]: metric for metric in metrics}
    checks = []
    for row in subject.references:
        metric = measured.get(row.metric)
        if metric is None:
            continue
        name, value = f"{of} {row.metric} against published", metric["value"]
        lower = metric.get("lower_is_better", False)  # receipts of older bundles do not say
        sense = "max" if lower else "min"
        told = f"published {row.value:g} on {row.dataset}, {row.source}"
        if not published_data:
            note = f"not comparable: {metric['dataset']}, published on {row.dataset}"
            checks.append(Check(name, value, row.value, None, row.unit, sense, note))
        elif of != FULL:
            checks.append(Check(name, value, row.value, None, row.unit, sense, f"{told}, in full precision"))
        elif lower:
            checks.append(Check.at_most(name, value, row.value + slack, row.unit, told))
        else:
            checks.append(Check.at_least(name, value, row.value - slack, row.unit, told))
    return checks


def _drop(facts: Mapping[str, Any], limit: float) -> list[Check]:
    checks = []
    reference = facts["models"]["fp32"]["metrics"]
    for version, model in facts["models"].items():
        if version == "fp32" or not reference:
            continue
        first, own = Metric(**reference[0]), Metric(**model["metrics"][0])
        note = f"{first.value:.2f} to {own.value:.2f} on {own.samples} samples of {own.dataset}"
        checks.append(Check.at_most(f"{version} {first.loss_name}", first.lost(own), limit, "points", note))
    return checks


def _agreement(facts: Mapping[str, Any], limits: Limits) -> list[Check]:
    """Without a metric, full precision is what INT8 is held to."""
    if facts["models"]["fp32"]["metrics"]:
        return []
    checks = []
    for version, one in facts["agreement"].items():
        least = USUAL_AGREEMENT.get(one["unit"]) if limits.min_agreement is None else limits.min_agreement
        if least is not None:
            worst = max(
                (row["max_rel"] for rows in facts["differences"][version].values() for row in rows), default=0.0
            )
            more = "".join(f"; {row['name']} {row['value']:.4g}" for row in facts["likeness"][version])
            note = f"on {one['samples']} samples of {one['dataset']}; largest relative error {worst:.2g}{more}"
            checks.append(Check.at_least(f"{version} {one['name']}", one["value"], least, one["unit"], note))
    return checks


def _pruning(facts: Mapping[str, Any], share: float) -> list[Check]:
    if not share:
        return []
    before, after = (facts["size"][version]["macs"] for version in ("fp32", "pruned"))
    note = f"{before:,} to {after:,} multiply-accumulates, counted"
    return [Check.at_most("pruned work ratio", after / before, 1 - share + 0.02, note=note)]


def _ratios(facts: Mapping[str, Any], limits: Limits) -> list[Check]:
    full, small = facts["models"][FULL], facts["models"][SMALL]
    sizes = (small["size_bytes"], full["size_bytes"])
    plan = full["latency"]
    note = (
        f"p50 {small['latency']['p50_ms']:.3f} of {plan['p50_ms']:.3f} ms, {plan['runtime']} "
        f"{plan['runtime_version']}, {plan['threads']} thread(s), batch {plan['batch']}, "
        f"{plan['repeats']} repeats in turn"
    )
    ratio = small["latency"]["p50_ms"] / plan["p50_ms"]
    latency = Check.at_most("int8 latency ratio", ratio, limits.max_latency_ratio, note=note)
    if facts["engine"] != plan["runtime"]:
        why = f"not comparable: made for {facts['engine']} and measured without it"
        latency = replace(latency, ok=None, note=f"{why}; {note}")
    elif latency.ok is False and limits.max_latency_ratio == Limits().max_latency_ratio and _only_stored(facts):
        why = "not held to: stored in INT8 and computed in float, as the engine multiplies nothing of this in INT8"
        latency = replace(latency, ok=None, note=f"{why}; {note}")
    return [
        Check.at_most(
            "int8 size ratio",
            sizes[0] / sizes[1],
            limits.max_size_ratio,
            note=f"{sizes[0]:,} of {sizes[1]:,} bytes",
        ),
        latency,
    ]


def _only_stored(facts: Mapping[str, Any]) -> bool:
    """Whether no layer computes in INT8: such graphs are smaller, and as fast as in full precision."""
    return not any(report["quantized"] for report in facts["lowering"].values())
