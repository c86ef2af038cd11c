"""Scores and times every version of a model on one runtime."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from convert.parity import Parity, measure_parity
from edge_kit.core.progress import Progress
from edge_kit.core.tensors import Graphs, GraphSpec
from edge_kit.data import Dataset
from edge_kit.pipeline.job import Context
from edge_kit.pipeline.subject import subject_of
from edge_kit.tasks import TASKS, Task
from edge_kit.tasks.score import Comparing
from runtimes.bench import latency_of
from runtimes.compare import compare
from runtimes.isolated import Isolated, Model
from runtimes.timing import TimingPlan, interleave

FIRST = "fp32"  # the version that the others are held against
DIFFERENCE_BATCHES, DIFFERENCE_BATCH = 5, 20


def measure_versions(
    context: Context, dataset: Dataset, versions: Mapping[str, Path], specs: Mapping[str, GraphSpec] | None = None
) -> dict[str, Any]:
    """Metric, size, agreement with full precision and latency of each version.

    Args:
        dataset: Of samples as the graphs take them.
        specs: What the graphs take; None where their files tell it all.
        versions: Folder of `.onnx` graphs by name of the version; `fp32` is the one to compare with.

    Returns:
        JSON: `models`, `agreement`, `differences` and of some tasks `likeness` by version, `verdicts`, and whether the
        data is the published set.
    """
    task = TASKS.get(subject_of(context.settings).task)
    runtime, plan = context.settings["runtime"], TimingPlan(threads=context.settings["threads"])
    inputs = {name: spec.inputs for name, spec in (specs or {}).items()}
    files = {v: {path.stem: path for path in sorted(folder.glob("*.onnx"))} for v, folder in versions.items()}
    with ExitStack() as stack:
        processes = {
            v: stack.enter_context(Isolated(Model(runtime, graphs, inputs, plan, workspace=context.scratch / "engine")))
            for v, graphs in files.items()
        }
        # Timing first: the machine is then as quiet as it will be.
        times = interleave({v: one.time for v, one in processes.items()}, plan, context.progress)
        runs = {v: one.runs() for v, one in processes.items()}
        models = {
            v: {
                "metrics": [asdict(one) for one in task.evaluate(runs[v], dataset, _noted(context.progress, v))],
                "size_bytes": sum(path.stat().st_size for path in files[v].values()),
                "latency": asdict(latency_of(runtime, times[v], one.footprint, plan)),
            }
            for v, one in processes.items()
        }
        others = [v for v in versions if v != FIRST]
        agreement = {v: task.agreement(runs[FIRST], runs[v], dataset, dataset.eval_size()) for v in others}
        alike = {v: _likeness(task, runs[FIRST], runs[v], dataset) for v in others}
        differences = {v: output_differences(task, runs[FIRST], runs[v], dataset) for v in others}
    return {
        "models": models,
        "agreement": {v: asdict(one) for v, one in agreement.items()},
        **({"likeness": alike} if any(alike.values()) else {}),
        "differences": {v: {g: [asdict(p) for p in found] for g, found in differences[v].items()} for v in others},
        "verdicts": [asdict(compare(FIRST, times[FIRST], v, times[v])) for v in others],
        "published_data": dataset.published,
    }


def _likeness(task: Task, reference: Graphs, candidate: Graphs, dataset: Dataset) -> list[dict[str, Any]]:
    if not isinstance(task, Comparing):
        return []
    return [asdict(one) for one in task.likeness(reference, candidate, dataset, dataset.eval_size())]


def output_differences(task: Task, reference: Graphs, candidate: Graphs, dataset: Dataset) -> dict[str, list[Parity]]:
    """Largest absolute and relative difference of every output, by graph; needs no labels.

    Every graph is given what the reference's graphs compute, so that each answers for itself. Only
    the first evaluation samples are run.
    """
    batches = islice(dataset.eval_batches(DIFFERENCE_BATCH), DIFFERENCE_BATCHES)
    feeds = [task.feeds(reference, batch) for batch in batches]
    return {name: measure_parity(run, candidate[name], (fed[name] for fed in feeds)) for name, run in reference.items()}


def _noted(progress: Progress, prefix: str) -> Progress:
    def report(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"{prefix} {note}".strip())

    return report
