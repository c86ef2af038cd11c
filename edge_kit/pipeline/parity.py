"""The same model on every runtime, scored by the same code: where one differs, the first tensor that does is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from convert.diverge import find_divergence
from edge_kit.core.bundle import FULL, Bundle
from edge_kit.core.errors import BadData, EdgeKitError
from edge_kit.core.progress import Progress
from edge_kit.core.records import Check, Metric
from edge_kit.core.tensors import Graphs, Tensors
from edge_kit.data import Dataset
from edge_kit.pipeline.inputs import DataRequest, base_settings, model_data
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.measure import output_differences
from edge_kit.pipeline.model_files import ModelFiles
from edge_kit.pipeline.own import settings_of_bundle
from edge_kit.pipeline.runner import Reporter, Runner
from edge_kit.pipeline.sources import open_folder
from edge_kit.pipeline.subject import Subject, subject_of
from edge_kit.tasks import TASKS, Task
from edge_kit.tasks.own import OWN
from runtimes.isolated import Isolated, Model
from runtimes.registry import get_runtime, reads
from runtimes.timing import TimingPlan

REFERENCE = "onnx"
BATCHES, BATCH = 4, 10  # of samples that the first wrong tensor is looked for on
PIECES = 4  # samples that graphs are compared on tensor by tensor; all of their tensors are held in memory
PIECE_VALUES = 1_300_000  # in all of these: four pictures of 320 x 320, a clip of 8 frames of 224 x 224
FLOAT_LIMIT = 1e-3
"""Relative: another engine's float kernels add in another order, which costs some 1e-5 (measured, five engines)."""
AGREEMENT_SLACK = 1.0
"""Points: INT8 kernels of engines round differently, and a sample that lies on the edge falls to the other side."""


