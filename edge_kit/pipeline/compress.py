"""The main job: a model of the zoo or of the user's own, from full precision to a checked INT8 bundle."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compress.prune.structured import PruneSettings
from compress.quantize.ptq import PtqSettings
from edge_kit.core.bundle import Bundle
from edge_kit.core.errors import BadData, UsageError
from edge_kit.core.files import read_json, sha256_file
from edge_kit.core.records import CompressReport, Latency, Metric, ModelRecord
from edge_kit.pipeline.bundles import publish_bundle
from edge_kit.pipeline.checks import Limits, check_all
from edge_kit.pipeline.inputs import DataRequest, base_settings, check_prunable, model_data, packaged_input
from edge_kit.pipeline.own import OwnOptions, is_own, lowering_notes, own_id, take_own
from edge_kit.pipeline.pixels import FLOAT, PIXELS, check_input, check_takes_pixels
from edge_kit.pipeline.receipt import make_receipt
from edge_kit.pipeline.runner import Input, Runner, installed_version
from edge_kit.pipeline.sources import model_of, setup_of
from edge_kit.pipeline.stages import BUNDLE, QUANTIZATION
from edge_kit.pipeline.subject import subject_of
from edge_kit.tasks.own import OWN
from edge_kit.train.recipe import Recipe
from runtimes.targets import TARGETS, cpu_name, this_machine

PRETRAINED = "pretrained"


@dataclass(frozen=True, slots=True)
class CompressRequest:
    """What the user asked for.

    Attributes:
        id: Of a zoo model, or the file of a model of the user's own.
        data: Folder in the model's published format; None for the mini set. Samples for an own model.
        weights: File of weights to use instead of training, or `pretrained`; None to train.
        prune: Share of the multiply-accumulates to remove before quantization; 0 for none.
        criterion: What a filter's worth is judged by, `l1` or `fpgm`.
        target: Of the INT8 graphs; `auto` reads this machine.
        algorithm: How the range of an activation is chosen, by PaddleSlim or, of an own ONNX file, in its way.
        calibration: Training samples that ranges are found on.
        max_bad: Missing or broken samples to leave out before giving up.
        threads: That latency is measured with.
        limits: That the checks hold the result to.
        own: What is told of a model of the user's own.
    """

    id: str
    data: Path | None = None
    weights: str | None = None
    prune: float = 0.0
    criterion: str = "l1"
    target: str = "auto"
    algorithm: str = "hist"
    calibration: int = 200
    max_bad: int = 0
    threads: int = 1
    limits: Limits = Limits()
    own: OwnOptions = OwnOptions()
    input: str = FLOAT

    def __post_init__(self) -> None:
        PtqSettings(algorithm=self.algorithm)
        if self.prune:
            PruneSettings(flops_share=self.prune, criterion=self.criterion)
        if self.calibration < 1 or self.threads < 1 or self.max_bad < 0:
            raise UsageError("--calibration and --threads must be at least 1, --max-bad at least 0")
        if self.target != "auto" and self.target not in TARGETS:
            raise UsageError(f"unknown target {self.target!r}; known: auto, {', '.join(sorted(TARGETS))}")
        check_input(self.input)


class _Work(ABC):
    """One request on its way through the stages.

    Attributes:
        base: Settings of every stage: which model, fed how.
        notes: What was taken for granted, for people.
    """

    base: Mapping[str, Any]
    data: Input
    notes: tuple[str, ...] = ()

    def __init__(self, request: CompressRequest, runner: Runner) -> None:
        self.request, self.runner = request, runner
        self.form = {"input": request.input} if request.input != FLOAT else {}  # of the graphs, for later stages
        self.target = this_machine().name if request.target == "auto" else request.target

    @abstractmethod
    def exported(self) -> dict[str, Input]:
        """Full precision graphs by version, `fp32` first; the last one ships."""

    def run(
        self,
        stage: str,
        extra: Mapping[str, Any],
        inputs: Mapping[str, Input],
        conditions: Mapping[str, str] | None = None,
    ) -> Input:
        """Run a stage of this model on this data."""
        given = {"data": self.data, **inputs}
        return self.runner.run(stage, {**self.base, **extra}, given, conditions=conditions)

    def quantized(self, exported: Input) -> tuple[Input, Input]:
        """The stage that chose the ranges, and the INT8 graphs."""
        calibration = {"calibration": self.request.calibration}
        how = {**calibration, "algorithm": self.request.algorithm}
        fake = self.run("quantize", how, {"export": exported})
        plan = {**calibration, "target": self.target, **self.form}
        return fake, self.run("lower", plan, {"export": exported, "quantize": fake})

    def shipped(self, exported: Input) -> Input:
        """Float graphs that take what the INT8 ones do."""
        return self.run("camera", {}, {"export": exported}) if self.form else exported


class _OfZoo(_Work):
    """A model of the zoo: trained, or with weights from elsewhere, then exported."""

    def __init__(self, request: CompressRequest, runner: Runner) -> None:
        super().__init__(request, runner)
        if request.own != OwnOptions():
            raise UsageError(
                f"--shape, --resize, --mean and --std are for a model of your own; {request.id!r} brings them"
            )
        self.mini = request.data is None
        self.base = base_settings(request.id, "mini" if self.mini else "published", request.max_bad)
        self.entry, self.setup = model_of(self.base), setup_of(self.base)
        if request.input == PIXELS:
            check_takes_pixels(self.entry, self.setup)
        if request.prune:
            check_prunable(self.entry, self.setup)
        self.data = model_data(DataRequest(self.base, request.data), runner)

    def exported(self) -> dict[str, Input]:
        dense = self.dense()
        versions = {"fp32": self.export(dense)}
        if self.request.prune:
            versions["pruned"] = self.export(self.pruned(dense))
        return versions

    def train(self, recipe: Recipe, start: Input | None, data: Input) -> Input:
        inputs = {"data": data, **({"weights": start} if start else {})}
        return self.run("train", {"recipe": asdict(recipe)}, inputs)

    def dense(self) -> Input:
        """Full-precision weights: given ones as they are, else trained."""
        source = self.request.weights
        if source is None:
            return self.train(self.setup.recipe, packaged_input(self.base) if self.mini else None, self.data)
        if source == PRETRAINED:
            given = packaged_input(self.base) if self.mini else self._released()
            if given is None:
                raise BadData(f"no pretrained weights of {self.entry.id!r} for this data set; pass --weights FILE")
            return self.run("weights", {}, {"weights": given})
        path = Path(source)
        if not path.is_file():
            raise BadData(f"weights file {source!r} does not exist")
        return self.run("weights", {}, {"weights": Input(path.resolve(), sha256_file(path))})

    def _released(self) -> Input | None:
        if not self.setup.weights:
            return None
        made = self.runner.run("download", {"url": self.setup.weights}, {})
        return Input(made.path / "released.pdparams", made.digest)

    def pruned(self, dense: Input) -> Input:
        how = {"share": self.request.prune, "criterion": self.request.criterion}
        cut = self.run("prune", how, {"weights": dense})
        more = model_data(DataRequest(self.base, self.request.data, recovery=True), self.runner)
        return self.train(self.setup.recovery, cut, more)

    def export(self, weights: Input) -> Input:
        return self.run("export", {}, {"weights": weights})


class _OfUser(_Work):
    """A model of the user's own, on samples of his."""

    def __init__(self, request: CompressRequest, runner: Runner) -> None:
        super().__init__(request, runner)
        if request.prune or request.weights:
            raise UsageError(f"{request.id!r} has its weights and no recipe; leave out --prune and --weights")
        if request.input == PIXELS:
            raise UsageError(f"--input {PIXELS} is for models of the zoo; leave it out for {request.id!r}")
        model = take_own(request.id, request.data, request.max_bad, request.own, runner)
        self.base, self.files, self.data, self.notes = model.settings, model.files, model.data, model.notes

    def exported(self) -> dict[str, Input]:
        received = self.run("receive", {}, self.files)
        self.notes += tuple(read_json(received.path / "report.json")["done"])
        return {"fp32": received}

    def quantized(self, exported: Input) -> tuple[Input, Input]:
        """PaddleSlim reads Paddle programs only; the ranges of an ONNX file are found while it is lowered."""
        if "program" in self.files:
            return super().quantized(exported)
        how = {
            "calibration": self.request.calibration,
            "algorithm": self.request.algorithm,
            "target": self.target,
        }
        lowered = self.run("lower", how, {"export": exported, "quantize": exported})
        return lowered, lowered


