"""Gathers what a report shows: receipts as they are, and what they do not hold, measured in stages that are kept."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge_kit import __version__
from edge_kit.core.bundle import FULL, Bundle
from edge_kit.core.errors import EdgeKitError, UsageError
from edge_kit.core.files import read_json
from edge_kit.core.images import PIXELS
from edge_kit.core.workspace import StageResult
from edge_kit.pipeline.bundles import was_made_in
from edge_kit.pipeline.compress import CompressRequest, sensitivity
from edge_kit.pipeline.inputs import DataRequest, model_data
from edge_kit.pipeline.parity import bundle_settings
from edge_kit.pipeline.runner import Input, Line, Of, Reporter, Runner
from edge_kit.pipeline.stages import OBSERVED, SHOWN
from edge_kit.zoo import MODELS, load_all
from runtimes.registry import get_runtime
from runtimes.targets import machine_conditions

RECEIPT, HERE = "receipt", "this report"
"""Where a figure comes from."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What the user asked for.

    Attributes:
        runtimes: Names of engines to show besides those of the receipts.
        data: To measure on; what a bundle was made on where None.
        threads: That is measured with.
    """

    runtimes: tuple[str, ...] = ()
    data: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UsageError(f"--threads must be at least 1, got {self.threads}")


def make_report(
    bundles: Sequence[Bundle], request: ReportRequest, runner: Runner, reporter: Reporter
) -> dict[str, Any]:
    """Gather all of all bundles; what cannot be measured is a reason in its place.

    Returns:
        JSON: how it was `made`; `rows`, one each version and runtime with all conditions; and `models`, one a bundle.

    Raises:
        UsageError: A runtime has no such name.
        BadData: A bundle is not what it says of itself.
    """
    load_all()
    for name in request.runtimes:
        get_runtime(name)
    models, rows = [], []
    for bundle in bundles:
        bundle.verify()
        own = replace(runner, reporter=Of(bundle.path.name, reporter), records=[])
        model, found = _Model(bundle, request, own).gather()
        models.append(model)
        rows += found
    mark_fronts(rows)
    made = {"edge_kit": __version__, "date": time.strftime("%Y-%m-%d", time.gmtime()), "machine": machine_conditions()}
    return {"made": made, "rows": rows, "models": models}


def mark_fronts(rows: Sequence[Document]) -> None:
    """Set `front` of each row: no other of its runtime, taken alike, is as fast and better, or as good and faster.

    Only rows of one metric, data set, machine, device, threads and batch are held against each other.
    """
    groups: dict[Any, list[Document]] = defaultdict(list)
    for row in rows:
        row["front"] = False
        if row["metric"] and row["latency"]:
            groups[comparable(row)].append(row)
    for group in groups.values():
        best = float("-inf")
        for row in sorted(group, key=lambda row: (row["latency"]["p50_ms"], -_goodness(row["metric"]))):
            row["front"] = _goodness(row["metric"]) > best
            best = max(best, _goodness(row["metric"]))


def _goodness(metric: Document) -> float:
    """Larger is better, of error rates too."""
    value = float(metric["value"])
    return -value if metric.get("lower_is_better", False) else value  # receipts of older bundles do not say


def comparable(row: Document) -> tuple[Any, ...]:
    """What two rows must share to be held against each other."""
    metric, latency = row["metric"], row["latency"]
    quality = (metric["name"], metric["unit"], metric["dataset"], metric["samples"])
    return (*quality, row["machine"]["cpu"], *(latency[name] for name in ("runtime", "device", "threads", "batch")))


class _Reusing(Runner):
    """Ranks layers of what is in the workspace, and makes nothing else anew."""

    def _make(
        self,
        stage: str,
        key: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Input],
        aside: Mapping[str, Any],
    ) -> StageResult:
        if stage != "sensitivity":
            raise EdgeKitError(f"what its stage {stage!r} made is not in this workspace; see edge-kit sensitivity")
        return super()._make(stage, key, settings, inputs, aside)


class _Model:
    """One bundle."""

    def __init__(self, bundle: Bundle, request: ReportRequest, runner: Runner) -> None:
        self._bundle, self._request, self._runner = bundle, request, runner
        self._receipt = bundle.receipt()
        self._machine = machine_conditions()

    def gather(self) -> tuple[Document, list[Document]]:
        """The bundle's own part of the document, and its rows."""
        manifest, receipt = self._bundle.manifest, self._receipt
        rows = [self._recorded(version, one) for version, one in receipt["models"].items()]
        known = {row["runtime"] for row in rows}
        latencies, shown, missing = [], None, []
        try:
            line = self._line()
            shown = self._shown(line)
            for runtime in dict.fromkeys((*sorted(known), *self._request.runtimes)):
                observed = self._observed(line, runtime)
                latencies += self._latencies(runtime, observed)
                rows += [] if runtime in known else self._measured(runtime, observed)
        except EdgeKitError as fault:
            missing.append(f"not measured anew: {fault}")
        ranking = self._ranking(missing)
        document = {
            "name": self._bundle.path.name,
            "digest": self._bundle.digest,
            **self._identity(),
            "target": manifest.target,
            "size": dict(manifest.model),
            "stages": receipt.get("stages", []),
            "sensitivity": ranking,
            "latencies": latencies,
            "shown": shown,
            "missing": missing,
            **{name: receipt[name] for name in ("checks", "reference", "machine", "versions", "notes")},
            "source": receipt["source"],
            "licence": receipt["licence"],
            "request": receipt["request"],
            "calibration": receipt["quantization"].get("calibration"),
        }
        return document, rows

    def _identity(self) -> Document:
        manifest = self._bundle.manifest
        family = MODELS.get(manifest.id).family if manifest.id in MODELS else manifest.task
        return {"id": manifest.id, "title": manifest.title, "task": manifest.task, "family": family}

    def _row(self, version: str, runtime: str, machine: Document, origin: str) -> Document:
        empty = {"latency": None, "metric": None, "agreement": None, "size_bytes": None, "reason": "", "noise": ""}
        of = {"bundle": self._bundle.path.name, "digest": self._bundle.digest, **self._identity()}
        return {**of, "version": version, "runtime": runtime, "machine": machine, "origin": origin, **empty}

    def _recorded(self, version: str, one: Document) -> Document:
        """A row of the receipt."""
        row = self._row(version, one["latency"]["runtime"], self._receipt["machine"], RECEIPT)
        metric = next(iter(one["metrics"]), None)
        agreement = self._receipt["agreement"].get(version)
        figures = {"latency": one["latency"], "metric": metric, "agreement": agreement}
        return {**row, **figures, "size_bytes": one["size_bytes"]}

    def _measured(self, runtime: str, observed: Document) -> list[Document]:
        """Rows of a runtime that the receipt does not tell of."""
        rows = []
        for precision, one in observed["precisions"].items():
            row = self._row(self._version(precision), runtime, self._machine, HERE)
            row["size_bytes"] = self._bundle.size_bytes(precision)
            if not one["reason"]:
                row["latency"], row["metric"] = one["latency"], next(iter(one["metrics"]), None)
                row["agreement"] = observed["agreement"] if precision != FULL else None
                row["noise"] = observed["noise"]
            rows.append({**row, "reason": one["reason"]})
        return rows

    def _version(self, precision: str) -> str:
        """What a receipt calls the graphs of a precision: of a pruned model, those of full precision are the pruned."""
        others = [name for name in self._receipt["models"] if name not in self._bundle.manifest.graphs]
        return "pruned" if precision == FULL and "pruned" in others else precision

    def _latencies(self, runtime: str, observed: Document) -> list[Document]:
        of = {"runtime": runtime, "machine": self._machine, "noise": observed["noise"]}
        return [
            {**of, "version": self._version(precision), "latency": one["latency"], "times_ms": one["times_ms"]}
            for precision, one in observed["precisions"].items()
            if not one["reason"]
        ]

    def _line(self) -> Line:
        """The data that the bundle is measured on.

        Raises:
            EdgeKitError: There is none.
        """
        told = self._receipt["request"]["data"]
        data = self._request.data or (Path(told) if told != "mini" else None)
        base = bundle_settings(self._bundle, data)
        if self._bundle.takes_pixels():
            base = {**base, "input": PIXELS}
        return Line(base, model_data(DataRequest(base, data), self._runner), self._runner)

    def _run(self, line: Line, stage: str, runtime: str) -> Input:
        inputs = {"bundle": Input(self._bundle.path.resolve(), self._bundle.digest)}
        conditions = {**self._machine, "engine": get_runtime(runtime).version()}
        return line.run(stage, {"on": runtime, "threads": self._request.threads}, inputs, conditions)

    def _observed(self, line: Line, runtime: str) -> Document:
        observed: Document = read_json(self._run(line, "observe", runtime).path / OBSERVED)
        return observed

    def _shown(self, line: Line) -> Document:
        first = next(iter(self._receipt["models"].values()))
        shown: Document = read_json(self._run(line, "show", first["latency"]["runtime"]).path / SHOWN)
        return shown

    def _ranking(self, missing: list[str]) -> Document | None:
        """Layers by harm, where the workspace still holds what the bundle was made of."""
        told = self._receipt["request"]
        known = {one.name for one in fields(CompressRequest)}
        asked = {name: value for name, value in told.items() if name in known}
        try:
            request = CompressRequest(**{**asked, "data": None if told["data"] == "mini" else Path(told["data"])})
            if not was_made_in(self._runner.workspace, self._bundle):
                raise EdgeKitError("the bundle was not made in this workspace")
            return sensitivity(request, _Reusing(self._runner.workspace, self._runner.reporter, self._runner.log))
        except EdgeKitError as fault:
            missing.append(f"no sensitivity: {fault}")
            return None