@dataclass(frozen=True, slots=True)
class ParityRow:
    """One precision of a bundle on one runtime.

    Attributes:
        metric: The headline metric; None where the task has none or the runtime cannot run it.
        agreement: How often the answer is that of full precision on ONNX Runtime; needs no labels.
        max_abs: Largest difference of any output from that; None where it cannot run.
        max_rel: The same over the largest value of the output.
        reason: Why it cannot run; empty where it can.
        diverges: The first tensor that is wrong; empty where none is, or none was looked for.
    """

    runtime: str
    precision: str
    metric: Metric | None = None
    agreement: Metric | None = None
    max_abs: float | None = None
    max_rel: float | None = None
    reason: str = ""
    diverges: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What all rows of a model share.

    Attributes:
        workspace: Where conversions are kept.
        scored: Whether the metric means anything; that of random weights does not.
        plan: How many threads engines may use.
    """

    files: ModelFiles
    task: Task
    dataset: Dataset
    workspace: Path
    progress: Progress
    scored: bool = True
    plan: TimingPlan = TimingPlan()

    def model(self, runtime: str, precision: str) -> Model:
        """What a process is to load.

        Raises:
            BadData: There is no form of it that the runtime reads.
        """
        return self.files.model(runtime, precision, self.workspace, self.plan)

    def process(self, runtime: str, precision: str) -> Isolated:
        """A process with one precision loaded; use as a context."""
        return Isolated(self.model(runtime, precision))

    def batches(self, graphs: Graphs, graph: str) -> Iterator[Tensors]:
        """Real inputs of one graph."""
        for batch in islice(self.dataset.eval_batches(BATCH), BATCHES):
            yield self.task.feeds(graphs, batch)[graph]

    def graph(self, precision: str, name: str) -> Path:
        """The ONNX file of one graph."""
        return self.files.find(precision, name, reads(REFERENCE), f"runtime {REFERENCE!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleScene(Scene):
    """A bundle beside the data that it is scored on."""

    bundle: Bundle
    subject: Subject


def parity_matrix(
    bundle: Bundle, runtimes: Sequence[str], data: Path | None, runner: Runner, reporter: Reporter
) -> list[ParityRow]:
    """Score every precision of a bundle on every runtime.

    Args:
        data: Folder of the model's published format; None for the mini set.
        reporter: Hears how it goes, a row a stage.

    Raises:
        UsageError: The bundle's model is not in the zoo, or a runtime has no such name.
        BadData: The data does not fit, or ONNX Runtime cannot run the bundle.
    """
    scene = open_scene(bundle, data, runner, reporter)
    check_labels(bundle, scene.dataset)
    with scene.process(REFERENCE, FULL) as reference:
        right = reference.runs()
        rows: list[ParityRow] = []
        for precision in scene.files.precisions:
            for runtime in dict.fromkeys((REFERENCE, *runtimes)):
                reporter.started(f"{precision} on {runtime}")
                rows.append(_row(scene, runtime, precision, right))
        return [_located(scene, row, rows, right) for row in rows]


def score_runtime(context: Context, dataset: Dataset) -> list[dict[str, Any]]:
    """A stage's model, a folder of graphs each precision, on the runtime that its settings name.

    Returns:
        A `ParityRow` each precision, as JSON.

    Raises:
        EdgeKitError: ONNX Runtime cannot run it in full precision.
    """
    told, scene = context.settings, _scene_of(context, dataset)
    scene = replace(scene, scored=told["scored"], plan=TimingPlan(threads=told["threads"]))
    with scene.process(REFERENCE, FULL) as reference:
        right = reference.runs()
        return [asdict(_row(scene, told["on"], precision, right)) for precision in scene.files.precisions]


def compare_pieces(context: Context, dataset: Dataset) -> dict[str, Any]:
    """Every INT8 graph of a stage's model held to its float one, tensor by tensor, each with right inputs.

    Returns:
        JSON by graph: how many tensors were `compared`, and the `first` wrong one in a line, empty where none is.

    Raises:
        EdgeKitError: ONNX Runtime cannot run one of them.
    """
    scene, found = _scene_of(context, dataset), {}
    with scene.process(REFERENCE, FULL) as reference:
        right = reference.runs()
        feeds = scene.task.feeds(right, few_samples(dataset))
    for name in scene.files.inputs:
        full, suspect = (scene.graph(precision, name) for precision in scene.files.precisions)
        one = find_divergence(full, suspect, [feeds[name]])
        found[name] = {"compared": len(one.compared), "first": one.first.show() if one.first else ""}
    return found


def few_samples(dataset: Dataset) -> Tensors:
    """The first evaluation samples, as one batch: as many as all tensors of a network fit into memory for."""
    first = next(iter(dataset.eval_batches(1)))
    fit = PIECE_VALUES // sum(value.size for value in first.values())
    return next(iter(dataset.eval_batches(min(PIECES, fit)))) if fit > 1 else first


def _scene_of(context: Context, dataset: Dataset) -> Scene:
    subject = subject_of(context.settings)
    folders = {name: path for name, path in context.inputs.items() if name != "data"}
    files = ModelFiles.of_folders(subject.graphs, {name: folders[name] for name in sorted(folders)})
    # Conversions are kept with what this stage alone reads.
    return Scene(files, TASKS.get(subject.task), dataset, context.scratch, context.progress)


def check_labels(bundle: Bundle, dataset: Dataset) -> None:
    """Refuse to score a bundle on a set of other classes.

    Raises:
        BadData: It was made for others.
    """
    if dataset.labels != bundle.manifest.labels:
        made = f"bundle {bundle.manifest.id!r} was made for other labels than those of {dataset.name}"
        raise BadData(f"{made}; pass --data DIR")


def open_scene(bundle: Bundle, data: Path | None, runner: Runner, reporter: Reporter, max_bad: int = 0) -> BundleScene:
    """Find the data to score a bundle on: the user's folder, or the mini set, made now or before.

    Raises:
        UsageError: The bundle's model is not in the zoo, or it has no data of its own and none was given.
        BadData: The data is not of the model's format.
    """
    base = {**bundle_settings(bundle, data), "max_bad": max_bad}
    folder = model_data(DataRequest(base, data), runner).path
    dataset = open_folder(base, folder, pixels=bundle.takes_pixels())
    subject, files = subject_of(base), ModelFiles.of_bundle(bundle)
    task = TASKS.get(subject.task)
    return BundleScene(files, task, dataset, runner.workspace.root, reporter.progress, bundle=bundle, subject=subject)


def bundle_settings(bundle: Bundle, data: Path | None) -> dict[str, Any]:
    """Settings of the stages of a bundle's model, on the user's data or the mini set."""
    if bundle.manifest.task == OWN:
        return settings_of_bundle(bundle, data)
    return base_settings(bundle.manifest.id, "mini" if data is None else "published", 0)


def _row(scene: Scene, runtime: str, precision: str, right: Graphs) -> ParityRow:
    try:
        with scene.process(runtime, precision) as process:
            runs = process.runs()
            metrics = scene.task.evaluate(runs, scene.dataset, scene.progress) if scene.scored else ()
            agreement = scene.task.agreement(right, runs, scene.dataset, scene.dataset.eval_size())
            differences = output_differences(scene.task, right, runs, scene.dataset)
    except EdgeKitError as fault:
        return ParityRow(runtime, precision, reason=str(fault))
    found = [one for outputs in differences.values() for one in outputs]
    return ParityRow(
        runtime,
        precision,
        metric=metrics[0] if metrics else None,
        agreement=agreement,
        max_abs=max(one.max_abs for one in found),
        max_rel=max(one.max_rel for one in found),
    )


def check_row(row: ParityRow, rows: Sequence[ParityRow]) -> Check:
    """Hold a row to what its runtime can be asked for: float numbers, or as many right answers as INT8 elsewhere."""
    name = f"{row.precision} on {row.runtime}"
    if row.reason or row.max_rel is None or row.agreement is None:
        return Check(name, None, None, None, note=row.reason)
    same = "% same answers" if row.agreement.unit == "%" else f"{row.agreement.unit} {row.agreement.name}"
    note = f"{row.agreement.value:.4g} {same} on {row.agreement.samples}, relative error {row.max_rel:.2g}"
    note += f"; {row.diverges}" if row.diverges else ""
    if row.precision == FULL:
        return Check.at_most(f"{name}: error", row.max_rel, FLOAT_LIMIT, note=note)
    usual = _usual_agreement(row, rows)
    return Check.at_least(f"{name}: agreement", row.agreement.value, usual - AGREEMENT_SLACK, row.agreement.unit, note)


def _usual_agreement(row: ParityRow, rows: Sequence[ParityRow]) -> float:
    """That of ONNX Runtime in the same precision; it can always run what this project makes."""
    found = (one.agreement for one in rows if one.runtime == REFERENCE and one.precision == row.precision)
    return next((one.value for one in found if one is not None), 100.0)


def _located(scene: Scene, row: ParityRow, rows: Sequence[ParityRow], right: Graphs) -> ParityRow:
    """A row that falls short, with the first tensor that is wrong in it."""
    if check_row(row, rows).ok is not False or reads(row.runtime) != reads(REFERENCE):
        return row
    for graph in scene.files.inputs:
        batches = list(scene.batches(right, graph))
        reference, suspect = scene.graph(FULL, graph), scene.graph(row.precision, graph)
        try:
            found = find_divergence(reference, suspect, batches, get_runtime(row.runtime))
        except EdgeKitError as fault:
            return replace(row, diverges=f"the first wrong tensor cannot be found: {fault}")
        if found.first:
            return replace(row, diverges=found.first.show())
    return replace(row, diverges="no tensor diverges by itself: its error is the sum of rounding")