def compress(request: CompressRequest, runner: Runner) -> CompressReport:
    """Run every stage that has not been run before, and check the result.

    Raises:
        EdgeKitError: A stage failed; earlier ones are kept.
    """
    work = (_OfUser if is_own(request.id) else _OfZoo)(request, runner)
    subject = subject_of(work.base)
    exported = work.exported()
    whole = list(exported.values())[-1]
    chosen, lowered = work.quantized(whole)
    floats = {name: work.shipped(one) for name, one in exported.items()}
    versions = {**floats, "int8": lowered}
    machine = {"cpu": cpu_name(), "isa": this_machine().name, "cores": str(os.cpu_count())}
    plan = {"threads": request.threads, "runtime": "onnx", **work.form}
    measured = work.run("measure", plan, versions, machine)
    facts = _facts(exported, lowered, chosen, measured)
    facts["notes"] = [*work.notes, *(lowering_notes(facts["lowering"]) if OWN in work.base else ())]
    if work.form:
        facts["camera"] = {name: read_json(one.path / "report.json")["parity"] for name, one in floats.items()}
    checks = check_all(facts, subject, request.prune, request.limits)
    receipt = make_receipt(subject, request, facts, checks, machine)
    if OWN in work.base:
        receipt[OWN] = work.base[OWN]
    content = {"target": work.target, "receipt": receipt, **work.form}
    fp32 = list(floats.values())[-1]
    bundle = work.run("bundle", content, {"export": whole, "fp32": fp32, "int8": lowered})
    place = publish_bundle(runner.workspace, bundle_name(request), bundle.path / BUNDLE)
    models = {name: _record(place, name, measured) for name, measured in facts["models"].items()}
    return CompressReport(subject.id, str(place), Bundle(place).digest, tuple(runner.records), models, checks, facts)


