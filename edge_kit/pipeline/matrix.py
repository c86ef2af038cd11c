"""The zoo, a row a model: what every stage and every runtime made of it. A failure is a row, too."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_kit.core.bundle import FULL, SMALL
from edge_kit.core.errors import EdgeKitError, UsageError
from edge_kit.core.files import read_json
from edge_kit.core.records import Metric
from edge_kit.pipeline.checks import Limits, published_checks
from edge_kit.pipeline.inputs import PRETRAINED, DataRequest, base_settings, mini_weights, model_data, take_weights
from edge_kit.pipeline.parity import REFERENCE, ParityRow, check_row
from edge_kit.pipeline.runner import Input, Line, Of, Reporter, Runner, installed_versions
from edge_kit.pipeline.subject import subject_of
from edge_kit.zoo import MODELS, ZooEntry, load_all
from edge_kit.zoo.entry import UNTRAINED, UNTRAINED_SAMPLES
from runtimes.registry import get_runtime
from runtimes.targets import cpu_name, machine_conditions, this_machine
from runtimes.timing import TimingPlan

CALIBRATION = 200  # as `compress` has it
PACKAGES = ("edge-kit", "paddlepaddle", "paddlepaddle-gpu", "paddleslim", "paddle2onnx", "numpy")


@dataclass(frozen=True, slots=True)
class MatrixRequest:
    """What the user asked for.

    Attributes:
        ids: Of zoo models; all of the zoo where none is named.
        runtimes: Names of engines; answers are compared on all of them, times taken on ONNX Runtime.
        data: Folder of the published data set, for released weights; None for random weights and mini pictures.
        threads: That latency is measured with.
        repeats: Calls timed of each model; a network of published size may take a second a call.
        samples: Mini samples at published size, to find ranges on and as many to compare on.
        train: Whether models that ship no weights are trained on their mini sets, as `compress` trains them.
    """

    ids: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = (REFERENCE,)
    data: Path | None = None
    threads: int = 1
    repeats: int = TimingPlan().repeats
    samples: int = UNTRAINED_SAMPLES
    max_bad: int = 0
    train: bool = False

    def __post_init__(self) -> None:
        if min(self.threads, self.repeats, self.samples) < 1 or self.max_bad < 0:
            raise UsageError("--threads, --repeats and --samples must be at least 1, --max-bad at least 0")


def run_matrix(request: MatrixRequest, runner: Runner, reporter: Reporter) -> dict[str, Any]:
    """Take every model through every stage, or as far as it comes; what was done before is not done again.

    Returns:
        JSON: `conditions` and `rows`, by family and id; a row that failed says its `reason`.

    Raises:
        UsageError: A model or a runtime has no such name.
    """
    load_all()
    entries = [MODELS.get(id) for id in dict.fromkeys(request.ids)] or list(MODELS)
    engines = {name: get_runtime(name).version() for name in dict.fromkeys((REFERENCE, *request.runtimes))}
    rows = []
    for entry in sorted(entries, key=lambda entry: (entry.family, entry.id)):
        own = replace(runner, reporter=Of(entry.id, reporter), records=[])
        try:
            rows.append(_Row(entry, request, own, engines).run())
        except EdgeKitError as fault:
            rows.append({**_identity(entry), "reason": str(fault)})
    return {"conditions": _conditions(request, engines), "rows": rows}


def faults(report: Mapping[str, Any]) -> list[str]:
    """A line for each model that failed and each runtime that gives wrong answers."""
    found = [f"{row['id']}: {row['reason']}" for row in report["rows"] if row["reason"]]
    for row in report["rows"]:
        found += [f"{row['id']}: {one['name']} {one['value']:.4g}" for one in row.get("checks", ()) if not one["ok"]]
        found += [f"{row['id']}: {one['first']}" for one in row.get("pieces", {}).values() if one["first"]]
    return found


def _identity(entry: ZooEntry) -> dict[str, Any]:
    published = {"parameters": entry.parameters, "macs": entry.macs}
    rows = [asdict(reference) for reference in entry.references]
    return {"id": entry.id, "title": entry.title, "family": entry.family, "published": {**published, "metrics": rows}}


def _conditions(request: MatrixRequest, engines: Mapping[str, str]) -> dict[str, Any]:
    return {
        "machine": {"cpu": cpu_name(), "target": this_machine().name, "cores": os.cpu_count()},
        "engines": dict(engines),
        "packages": installed_versions(PACKAGES),
        "threads": request.threads,
        "repeats": request.repeats,
        "data": str(request.data) if request.data else "mini",
    }


class _Row:
    """One model on its way through the stages."""

    def __init__(self, entry: ZooEntry, request: MatrixRequest, runner: Runner, engines: Mapping[str, str]) -> None:
        self._entry, self._request, self._runner, self._engines = entry, request, runner, engines
        self._machine = machine_conditions()
        trained = request.data is not None and entry.published.weights is not None
        self._base = base_settings(entry.id, "published" if trained else UNTRAINED, request.max_bad)
        self._folder = request.data if trained else None

    def run(self) -> dict[str, Any]:
        trained = self._folder is not None
        wanted = DataRequest(self._base, self._folder, most=0 if trained else self._request.samples)
        line = _Line(self._base, model_data(wanted, self._runner), self._runner)
        exported = line.exported(line.as_shipped()) if trained else line.run("settled", {}, {})
        lowered = line.lowered(exported)
        facts = line.measured(exported, lowered, self._timing(scored=trained), self._machine)
        report, versions = read_json(exported.path / "report.json"), {FULL: exported, SMALL: lowered}
        parity = [*_on_reference(report, facts), *self._elsewhere(line, versions)]
        return {
            **_identity(self._entry),
            "weights": "released" if trained else UNTRAINED,
            "input": facts["models"][FULL]["latency"]["input_shape"],
            "parameters": report["size"]["parameters"],
            "macs": report["size"]["macs"],
            **_figures(facts),
            "parity": [asdict(row) for row in parity],
            "pieces": read_json(line.run("pieces", {}, versions).path / "pieces.json"),
            "checks": self._checks(facts, parity, trained),
            "mini": self._mini(),
            "reason": "",
        }

    def _elsewhere(self, line: _Line, versions: Mapping[str, Input]) -> list[ParityRow]:
        rows = []
        threads = os.cpu_count() or 1  # answers do not depend on it, and this is no timing
        for runtime in self._request.runtimes:
            if runtime == REFERENCE:
                continue
            conditions = {**self._machine, "engine": self._engines[runtime]}
            asked = {"on": runtime, "scored": self._folder is not None, "threads": threads}
            made = line.run("parity", asked, versions, conditions)
            rows += [_parity_row(document) for document in read_json(made.path / "parity.json")]
        return rows

    def _checks(self, facts: Mapping[str, Any], parity: Sequence[ParityRow], trained: bool) -> list[dict[str, Any]]:
        """Float answers are held to ONNX Runtime's; INT8 ones of random weights lie too near to each other for that."""
        held = [row for row in parity if trained or row.precision == FULL]
        checks = [check for check in (check_row(row, parity) for row in held) if check.ok is not None]
        if trained:
            metrics, slack = facts["models"][FULL]["metrics"], Limits().reference_slack
            checks += published_checks(metrics, facts["published_data"], subject_of(self._base), slack=slack)
        return [asdict(check) for check in checks]

    def _timing(self, *, scored: bool) -> dict[str, Any]:
        return {"threads": self._request.threads, "repeats": self._request.repeats, "scored": scored}

    def _mini(self) -> dict[str, Any] | None:
        """The metric on the mini set, at its input size and classes, where weights for it ship or may be trained."""
        setup = self._entry.mini
        ships = bool(setup.weights) and not setup.part
        if self._folder is not None or setup.made is None or not (ships or self._request.train):
            return None
        base = base_settings(self._entry.id, "mini", self._request.max_bad)
        line = _Line(base, model_data(DataRequest(base, None), self._runner), self._runner)
        weights = mini_weights(line) if self._request.train else line.as_shipped()
        training = weights.path / "report.json"
        exported = line.exported(weights)
        facts = line.measured(exported, line.lowered(exported), self._timing(scored=True), self._machine)
        chance = line.run("chance", {"runtime": REFERENCE}, {FULL: exported})
        return {
            "input": facts["models"][FULL]["latency"]["input_shape"],
            "training": read_json(training) if training.is_file() else None,
            "chance": read_json(chance.path / "metrics.json")[:1],
            **_figures(facts),
        }


