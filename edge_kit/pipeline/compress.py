"""The main job: a model of the zoo or of the user's own, from full precision to a checked INT8 bundle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compress.prune.structured import PruneSettings
from compress.quantize.ptq import PtqSettings
from edge_kit.core.bundle import FULL, SMALL, Bundle
from edge_kit.core.errors import UsageError, unknown_name
from edge_kit.core.files import read_json
from edge_kit.core.images import FLOAT, PIXELS
from edge_kit.core.records import CompressReport, Latency, Metric, ModelRecord
from edge_kit.pipeline.bundles import BUNDLE, publish_bundle
from edge_kit.pipeline.checks import NOT_SHIPPED, Limits, check_all
from edge_kit.pipeline.inputs import (
    DataRequest,
    base_settings,
    check_prunable,
    mini_weights,
    model_data,
    take_weights,
)
from edge_kit.pipeline.own import OwnOptions, is_own, lowering_notes, own_id, take_own
from edge_kit.pipeline.pixels import check_input, check_takes_pixels
from edge_kit.pipeline.receipt import make_receipt
from edge_kit.pipeline.runner import Input, Line, Runner, installed_versions
from edge_kit.pipeline.sources import model_of, setup_of
from edge_kit.pipeline.stages import JUDGED, MIXED, QUANTIZATION, RANKING
from edge_kit.pipeline.subject import subject_of
from edge_kit.tasks.own import OWN
from edge_kit.train.recipe import Recipe
from runtimes.targets import TARGETS, machine_conditions, measured_on, this_machine

PACKAGES = ("edge-kit", "paddlepaddle", "paddlepaddle-gpu", "paddleslim", "paddle2onnx", "onnxruntime", "numpy")
PTQ, QAT = METHODS = ("ptq", "qat")


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
        input: What the graphs take, `float` or `uint8-nhwc`.
        quantize: `ptq`, ranges from samples, or `qat`, training with the rounding in it.
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
    quantize: str = PTQ

    def __post_init__(self) -> None:
        if self.quantize not in METHODS:
            raise unknown_name("way to quantize", self.quantize, METHODS)
        if self.quantize == QAT and self.algorithm != PtqSettings().algorithm:
            raise UsageError(f"--quantize {QAT} learns its ranges; leave out --algorithm")
        PtqSettings(algorithm=self.algorithm)
        if self.prune:
            PruneSettings(flops_share=self.prune, criterion=self.criterion)
        if self.calibration < 1 or self.threads < 1 or self.max_bad < 0:
            raise UsageError("--calibration and --threads must be at least 1, --max-bad at least 0")
        if self.target != "auto" and self.target not in TARGETS:
            raise UsageError(f"unknown target {self.target!r}; known: auto, {', '.join(sorted(TARGETS))}")
        check_input(self.input, TARGETS.get(self.target))


@dataclass(frozen=True, slots=True)
class Ranges:
    """Graphs that know how their values are spread.

    Attributes:
        export: The float graphs they come from.
        graphs: The same with quantizers; without, where lowering is to find ranges by itself.
        how: What lowering is told in that case.
    """

    export: Input
    graphs: Input
    how: Mapping[str, Any] = field(default_factory=dict)

    def inputs(self) -> dict[str, Input]:
        """Of the stages that lower."""
        return {"export": self.export, "quantize": self.graphs}


class _Work(Line, ABC):
    """One request on its way through the stages.

    Attributes:
        notes: What was taken for granted, for people.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, request: CompressRequest, runner: Runner) -> None:
        self.request, self.runner = request, runner
        self.form = {"input": request.input} if request.input != FLOAT else {}  # of the graphs, for later stages
        self.target = this_machine().name if request.target == "auto" else request.target

    @abstractmethod
    def exported(self) -> dict[str, Input]:
        """Full precision graphs by version, `fp32` first; the last one ships."""

    def ranges(self, exported: Input) -> Ranges:
        """By PaddleSlim, after training."""
        how = {"calibration": self.request.calibration, "algorithm": self.request.algorithm}
        return Ranges(exported, self.run("quantize", how, {"export": exported}))

    def int8(self, full: Input, ranges: Ranges) -> dict[str, Input]:
        """The INT8 graphs; where they lose more than was asked for, those with some layers in float ship instead.

        Args:
            full: Float graphs that take what the INT8 ones do, to hold them to.
        """
        plan, inputs = {**self.plan(ranges), **self.form}, ranges.inputs()
        whole = self.run("lower", plan, inputs)
        asked = {key: getattr(self.request.limits, key) for key in ("max_drop", "min_agreement")}
        if all(limit is None for limit in asked.values()):
            return {SMALL: whole}
        judged = self.run("judge", {**asked, **self.form}, {FULL: full, SMALL: whole})
        if read_json(judged.path / JUDGED)["ok"] is not False:
            return {SMALL: whole}
        inputs = {**inputs, "fp32": full, "sensitivity": self.ranking(ranges)}
        mixed = self.run("mix", {**plan, **asked}, inputs)
        kept = read_json(mixed.path / MIXED)["layers"]
        return {**({NOT_SHIPPED: whole} if kept else {}), SMALL: mixed}

    def ranking(self, ranges: Ranges) -> Input:
        """Layers by the harm that they do in INT8; a camera's graphs have those of the others."""
        return self.run("sensitivity", self.plan(ranges), ranges.inputs())

    def plan(self, ranges: Ranges) -> dict[str, Any]:
        """What lowering is told."""
        return {"calibration": self.request.calibration, "target": self.target, **ranges.how}

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
        self.weights = self.dense()
        versions = {"fp32": self.export(self.weights)}
        if self.request.prune:
            self.weights = self.pruned(self.weights)
            versions["pruned"] = self.export(self.weights)
        return versions

    def ranges(self, exported: Input) -> Ranges:
        """By PaddleSlim, after training, or learnt by training on."""
        if self.request.quantize == PTQ:
            return super().ranges(exported)
        how = {"recipe": asdict(self.setup.qat_recipe)}
        return Ranges(exported, self.run("qat", how, {"weights": self.weights}))

    def train(self, recipe: Recipe, start: Mapping[str, Input], data: Input) -> Input:
        return self.run("train", {"recipe": asdict(recipe)}, {"data": data, **start})

    def dense(self) -> Input:
        """Full-precision weights: given ones as they are, else trained."""
        if self.request.weights:
            return take_weights(self.request.weights, self.base, self.data, self.runner)
        return mini_weights(self) if self.mini else self.train(self.setup.recipe, {}, self.data)

    def pruned(self, dense: Input) -> Input:
        how = {"share": self.request.prune, "criterion": self.request.criterion}
        cut = self.run("prune", how, {"weights": dense})
        more = model_data(DataRequest(self.base, self.request.data, recovery=True), self.runner)
        return self.train(self.setup.recovery, {"weights": cut}, more)

    def export(self, weights: Input) -> Input:
        return self.run("export", {}, {"weights": weights})