def bundle_name(request: CompressRequest) -> str:
    """What a bundle is called in the workspace: the model and what makes it special."""
    own = is_own(request.id)
    parts = [own_id(request.id) if own else request.id]
    if request.prune:
        parts.append(f"prune{round(100 * request.prune)}")
    if request.data is not None:
        data = request.data.resolve()
        parts.append(own_id(data.name) if own and data.is_file() else data.name)
    if request.input != FLOAT:
        parts.append(request.input)
    return "-".join(parts)


def _facts(exported: Mapping[str, Input], lowered: Input, chosen: Input, measured: Input) -> dict[str, Any]:
    """All that the stages found out, as JSON."""
    exports = {name: read_json(given.path / "report.json") for name, given in exported.items()}
    facts: dict[str, Any] = read_json(measured.path / "measured.json")
    facts["parity"] = {name: report["parity"] for name, report in exports.items()}
    facts["size"] = {name: report["size"] for name, report in exports.items()}
    facts["lowering"] = read_json(lowered.path / "report.json")
    facts["quantization"] = read_json(chosen.path / QUANTIZATION)
    facts["versions"] = {
        name: installed_version(name)
        for name in (
            "edge-kit",
            "paddlepaddle",
            "paddlepaddle-gpu",
            "paddleslim",
            "paddle2onnx",
            "onnxruntime",
            "numpy",
        )
        if installed_version(name)
    }
    return facts


def _record(place: Path, name: str, measured: Mapping[str, Any]) -> ModelRecord:
    files = place / ("int8" if name == "int8" else "fp32")
    metrics = [Metric(**metric) for metric in measured["metrics"]]
    latency = Latency(**measured["latency"])
    return ModelRecord(str(files), measured["size_bytes"], metrics[0] if metrics else None, latency)
