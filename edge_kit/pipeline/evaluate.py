"""Scores a bundle, a zoo model with given weights, or a file, with its task's one scoring function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_kit.core.bundle import FULL, MANIFEST, Bundle
from edge_kit.core.errors import BadData, EdgeKitError, UsageError, unknown_name
from edge_kit.core.records import Check
from edge_kit.core.tensors import MAIN, Array, GraphSpec, Run, Tensors
from edge_kit.data import Dataset
from edge_kit.pipeline.bench import PADDLE_PROGRAMS
from edge_kit.pipeline.bundles import all_bundles
from edge_kit.pipeline.checks import Limits, published_checks
from edge_kit.pipeline.inputs import DataRequest, base_settings, model_data, take_weights
from edge_kit.pipeline.model_files import ModelFiles
from edge_kit.pipeline.parity import check_labels, open_scene
from edge_kit.pipeline.runner import Input, Reporter, Runner
from edge_kit.pipeline.sources import open_folder
from edge_kit.pipeline.subject import Subject, subject_of
from edge_kit.tasks import TASKS
from edge_kit.tasks.score import Detailed, Score
from edge_kit.zoo import MODELS, load_all
from runtimes.isolated import Isolated
from runtimes.registry import ONNX
from runtimes.timing import TimingPlan


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """What the user asked for.

    Attributes:
        subject: A bundle, the id of a zoo model, or a graph's file.
        runtimes: Names of engines.
        precision: Of the graphs; None for all there are.
        data: Folder in the model's published format; None for the mini set.
        weights: Of a zoo model: a file, or `pretrained`.
        like: The zoo model whose task, inputs and preprocessing a file has.
        threads: That an engine may use.
        max_bad: Missing or broken samples to leave out before giving up.
    """

    subject: str
    runtimes: tuple[str, ...]
    precision: str | None = None
    data: Path | None = None
    weights: str | None = None
    like: str | None = None
    threads: int = 1
    max_bad: int = 0

    def __post_init__(self) -> None:
        if self.threads < 1 or self.max_bad < 0:
            raise UsageError("--threads must be at least 1, --max-bad at least 0")


@dataclass(frozen=True, slots=True)
class _Found:
    """What is to be scored, and on what.

    Attributes:
        renamed: The graph's inputs and outputs where its file may call them otherwise.
    """

    files: ModelFiles
    subject: Subject
    dataset: Dataset
    renamed: GraphSpec | None = None


def evaluate_model(request: EvalRequest, runner: Runner, reporter: Reporter) -> dict[str, Any]:
    """Score every precision on every runtime that was asked for.

    Returns:
        JSON: `model`, `data`, `rows` and `checks`; a row says `reason` where its runtime cannot run the model.

    Raises:
        UsageError: There is no such model or precision, or an option does not fit it.
        BadData: The data does not fit, or nothing could be run.
    """
    found = _find(request, runner, reporter)
    if request.precision and request.precision not in found.files.precisions:
        raise UsageError(_no_precision(request, found.files.precisions))
    rows, checks = [], []
    for precision in [request.precision] if request.precision else found.files.precisions:
        for runtime in request.runtimes:
            reporter.started(f"{precision} on {runtime}")
            row = _row(found, runtime, precision, request, runner, reporter)
            rows.append(row)
            for one in published_checks(
                row["metrics"], found.dataset.published, found.subject, of=precision, slack=Limits().reference_slack
            ):
                checks.append(asdict(one) | {"name": f"{one.name}, on {runtime}"})
    if all(row["reason"] for row in rows):
        raise EdgeKitError(rows[0]["reason"])
    return {"model": request.subject, "data": _told(found.dataset, request), "rows": rows, "checks": checks}


def short_checks(report: Mapping[str, Any]) -> list[Check]:
    """Those of a report's checks that fell short."""
    return [Check(**one) for one in report["checks"] if one["ok"] is False]


def _row(
    found: _Found, runtime: str, precision: str, request: EvalRequest, runner: Runner, reporter: Reporter
) -> dict[str, Any]:
    row: dict[str, Any] = {"precision": precision, "runtime": runtime, "version": "", "threads": request.threads}
    task = TASKS.get(found.subject.task)
    try:
        model = found.files.model(runtime, precision, runner.workspace.root, TimingPlan(threads=request.threads))
        with Isolated(model) as process:
            row["version"] = process.footprint.version
            runs = {name: _run(process, name, found.renamed) for name in found.files.inputs}
            if isinstance(task, Detailed):
                score = task.score(runs, found.dataset, reporter.progress)
            else:
                score = Score(task.evaluate(runs, found.dataset, reporter.progress), {}, ())
    except EdgeKitError as fault:
        if len(request.runtimes) == 1 and precision == (request.precision or FULL):
            raise
        return {**row, "metrics": [], "intervals": {}, "classes": [], "reason": str(fault)}
    if not score.metrics:
        raise UsageError(f"task {task.name!r} has no metric; `edge-kit verify` holds its graphs to full precision")
    found_out = {"metrics": [asdict(one) for one in score.metrics], "intervals": dict(score.intervals)}
    return {**row, **found_out, "classes": [asdict(one) for one in score.classes], "reason": ""}