class _OfUser(_Work):
    """A model of the user's own, on samples of his."""

    def __init__(self, request: CompressRequest, runner: Runner) -> None:
        super().__init__(request, runner)
        if request.prune or request.weights:
            raise UsageError(f"{request.id!r} has its weights and no recipe; leave out --prune and --weights")
        if request.quantize == QAT:
            raise UsageError(f"{request.id!r} comes without a loss to train it by; leave out --quantize {QAT}")
        if request.input == PIXELS:
            raise UsageError(f"--input {PIXELS} is for models of the zoo; leave it out for {request.id!r}")
        model = take_own(request.id, request.data, request.max_bad, request.own, runner)
        self.base, self.files, self.data, self.notes = model.settings, model.files, model.data, model.notes

    def exported(self) -> dict[str, Input]:
        received = self.run("receive", {}, self.files)
        self.notes += tuple(read_json(received.path / "report.json")["done"])
        return {"fp32": received}

    def ranges(self, exported: Input) -> Ranges:
        """PaddleSlim reads Paddle programs only; the ranges of an ONNX file are found while it is lowered."""
        if "program" in self.files:
            return super().ranges(exported)
        return Ranges(exported, exported, {"algorithm": self.request.algorithm})


def compress(request: CompressRequest, runner: Runner) -> CompressReport:
    """Run every stage that has not been run before, and check the result.

    Raises:
        EdgeKitError: A stage failed; earlier ones are kept.
    """
    work = _work(request, runner)
    subject = subject_of(work.base)
    exported = work.exported()
    ranges = work.ranges(list(exported.values())[-1])
    floats = {name: work.shipped(one) for name, one in exported.items()}
    lowered = work.int8(floats["fp32"], ranges)
    versions = {**floats, **lowered}
    machine = machine_conditions()
    plan = {"threads": request.threads, **measured_on(TARGETS[work.target]), **work.form}
    measured = work.run("measure", plan, versions, machine)
    facts = _facts(exported, lowered[SMALL], ranges, measured)
    facts["engine"] = TARGETS[work.target].engine
    facts["notes"] = [*work.notes, *(lowering_notes(facts["lowering"]) if OWN in work.base else ())]
    if work.form:
        facts["camera"] = {name: read_json(one.path / "report.json")["parity"] for name, one in floats.items()}
    checks = check_all(facts, subject, request.prune, request.limits)
    receipt = make_receipt(subject, request, facts, checks, machine, runner.records)
    if OWN in work.base:
        receipt[OWN] = work.base[OWN]
    content = {"target": work.target, "receipt": receipt, **work.form}
    fp32 = list(floats.values())[-1]
    bundle = work.run(BUNDLE, content, {"export": ranges.export, FULL: fp32, SMALL: lowered[SMALL]})
    place = publish_bundle(runner.workspace, bundle_name(request), bundle.path / BUNDLE)
    folders = {name: place / (SMALL if name == SMALL else FULL) for name in facts["models"]}
    folders |= {name: lowered[name].path for name in lowered if name != SMALL}
    models = {name: _record(folders[name], measured) for name, measured in facts["models"].items()}
    return CompressReport(subject.id, str(place), Bundle(place).digest, tuple(runner.records), models, checks, facts)