class _Line(Line):
    def as_shipped(self) -> Input:
        return take_weights(PRETRAINED, self.base, self.data, self.runner)

    def exported(self, weights: Input) -> Input:
        return self.run("export", {}, {"weights": weights})

    def lowered(self, exported: Input) -> Input:
        fake = self.run("quantize", {"calibration": CALIBRATION, "algorithm": "hist"}, {"export": exported})
        plan = {"calibration": CALIBRATION, "target": this_machine().name}
        return self.run("lower", plan, {"export": exported, "quantize": fake})

    def measured(
        self, exported: Input, lowered: Input, plan: Mapping[str, Any], machine: Mapping[str, str]
    ) -> dict[str, Any]:
        made = self.run("measure", {**plan, "runtime": REFERENCE}, {FULL: exported, SMALL: lowered}, machine)
        facts: dict[str, Any] = read_json(made.path / "measured.json")
        return facts


def _figures(facts: Mapping[str, Any]) -> dict[str, Any]:
    models, [verdict] = facts["models"], facts["verdicts"]
    metrics = {name: model["metrics"][:1] for name, model in models.items()}
    first = [Metric(**metrics[name][0]) for name in (FULL, SMALL) if metrics[name]]
    return {
        "metrics": metrics,
        "drop": first[0].lost(first[1]) if first else None,
        "agreement": facts["agreement"][SMALL],
        "size_bytes": {name: model["size_bytes"] for name, model in models.items()},
        "latency": {name: model["latency"] for name, model in models.items()},
        "speedup": {key: verdict[key] for key in ("ratio", "low", "high", "verdict")},
    }


def _on_reference(report: Mapping[str, Any], facts: Mapping[str, Any]) -> list[ParityRow]:
    """ONNX Runtime was measured already: full precision against Paddle, INT8 against full precision."""
    metrics = {name: [Metric(**one) for one in model["metrics"]] for name, model in facts["models"].items()}
    agreement = Metric(**facts["agreement"][SMALL])
    same = replace(agreement, value=100.0) if agreement.unit == "%" else None
    off = {FULL: report["parity"], SMALL: facts["differences"][SMALL]}
    return [
        ParityRow(
            REFERENCE,
            precision,
            metric=next(iter(metrics[precision]), None),
            agreement=agreed,
            max_abs=max(one["max_abs"] for outputs in off[precision].values() for one in outputs),
            max_rel=max(one["max_rel"] for outputs in off[precision].values() for one in outputs),
        )
        for precision, agreed in ((FULL, same), (SMALL, agreement))
    ]


def _parity_row(document: Mapping[str, Any]) -> ParityRow:
    metrics = {name: Metric(**document[name]) if document[name] else None for name in ("metric", "agreement")}
    return ParityRow(**{**document, **metrics})