def _told(dataset: Dataset, request: EvalRequest) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "folder": str(request.data) if request.data else "mini",
        "samples": dataset.eval_size(),
        "classes": len(dataset.labels),
        "order": getattr(dataset, "order", ""),  # of formats that number their classes themselves
        "left_out": list(getattr(dataset, "bad", ())),
        "published": dataset.published,
    }


def _find(request: EvalRequest, runner: Runner, reporter: Reporter) -> _Found:
    name = request.subject
    if Path(name).suffix in (ONNX, PADDLE_PROGRAMS[0]):
        return _file(request, runner)
    if request.like:
        raise UsageError(f"--like tells what a file is; {name!r} brings its own")
    if request.weights:
        return _of_zoo(request, runner)
    bundles = {bundle.path.name: bundle for bundle in all_bundles(runner.workspace)}
    if (Path(name) / MANIFEST).is_file():
        return _bundle(Bundle(Path(name)), request, runner, reporter)
    if name in bundles:
        return _bundle(bundles[name], request, runner, reporter)
    load_all()
    if name in MODELS:
        raise UsageError(f"{name!r} is no bundle yet, and a zoo model needs --weights FILE or --weights pretrained")
    raise unknown_name("bundle, file or zoo model", name, [*bundles, *MODELS.names()])


def _bundle(bundle: Bundle, request: EvalRequest, runner: Runner, reporter: Reporter) -> _Found:
    scene = open_scene(bundle, request.data, runner, reporter, request.max_bad)
    check_labels(bundle, scene.dataset)
    return _Found(scene.files, scene.subject, scene.dataset)


def _of_zoo(request: EvalRequest, runner: Runner) -> _Found:
    """Given weights, exported: every runtime then runs what a bundle would hold."""
    assert request.weights is not None  # the caller looked
    base, data = _zoo_data(request.subject, request, runner)
    weights = take_weights(request.weights, base, data, runner)
    exported = runner.run("export", base, {"data": data, "weights": weights})
    subject = subject_of(base)
    files = ModelFiles.of_folders(subject.graphs, {FULL: exported.path})
    return _Found(files, subject, open_folder(base, data.path))


def _file(request: EvalRequest, runner: Runner) -> _Found:
    path = Path(request.subject)
    if not request.like:
        raise UsageError(f"nobody told what {path.name!r} is; pass --like ID of a zoo model that is fed as it is")
    if request.weights:
        raise UsageError(f"{path.name!r} has its weights; leave out --weights")
    if not path.is_file():
        raise BadData(f"model file {request.subject!r} does not exist")
    base, data = _zoo_data(request.like, request, runner)
    subject = subject_of(base)
    specs = subject.graphs
    if list(specs) != [MAIN]:
        raise UsageError(f"{request.like!r} has the graphs {', '.join(specs)}, and a file is one; score a bundle")
    return _Found(ModelFiles.of_file(path, specs[MAIN], MAIN), subject, open_folder(base, data.path), specs[MAIN])


def _zoo_data(id: str, request: EvalRequest, runner: Runner) -> tuple[dict[str, Any], Input]:
    base = base_settings(id, "published" if request.data else "mini", request.max_bad)
    return base, model_data(DataRequest(base, request.data), runner)


def _run(process: Isolated, graph: str, renamed: GraphSpec | None) -> Run:
    """A graph as a function; one of a stranger's file takes its inputs and outputs by their order."""
    session = process.session(graph)
    if renamed is None:
        return session.run
    wanted = [spec.name for spec in renamed.inputs]
    inputs = dict(zip([spec.name for spec in session.inputs], wanted, strict=False))
    outputs = dict(zip(session.outputs, renamed.outputs, strict=False))
    if len(session.inputs) != len(wanted) or len(outputs) < len(renamed.outputs):
        raise BadData(
            f"the file takes {', '.join(spec.name for spec in session.inputs)} and gives {', '.join(session.outputs)}; "
            f"asked for are {', '.join(wanted)} and {', '.join(renamed.outputs)}"
        )

    def run(tensors: Tensors) -> dict[str, Array]:
        results = session.run({name: tensors[given] for name, given in inputs.items()})
        return {given: results[name] for name, given in outputs.items()}

    return run


def _no_precision(request: EvalRequest, held: tuple[str, ...]) -> str:
    more = "" if len(held) > 1 else "; INT8 is made by `edge-kit compress`, and its bundle can be scored"
    return f"{request.subject!r} has no precision {request.precision!r}, but {', '.join(held)}{more}"