def sensitivity(request: CompressRequest, runner: Runner) -> dict[str, Any]:
    """How much each layer's quantization alone harms a model; nothing is shipped.

    Returns:
        JSON: the conditions and `layers`, the most harmful first; see `convert.sensitivity.LayerHarm`.
    """
    work = _work(request, runner)
    exported = list(work.exported().values())[-1]
    ranked = work.ranking(work.ranges(exported))
    return {
        "id": subject_of(work.base).id,
        "target": work.target,
        "algorithm": request.algorithm,
        **read_json(ranked.path / RANKING),
    }


def _work(request: CompressRequest, runner: Runner) -> _Work:
    return (_OfUser if is_own(request.id) else _OfZoo)(request, runner)


def bundle_name(request: CompressRequest) -> str:
    """What a bundle is called in the workspace: the model and what makes it special."""
    own = is_own(request.id)
    parts = [own_id(request.id) if own else request.id]
    if request.prune:
        parts.append(f"prune{round(100 * request.prune)}")
    if request.quantize != PTQ:
        parts.append(request.quantize)
    if request.data is not None:
        data = request.data.resolve()
        parts.append(own_id(data.name) if own and data.is_file() else data.name)
    if request.target != "auto":
        parts.append(request.target)
    if request.input != FLOAT:
        parts.append(request.input)
    return "-".join(parts)


def _facts(exported: Mapping[str, Input], lowered: Input, ranges: Ranges, measured: Input) -> dict[str, Any]:
    """All that the stages found out, as JSON."""
    exports = {name: read_json(given.path / "report.json") for name, given in exported.items()}
    facts: dict[str, Any] = read_json(measured.path / "measured.json")
    facts["parity"] = {name: report["parity"] for name, report in exports.items()}
    facts["size"] = {name: report["size"] for name, report in exports.items()}
    facts["lowering"] = read_json(lowered.path / "report.json")
    found = (one.path / QUANTIZATION for one in (ranges.graphs, lowered))
    facts["quantization"] = next(read_json(path) for path in found if path.is_file())
    mixed = lowered.path / MIXED
    if mixed.is_file():
        facts["mixed"] = read_json(mixed)
    facts["versions"] = installed_versions(PACKAGES)
    return facts


def _record(files: Path, measured: Mapping[str, Any]) -> ModelRecord:
    metrics = [Metric(**metric) for metric in measured["metrics"]]
    latency = Latency(**measured["latency"])
    return ModelRecord(str(files), measured["size_bytes"], metrics[0] if metrics else None, latency)
